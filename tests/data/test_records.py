import os
import pickle
import threading

import numpy as np
import pytest
import small_dataset
from hypothesis import given
from hypothesis import strategies as st

from mpjax.data import records, tf_example, tfrecord


@pytest.fixture
def dataset(tmp_path):
    return small_dataset.write(tmp_path / "dataset")


def test_every_record_comes_back_whole_and_in_index_order(dataset):
    source = records.RecordSource(dataset)
    clips = [records.decode_example(source[i]) for i in range(len(source))]
    assert len(clips) == 11
    assert [clip["clip_id"] for clip in clips] == source.index["clip_id"].tolist()
    i = clips[4]["label"], clips[4]["fps"], len(clips[4]["frames"])
    assert i == (source.index["label"][4], 10.0, small_dataset.FRAMES)


def test_an_example_is_the_same_bytes_each_time():
    meta, frames = small_dataset.metadata(1), [b"a", b"b"]
    reordered = dict(reversed(meta.items()))
    assert records.encode_example(meta, frames) == records.encode_example(reordered, frames)


def test_masked_crc_is_that_of_the_tfrecord_format():
    # Known frame of the payload b"foo", from TensorFlow's own TFRecordWriter.
    framed = tfrecord.frame_record(b"foo")
    assert framed[:8] == b"\x03\0\0\0\0\0\0\0"
    assert tfrecord.unframe_record(framed, where="x") == b"foo"


@pytest.mark.parametrize("place", ["length", "length crc", "payload", "payload crc"])
def test_one_flipped_bit_anywhere_in_a_record_is_found(dataset, place):
    source = records.RecordSource(dataset)
    row = source.index.iloc[3]
    start, length = int(row["offset"]), int(row["length"])
    at = {"length": 0, "length crc": 9, "payload": length // 2, "payload crc": length - 1}[place]
    path = dataset / row["shard"]
    damaged = bytearray(path.read_bytes())
    damaged[start + at] ^= 0x10
    path.write_bytes(damaged)
    assert records.RecordSource(dataset)[2]
    with pytest.raises(records.RecordError, match=f"{row['shard']} at byte {start}"):
        records.RecordSource(dataset)[3]


def test_a_dataset_without_its_manifest_is_not_read(dataset):
    (dataset / records.MANIFEST_FILE).unlink()
    with pytest.raises(records.RecordError, match="no finished dataset"):
        records.RecordSource(dataset)


def test_an_index_of_another_dataset_is_refused(dataset, tmp_path):
    other = small_dataset.write(tmp_path / "other", n=8)
    (dataset / records.INDEX_FILE).write_bytes((other / records.INDEX_FILE).read_bytes())
    with pytest.raises(records.RecordError, match=r"index\.parquet: not the index"):
        records.RecordSource(dataset)


def test_a_shard_that_does_not_fit_the_index_is_refused(dataset):
    shard = next(dataset.glob("*.tfrecord-*"))
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(records.RecordError, match="bytes, but index.parquet ends at"):
        records.RecordSource(dataset)
    shard.unlink()
    with pytest.raises(records.RecordError, match="shard is missing"):
        records.RecordSource(dataset)


def test_rows_and_splits_choose_records(dataset):
    whole = records.RecordSource(dataset)
    some = records.RecordSource(dataset, splits=["test"], rows=np.array([7, 2]))
    assert [some[0], some[1]] == [whole[7], whole[2]]
    with pytest.raises(records.RecordError, match="no split drug; it has test"):
        records.RecordSource(dataset, splits=["drug"])


def test_threads_and_pickled_copies_read_the_same(dataset):
    source = records.RecordSource(dataset)
    expected = [source[i] for i in range(len(source))]
    copy = pickle.loads(pickle.dumps(source))
    assert [copy[i] for i in range(len(copy))] == expected
    wrong = []

    def read(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(0, len(source), 200):
            if source[i] != expected[i]:
                wrong.append(i)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_few_files_stay_open_however_many_shards_there_are(tmp_path):
    directory = small_dataset.write(tmp_path / "dataset", 24, shard_count=12)
    source = records.RecordSource(directory)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        assert len([source[i] for i in range(len(source))]) == 24
    assert len(os.listdir("/proc/self/fd")) - before <= 4


def test_a_payload_that_lacks_features_names_them():
    whole = records.encode_example(small_dataset.metadata(0), [b""])
    with pytest.raises(records.RecordError, match="not a tf.train.Example"):
        records.decode_example(whole[:-3])
    with pytest.raises(records.RecordError, match="lacks the feature.*clip_id"):
        records.decode_example(b"")


@pytest.mark.parametrize("feature", [*records.METADATA, "frames"])
def test_a_feature_of_another_kind_counts_as_lacking(feature):
    message = tf_example.Example.FromString(
        records.encode_example(small_dataset.metadata(0), [b""])
    )
    kind = "bytes_list" if feature in records.FLOAT_FEATURES else "float_list"
    value = b"1" if kind == "bytes_list" else 1.0
    message.features.feature[feature].Clear()
    getattr(message.features.feature[feature], kind).value.append(value)
    with pytest.raises(records.RecordError, match=rf"lacks the feature\(s\) {feature}$"):
        records.decode_example(message.SerializeToString())


def test_the_bytes_are_those_of_tfds_own_class(monkeypatch):
    theirs = pytest.importorskip(
        "tensorflow_datasets.proto.tf_example_generated_pb2", reason="TFDS is not installed"
    )
    meta = small_dataset.metadata(3) | {"day": -7, "fps": 29.97, "sex": "♀"}
    ours = records.encode_example(meta, [b"\xff" * 300, b""])
    monkeypatch.setattr(records, "tf_example", theirs)
    assert records.encode_example(meta, [b"\xff" * 300, b""]) == ours
    assert theirs.Example.DESCRIPTOR is not tf_example.Example.DESCRIPTOR


def test_what_was_encoded_is_decoded():
    meta = small_dataset.metadata(3) | {"day": -7, "label": -1, "fps": 29.97, "sex": "♀"}
    frames = [b"\xff" * 300, b"", b"x"]
    clip = records.decode_example(memoryview(records.encode_example(meta, frames)))
    assert clip.pop("frames") == frames
    assert clip == meta | {"fps": float(np.float32(29.97))}


@given(st.binary(max_size=64))
def test_any_bytes_are_refused_with_an_error_of_the_dataset(payload):
    with pytest.raises(records.RecordError, match="lacks the feature|not a tf.train.Example"):
        records.decode_example(payload)
