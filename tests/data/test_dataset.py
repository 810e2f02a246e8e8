import pytest
import small_dataset

from mpjax.data import records
from mpjax.data.dataset import DatasetWriter


def encoded(n):
    for i in range(n):
        row = {"split": "test"} | small_dataset.small_shape(i) | small_dataset.metadata(i)
        yield row, records.encode_example(row, small_dataset.encode_small(i))


def test_a_dataset_is_read_once_it_is_finished_and_not_before(tmp_path):
    writer = DatasetWriter(tmp_path / "d")
    writer.write_shard("a.tfrecord", encoded(3))
    writer.write_index()
    with pytest.raises(records.RecordError, match="no finished dataset"):
        records.RecordSource(tmp_path / "d")
    manifest = writer.finish("stamp", clips={"test": 3})
    assert manifest == records.read_manifest(tmp_path / "d")
    assert (manifest["shards"], manifest["failures"]) == ({"a.tfrecord": 3}, [])
    source = records.RecordSource(tmp_path / "d")
    assert [records.decode_example(source[i])["clip_id"] for i in range(3)] == [
        small_dataset.metadata(i)["clip_id"] for i in range(3)
    ]
    assert source.index.dtypes["offset"] == "int64"


def test_a_writer_that_begins_again_takes_the_older_dataset_out_of_use(tmp_path):
    folder = small_dataset.write(tmp_path / "d")
    DatasetWriter(folder)
    with pytest.raises(records.RecordError, match="no finished dataset"):
        records.RecordSource(folder)


def test_a_shard_has_its_name_once_it_is_complete(tmp_path):
    def cut_off():
        yield from encoded(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DatasetWriter(tmp_path / "d").write_shard("a.tfrecord", cut_off())
    assert list((tmp_path / "d").iterdir()) == []
