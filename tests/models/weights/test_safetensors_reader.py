import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file

from mpjax.models.weights.torch_reader import CheckpointError, read_checkpoint
from tests.models.weights.test_torch_reader import KINDS


def test_safetensors_are_told_by_their_content_and_equal_what_was_saved(tmp_path):
    numbers = np.abs(np.random.default_rng(0).normal(size=(3, 4), scale=50))
    arrays = {dtype: numbers.astype(dtype) for dtype in KINDS.values()}
    arrays |= {"scalar": np.array(2.5, np.float32), "empty": np.zeros((0, 3), np.float32)}
    save_file(arrays, tmp_path / "a.pth", metadata={"format": "pt"})
    read = read_checkpoint(tmp_path / "a.pth")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def _write_safetensors(path, dtype, data):
    spec = safetensors.TensorSpec(
        dtype=dtype, shape=[len(data)], data_ptr=data.ctypes.data, data_len=data.nbytes
    )
    path.write_bytes(safetensors.serialize({"x": spec}))


def test_bfloat16_of_safetensors_is_widened_exactly(tmp_path):
    upper = np.array([0x3F80, 0xC020, 0x7F80, 0x0001], np.uint16)
    _write_safetensors(tmp_path / "a.safetensors", "bfloat16", upper)
    expected = np.array([1.0, -2.5, np.inf, 2.0**-133], np.float32)
    read = read_checkpoint(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(read["x"], expected, strict=True)


def test_safetensors_of_other_types_are_refused_by_name(tmp_path):
    _write_safetensors(tmp_path / "a.safetensors", "float8_e4m3fn", np.ones(2, np.uint8))
    with pytest.raises(CheckpointError, match=r"a\.safetensors: .*not read: x \(F8_E4M3\)"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_a_cut_safetensors_file_is_one_clear_error(tmp_path):
    save_file({"x": np.ones(64, np.float32)}, tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    for length in (0, 7, 9, 40, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.safetensors").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"cut\.safetensors: "):
            read_checkpoint(tmp_path / "cut.safetensors")


def test_whatever_byte_is_altered_the_file_is_read_or_refused(tmp_path):
    save_file({"x": np.ones(8, np.float32)}, tmp_path / "whole")
    data = np.frombuffer((tmp_path / "whole").read_bytes(), np.uint8)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(300):
        altered = data.copy()
        altered[rng.integers(len(data), size=2)] = rng.integers(256, size=2)
        (tmp_path / "faulty").write_bytes(altered.tobytes())
        try:
            read_checkpoint(tmp_path / "faulty")
        except CheckpointError:
            refused += 1
    assert refused > 100


def test_what_torch_saved_is_read_equal(tmp_path):
    torch = pytest.importorskip("torch")
    torch_files = pytest.importorskip("safetensors.torch", exc_type=ImportError)
    base = torch.arange(-24, 24).reshape(4, 12)
    tensors = {name: base.to(getattr(torch, name)) for name in {*KINDS.values(), "bfloat16"}}
    torch_files.save_file(tensors, tmp_path / "a.safetensors")
    read = read_checkpoint(tmp_path / "a.safetensors")
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        wide = tensor.float() if name == "bfloat16" else tensor
        np.testing.assert_array_equal(read[name], wide.numpy(), strict=True)
