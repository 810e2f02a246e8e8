"""The message class `tf.train.Example`, without TensorFlow.

Source: `example.proto` and `feature.proto` of https://github.com/tensorflow/tensorflow, in
tensorflow/core/example. The class is in a descriptor pool of its own, where it cannot clash with
TensorFlow's.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

_LIST = 'field {{ name: "value" number: 1 label: LABEL_REPEATED type: {} }}'
_ONE = "label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name:"
_MANY = "label: LABEL_REPEATED type: TYPE_MESSAGE type_name:"
_FILE = f"""
name: "example.proto"  package: "tensorflow"  syntax: "proto3"
message_type {{ name: "BytesList"  {_LIST.format("TYPE_BYTES")} }}
message_type {{ name: "FloatList"  {_LIST.format("TYPE_FLOAT")} }}
message_type {{ name: "Int64List"  {_LIST.format("TYPE_INT64")} }}
message_type {{
  name: "Feature"
  oneof_decl {{ name: "kind" }}
  field {{ name: "bytes_list" number: 1 oneof_index: 0 {_ONE} ".tensorflow.BytesList" }}
  field {{ name: "float_list" number: 2 oneof_index: 0 {_ONE} ".tensorflow.FloatList" }}
  field {{ name: "int64_list" number: 3 oneof_index: 0 {_ONE} ".tensorflow.Int64List" }}
}}
message_type {{
  name: "Features"
  field {{ name: "feature" number: 1 {_MANY} ".tensorflow.Features.FeatureEntry" }}
  nested_type {{
    name: "FeatureEntry"
    options {{ map_entry: true }}
    field {{ name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }}
    field {{ name: "value" number: 2 {_ONE} ".tensorflow.Feature" }}
  }}
}}
message_type {{
  name: "Example"
  field {{ name: "features" number: 1 {_ONE} ".tensorflow.Features" }}
}}
"""


def _example_class() -> Any:
    file = text_format.Parse(_FILE, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


Example = _example_class()
