import collections
import os
import pickle
import struct
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from absl import logging

from mpjax.models.weights.torch_reader import CheckpointError, read_checkpoint

ROOT = Path(__file__).resolve().parents[3]


class Tensor:
    """A view of a storage, to be pickled as PyTorch pickles its tensors."""

    def __init__(self, kind, data, *, size=None, stride=None, offset=0, key=None, length=None):
        self.kind, self.data, self.offset = kind, data, offset
        self.size = data.shape if size is None else size
        dense = [s // data.itemsize for s in data.strides]
        self.stride = tuple(dense) if stride is None else stride
        self.key, self.length = key, data.size if length is None else length


class _Storage:
    def __init__(self, tensor, key):
        self.tensor, self.key = tensor, key


def write_pth(path, value, monkeypatch, *, order="little"):
    """Writes a zip-format checkpoint with stand-ins for PyTorch's classes."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*args):
        raise AssertionError("only its name is pickled")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    storages = {}

    class Pickler(pickle.Pickler):
        def reducer_override(self, item):
            if not isinstance(item, Tensor):
                return NotImplemented
            key = item.key or str(len(storages))
            storages[key] = np.ascontiguousarray(item.data)
            storage = _Storage(item, key)
            hooks = collections.OrderedDict()
            args = (storage, item.offset, tuple(item.size), tuple(item.stride), False, hooks)
            return _rebuild_tensor_v2, args

        def persistent_id(self, item):
            if not isinstance(item, _Storage):
                return None
            kind = type(item.tensor.kind, (), {"__module__": "torch"})
            setattr(torch, item.tensor.kind, kind)
            return ("storage", kind, item.key, "cpu", item.tensor.length)

    with monkeypatch.context() as patch, zipfile.ZipFile(path, "w") as archive:
        patch.setitem(sys.modules, "torch", torch)
        patch.setitem(sys.modules, "torch._utils", utils)
        with archive.open("archive/data.pkl", "w") as file:
            Pickler(file, protocol=2).dump(value)
        archive.writestr("archive/byteorder", order)
        for key, data in storages.items():
            swap = order == "big"
            archive.writestr(f"archive/data/{key}", (data.byteswap() if swap else data).tobytes())


KINDS = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


@pytest.mark.parametrize("order", ["little", "big"])
def test_tensors_of_every_type_come_back_equal(tmp_path, monkeypatch, order):
    numbers = np.random.default_rng(0).normal(size=(3, 4), scale=50)
    arrays = {kind: np.abs(numbers).astype(dtype) for kind, dtype in KINDS.items()}
    value = {kind: Tensor(kind, array) for kind, array in arrays.items()}
    write_pth(tmp_path / "a.pth", value, monkeypatch, order=order)
    read = read_checkpoint(tmp_path / "a.pth")
    for kind, array in arrays.items():
        np.testing.assert_array_equal(read[kind], array, strict=True)


def test_bfloat16_is_widened_exactly(tmp_path, monkeypatch):
    exact = np.array([1.0, -2.5, 3e38, 1e-38, np.inf], np.float32)
    exact = (exact.view(np.uint32) & 0xFFFF0000).view(np.float32)
    upper = (exact.view(np.uint32) >> 16).astype(np.uint16)
    write_pth(tmp_path / "a.pth", [Tensor("BFloat16Storage", upper)], monkeypatch)
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "a.pth")[0], exact, strict=True)


def test_views_follow_their_strides_and_offsets(tmp_path, monkeypatch):
    base = np.arange(24, dtype=np.float32)
    views = {
        "transposed": ((4, 6), (1, 4), 0, base.reshape(6, 4).T),
        "column": ((6,), (4,), 3, base.reshape(6, 4)[:, 3]),
        "expanded": ((3, 4), (0, 1), 8, np.broadcast_to(base[8:12], (3, 4))),
        "scalar": ((), (), 5, base[5]),
        "empty": ((0, 4), (4, 1), 24, base[:0].reshape(0, 4)),
    }
    value = {
        name: Tensor("FloatStorage", base, size=size, stride=stride, offset=offset, key="shared")
        for name, (size, stride, offset, _) in views.items()
    }
    write_pth(tmp_path / "a.pth", value, monkeypatch)
    read = read_checkpoint(tmp_path / "a.pth")
    for name, (*_, expected) in views.items():
        np.testing.assert_array_equal(read[name], np.asarray(expected), strict=True)


def test_containers_and_scalars_come_back_as_they_were(tmp_path, monkeypatch):
    value = collections.OrderedDict(
        meta={"epoch": 3, "lr": [1e-3, None, True], "best": np.float64(0.5), "n": np.int64(7)},
        ids={1, 2},
        raw=b"\x00\xff",
    )
    write_pth(tmp_path / "a.pth", value, monkeypatch)
    read = read_checkpoint(tmp_path / "a.pth")
    assert read == value
    assert type(read["meta"]["best"]) is float


class _Runs:
    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"), [(os.mkdir, f"{os.name}.mkdir"), (eval, "builtin"), (getattr, "getattr")]
)
def test_a_pickle_that_would_run_code_is_refused_by_name(tmp_path, monkeypatch, function, name):
    made = tmp_path / "made"
    write_pth(tmp_path / "a.pth", {"x": _Runs(function, str(made))}, monkeypatch)
    with pytest.raises(ValueError, match=rf"a\.pth: it asks for .*{name}.*refused"):
        read_checkpoint(tmp_path / "a.pth")
    assert not made.exists()


def test_a_numpy_scalar_of_objects_is_refused(tmp_path, monkeypatch):
    value = [_Runs(np._core.multiarray.scalar, np.dtype("O"), b"")]
    write_pth(tmp_path / "a.pth", value, monkeypatch)
    with pytest.raises(ValueError, match=r"a\.pth: .*'O"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "faulty",
    [
        {"size": (5,), "stride": (1,), "offset": 8},
        {"size": (4, 4), "stride": (4, 1)},
        {"size": (4,), "stride": (-1,), "offset": 8},
        {"size": (4,), "stride": (1,), "offset": -1},
        {"length": 13},
    ],
)
def test_a_view_beyond_its_storage_is_refused(tmp_path, monkeypatch, faulty):
    tensor = Tensor("FloatStorage", np.zeros(12, np.float32), **faulty)
    write_pth(tmp_path / "a.pth", [tensor], monkeypatch)
    with pytest.raises(ValueError, match=r"a\.pth: "):
        read_checkpoint(tmp_path / "a.pth")


def test_a_cut_or_altered_file_is_one_clear_error(tmp_path, monkeypatch):
    whole, faulty = tmp_path / "whole.pth", tmp_path / "faulty.pth"
    write_pth(whole, {"x": Tensor("FloatStorage", np.ones(64, np.float32))}, monkeypatch)
    data = whole.read_bytes()
    cuts = [data[:length] for length in (0, 3, 10, 60, len(data) // 2, len(data) - 1)]
    middle = data.index(struct.pack("<f", 1.0) * 8)
    altered = data[:middle] + b"\x01" + data[middle + 1 :]
    for content in [*cuts, altered]:
        faulty.write_bytes(content)
        with pytest.raises(ValueError, match=r"faulty\.pth: "):
            read_checkpoint(faulty)


def test_whatever_byte_is_altered_the_file_is_read_or_refused(tmp_path, monkeypatch):
    value = {"x": Tensor("FloatStorage", np.ones(8, np.float32)), "meta": {"lr": [1e-3, {1}]}}
    write_pth(tmp_path / "a.pth", value, monkeypatch)
    data = np.frombuffer((tmp_path / "a.pth").read_bytes(), np.uint8)
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


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    with pytest.raises(ValueError, match=r"page\.pth: not a PyTorch checkpoint.*<!DOCTYPE"):
        read_checkpoint(tmp_path / "page.pth")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(ValueError, match=r"other\.pth: a zip file, but not"):
        read_checkpoint(tmp_path / "other.pth")


def _write_legacy(path):
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + b"rest")


def test_a_file_from_before_1_6_says_that_it_needs_torch(tmp_path, monkeypatch):
    _write_legacy(tmp_path / "old.pth")
    monkeypatch.setitem(sys.modules, "torch", None)  # as if not installed
    with pytest.raises(ImportError, match=r"old\.pth: .*before PyTorch 1\.6.*mpjax\[convert\]"):
        read_checkpoint(tmp_path / "old.pth")


def test_torch_reads_a_file_from_before_1_6_with_weights_only(tmp_path, monkeypatch):
    class Fake:
        bfloat16 = "bfloat16"
        dtype = "float32"

        def detach(self):
            return self

        def numpy(self):
            return np.ones(3)

    asked, said = {}, []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))

    def load(file, **arguments):
        asked.update(arguments, first=file.read(1))
        return {"state_dict": {"x": Fake()}, "meta": [1]}

    fake = types.SimpleNamespace(Tensor=Fake, load=load, bfloat16="bfloat16")
    monkeypatch.setitem(sys.modules, "torch", fake)
    _write_legacy(tmp_path / "old.pth")
    read = read_checkpoint(tmp_path / "old.pth")
    assert len(said) == 1
    assert "old.pth: in the format of before PyTorch 1.6, read by torch" in said[0]
    assert asked == {"map_location": "cpu", "weights_only": True, "first": b"\x80"}
    np.testing.assert_array_equal(read["state_dict"]["x"], np.ones(3))


def test_reading_needs_neither_jax_nor_torch():
    code = (
        "import runpy, sys; runpy.run_path('mpjax/models/weights/torch_reader.py'); "
        "sys.exit(any(name in sys.modules for name in ('jax', 'flax', 'torch')))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def _equal(ours, theirs):
    """Compares what was read with what torch loaded, container by container."""
    import torch

    if isinstance(theirs, torch.Tensor | torch.storage.TypedStorage):
        theirs = torch.as_tensor(theirs).detach()
        wide = theirs.float() if theirs.dtype == torch.bfloat16 else theirs
        np.testing.assert_array_equal(ours, wide.numpy(), strict=True)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            _equal(ours[key], value)
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            _equal(our, their)
    else:
        assert ours == theirs
        assert type(ours) is type(theirs)


def _torch_values():
    torch = pytest.importorskip("torch")
    base = torch.arange(-24, 24).reshape(4, 12)
    tensors = {name: base.to(getattr(torch, name)) for name in {*KINDS.values(), "bfloat16"}}
    wide = base.float()
    views = {  # of one storage
        "whole": wide,
        "transposed": wide.T,
        "strided": wide[1::2, 2::3],
        "expanded": wide[2:3].expand(5, 12),
        "element": wide[3, 4],
        "empty": wide[:0],
    }
    layer = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    return {
        "state_dict": layer.state_dict(),
        "tensors": tensors,
        "views": views,
        "parameters": [torch.nn.Parameter(base.float()), torch.nn.Parameter(base.half().T)],
        "optimizer": optimizer.state_dict(),
        "meta": {"epoch": 3, "nested": [(1, [2.5, None]), {"lr": True}], "who": "x", "ids": {1, 2}},
        "size": torch.Size([3, 4]),
        "storage": torch.ones(3).storage(),
    }


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_all_that_torch_saves_of_tensors_and_containers_equals_torch_load(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(_torch_values(), tmp_path / "a.pth")
    theirs = torch.load(tmp_path / "a.pth", weights_only=True)
    theirs["size"] = tuple(theirs["size"])  # a torch.Size is a tuple
    _equal(read_checkpoint(tmp_path / "a.pth"), theirs)


@pytest.mark.parametrize("zipped", [True, False])
def test_torchs_own_pickles_of_code_and_models_are_refused_by_name(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    made = tmp_path / "made"
    cases = {
        rf"{os.name}\.mkdir": {"x": torch.ones(2), "y": _Runs(os.mkdir, str(made))},
        r"(__builtin__\.)?eval": {"y": _Runs(eval, f"open({str(made)!r}, 'w')")},
        r"torch\.nn\.modules\.linear\.Linear": torch.nn.Linear(2, 2),
    }
    for name, value in cases.items():
        torch.save(value, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(
            CheckpointError, match=rf"a\.pth: it asks for {name}; refused"
        ) as caught:
            read_checkpoint(tmp_path / "a.pth")
        assert "weights_only" not in str(caught.value)  # torch advises to switch it off
        assert not made.exists()


def test_the_format_of_before_1_6_equals_torch_load(tmp_path):
    torch = pytest.importorskip("torch")
    saved = {"state_dict": torch.nn.Linear(3, 4).state_dict(), "half": torch.ones(3).bfloat16()}
    torch.save(saved, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    _equal(read_checkpoint(tmp_path / "old.pth"), saved)
    data = (tmp_path / "old.pth").read_bytes()
    for length in (20, len(data) // 2, len(data) - 3):
        (tmp_path / "old.pth").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"old\.pth: damaged or cut short"):
            read_checkpoint(tmp_path / "old.pth")


@pytest.mark.parametrize("name", ["torchvision_xs", "uas_xs", "uas_lora_xs"])
def test_equals_torch_load(shared, name):
    torch = pytest.importorskip("torch")
    path = shared / "parity" / f"{name}.pth"
    ours, theirs = read_checkpoint(path), torch.load(path, weights_only=True)
    ours, theirs = ours.get("state_dict", ours), theirs.get("state_dict", theirs)
    assert list(ours) == list(theirs)
    for key, tensor in theirs.items():
        np.testing.assert_array_equal(ours[key], tensor.numpy(), strict=True)
