"""Reads PyTorch checkpoints without PyTorch and without running code from them.

A `.pth` file (since PyTorch 1.6) is a zip archive: `data.pkl`, a pickle of everything but the
numbers, and one file `data/<key>` per storage, which is a flat array that tensors are views of.
https://docs.pytorch.org/docs/stable/notes/serialization.html
A `.safetensors` file is the length of a header (8 bytes), the header in JSON, and the numbers.
https://huggingface.co/docs/safetensors
"""

import collections
import importlib
import io
import pickle
import re
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import safetensors
from absl import logging
from etils import epath

_TYPES = (  # PyTorch's name of a storage, safetensors' code, numpy's name
    ("DoubleStorage", "F64", "float64"),
    ("FloatStorage", "F32", "float32"),
    ("HalfStorage", "F16", "float16"),
    ("BFloat16Storage", "BF16", "bfloat16"),
    ("LongStorage", "I64", "int64"),
    ("IntStorage", "I32", "int32"),
    ("ShortStorage", "I16", "int16"),
    ("CharStorage", "I8", "int8"),
    ("ByteStorage", "U8", "uint8"),
    ("BoolStorage", "BOOL", "bool"),
)
_STORAGE_TYPES = {storage: dtype for storage, _, dtype in _TYPES}
_TYPE_CODES = {code: dtype for _, code, dtype in _TYPES}

# How files written before PyTorch 1.6 begin: a pickle (protocol 2) of the number
# 0x1950a86a20f9469cfc6c.
_LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


class CheckpointError(ValueError):
    """A file that is damaged, is no checkpoint, or asks for what is not admitted."""


def read_checkpoint(path: epath.PathLike) -> Any:
    """Reads a PyTorch checkpoint into plain containers and numpy arrays.

    Tensors, storages, plain containers and scalars (numpy's too) are read; a file that names
    anything else is refused. bfloat16 is widened to float32, which loses nothing.

    Args:
        path: of a `.pth`, `.pt` or `.safetensors` file, distinguished by their content. One
            written before PyTorch 1.6 needs torch to be installed.

    Raises:
        CheckpointError: the file is damaged, is no checkpoint, or names what is not admitted.
        ImportError: the file needs torch, and torch is not installed.
    """
    path = epath.Path(path)
    with path.open("rb") as file:
        try:
            start = file.read(len(_LEGACY_START))
            file.seek(0)
            if start == _LEGACY_START:
                return _read_legacy(path, file)
            if start[8:9] == b"{":  # the header of safetensors, after its length
                return _read_safetensors(path, file)
            if start.startswith(b"PK\x03\x04"):
                return _read_zip(path, file)
            raise CheckpointError(f"{path}: not a PyTorch checkpoint; it begins with {start!r}")
        except (CheckpointError, ImportError):
            raise
        except Exception as error:  # zip and pickle raise any kind on bytes that are neither
            why = f"{type(error).__name__}: {error}"
            raise CheckpointError(f"{path}: damaged or cut short ({why}); get it again") from error


