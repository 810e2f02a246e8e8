import numpy as np
import pytest

from mpjax.training import artifacts


def test_variables_and_metadata_come_back(tmp_path):
    variables = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "b": np.ones(2)}
    artifacts.save(tmp_path / "c", variables, {"fine": ["x"]})
    restored = artifacts.restore(tmp_path / "c")
    np.testing.assert_array_equal(restored["a"]["kernel"], variables["a"]["kernel"])
    assert isinstance(restored["b"], np.ndarray)
    assert artifacts.read_metadata(tmp_path / "c") == {"fine": ["x"]}


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path):
    artifacts.save(tmp_path / "c", {"a": np.zeros(2), "old": np.zeros(1)}, 1)
    artifacts.save(tmp_path / "c", {"a": np.ones(3)}, 2)
    assert set(artifacts.restore(tmp_path / "c")) == {"a"}
    assert artifacts.read_metadata(tmp_path / "c") == 2


def test_an_unfinished_checkpoint_is_not_read(tmp_path):
    artifacts.save(tmp_path / "c", {"a": np.zeros(2)}, {})
    (tmp_path / "c" / "metadata.json").unlink()
    assert artifacts.read_metadata(tmp_path / "c") is None
    with pytest.raises(artifacts.CheckpointError, match="no finished checkpoint"):
        artifacts.restore(tmp_path / "c")


def test_a_directory_that_cannot_be_made_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/c: cannot be written"):
        artifacts.save(tmp_path / "file" / "c", {"a": np.zeros(2)}, {})
    assert not [path for path in tmp_path.iterdir() if path.name != "file"]


def test_making_a_directory_leaves_nothing_in_it(tmp_path):
    assert list(artifacts.make_directory(tmp_path / "deep" / "c").iterdir()) == []