def _read_zip(path: epath.Path, file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise CheckpointError(
                f"{path}: a zip file, but not a PyTorch checkpoint: no data.pkl in it"
            )
        return _Unpickler(path, archive, pickles[0].removesuffix("data.pkl")).load()


class _StorageType(NamedTuple):
    dtype: str


class _Unpickler(pickle.Unpickler):
    """Unpickles tensors and plain containers; refuses all else by its name."""

    def __init__(self, path: epath.Path, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self._path, self._archive, self._folder = path, archive, folder
        self._storages: dict[str, np.ndarray] = {}
        order = f"{folder}byteorder"  # absent from older files, which are little-endian
        big = order in archive.namelist() and archive.read(order).strip() == b"big"
        self._byte_order: Literal["<", ">"] = ">" if big else "<"

    def find_class(self, module: str, name: str) -> Any:
        """Returns what the pickle may call, and refuses everything else."""
        if module == "torch" and name in _STORAGE_TYPES:
            return _StorageType(_STORAGE_TYPES[name])
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            raise _refusal(self._path, f"{module}.{name}")
        return admitted

    def persistent_load(self, pid: Any) -> np.ndarray:
        """Returns the storage that the pickle refers to, read once."""
        match pid:
            case ("storage", _StorageType(dtype), str(key), str(), int(length)):
                if key not in self._storages:
                    data = self._archive.read(f"{self._folder}data/{key}")
                    if len(data) < length * np.dtype(_stored_type(dtype)).itemsize:
                        raise CheckpointError(
                            f"{self._path}: storage {key} has {len(data)} bytes, too few for "
                            f"{length} {dtype}"
                        )
                    self._storages[key] = _numbers(data, dtype, length, self._byte_order)
                return self._storages[key]
        raise CheckpointError(f"{self._path}: it refers to {pid!r}, which is not a storage")


def _refusal(path: epath.Path, name: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: it asks for {name}; refused, as only tensors, plain containers and scalars are "
        "read. A checkpoint should hold a state_dict, not a pickled model"
    )


def _stored_type(dtype: str) -> str:
    return "uint16" if dtype == "bfloat16" else dtype


def _numbers(
    data: bytes | bytearray, dtype: str, length: int = -1, byte_order: Literal["<", ">"] = "<"
) -> np.ndarray:
    """Returns the first `length` numbers of `data` (-1: all) in this machine's byte order."""
    stored = np.dtype(_stored_type(dtype))
    values = np.frombuffer(data, stored.newbyteorder(byte_order), length)
    if dtype == "bfloat16":  # the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(stored, copy=False)


def _rebuild_tensor(
    storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> np.ndarray:
    """Returns a view of `storage`, with strides counted in elements."""
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or (0 not in size and last >= len(storage)):
        raise pickle.UnpicklingError(
            f"a tensor of size {size}, stride {stride} and offset {offset} reaches out of its "
            f"storage of {len(storage)} elements"
        )
    view = np.lib.stride_tricks.as_strided(
        storage[offset:], size, [step * storage.itemsize for step in stride], writeable=False
    )
    return np.array(view, order="C", copy=None)


class _NumpyDtype:
    """Stands for the type of a numpy scalar; the state that a pickle gives it is the byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if np.dtype(code).kind not in "biuf":
            raise pickle.UnpicklingError(f"numpy scalars of type {code!r} are not read")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(">" if state[1] == ">" else "<")


def _numpy_scalar(of: _NumpyDtype, data: bytes) -> Any:
    return np.frombuffer(data, of.dtype, 1)[0].item()


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("__builtin__", "set"): set,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("_codecs", "encode"): str.encode,  # protocol 2 of pickle spells bytes as latin-1 text
    # Training scripts leave numpy scalars, e.g. the best score so far, next to the weights.
    ("numpy", "dtype"): _NumpyDtype,
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,
    ("numpy._core.multiarray", "scalar"): _numpy_scalar,
}


def _read_safetensors(path: epath.Path, file: BinaryIO) -> dict[str, np.ndarray]:
    tensors = safetensors.deserialize(file.read())
    unread = [f"{name} ({t['dtype']})" for name, t in tensors if t["dtype"] not in _TYPE_CODES]
    if unread:
        raise CheckpointError(f"{path}: tensors of types that are not read: {', '.join(unread)}")
    return {
        name: _numbers(t["data"], _TYPE_CODES[t["dtype"]]).reshape(t["shape"])
        for name, t in tensors
    }


def _read_legacy(path: epath.Path, file: BinaryIO) -> Any:
    try:
        torch = importlib.import_module("torch")  # optional: only files of before 2020 need it
    except ImportError as error:
        raise ImportError(
            f"{path}: written before PyTorch 1.6; reading it needs torch: "
            "pip install 'mpjax[convert]'"
        ) from error
    logging.warning("%s: in the format of before PyTorch 1.6, read by torch (weights_only)", path)
    try:
        return _to_numpy(torch.load(file, map_location="cpu", weights_only=True), torch)
    except pickle.UnpicklingError as error:
        # torch's own message advises to load the file without weights_only, which runs its code.
        found = re.search(r"GLOBAL:? (\S+)", str(error))
        if found is None:
            raise CheckpointError(f"{path}: damaged, or not tensors in plain containers") from None
        raise _refusal(path, found[1]) from None


def _to_numpy(value: Any, torch: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, dict):
        return {key: _to_numpy(item, torch) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_numpy(item, torch) for item in value]
    return value
