"""Converts PyTorch checkpoints of Video Swin: two sets of names, one architecture."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from einops import EinopsError, rearrange
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from mpjax.models.swin import SwinConfig, init_params
from mpjax.models.torch_reader import read_checkpoint

State: TypeAlias = Mapping[str, np.ndarray]

# Layouts from theirs to ours, as einops patterns. PyTorch keeps a linear kernel as (out, in).
_SAME = "d -> d"
_LINEAR = "o i -> i o"
_CONVOLUTION = "o c t h w -> t h w c o"
_TABLE = "rows h -> rows h"
_QKV_KERNEL = "(three h k) d -> d three h k"
_QKV_BIAS = "(three h k) -> three h k"
_HEADS_TO_WIDTH = "o (h k) -> h k o"

# Where the official code (Video Swin, UAS) counts stages, torchvision counts places in a list in
# which blocks (even) and patch mergings (odd) alternate.
_BLOCK = r"(?:layers\.(?P<stage>\d+)\.blocks|features\.(?P<place>\d+))\.(?P<block>\d+)"
_MERGING = r"(?:layers\.(?P<stage>\d+)\.downsample|features\.(?P<place>\d+))"
_HEAD = r"(?:cls_head\.fc_cls|head)"

# Their name (official | torchvision) -> our parameter, and how its axes are rearranged.
_RULES: tuple[tuple[str, str, str], ...] = (
    (r"patch_embed\.proj\.weight", "patch_embed/proj/kernel", _CONVOLUTION),
    (r"patch_embed\.proj\.bias", "patch_embed/proj/bias", _SAME),
    (r"patch_embed\.norm\.weight", "patch_embed/norm/scale", _SAME),
    (r"patch_embed\.norm\.bias", "patch_embed/norm/bias", _SAME),
    (rf"{_BLOCK}\.norm1\.weight", "stage{stage}_block{block}/norm1/scale", _SAME),
    (rf"{_BLOCK}\.norm1\.bias", "stage{stage}_block{block}/norm1/bias", _SAME),
    (
        rf"{_BLOCK}\.attn\.relative_position_bias_table",
        "stage{stage}_block{block}/attn/relative_position_bias_table",
        _TABLE,
    ),
    (rf"{_BLOCK}\.attn\.qkv\.weight", "stage{stage}_block{block}/attn/qkv/kernel", _QKV_KERNEL),
    (rf"{_BLOCK}\.attn\.qkv\.bias", "stage{stage}_block{block}/attn/qkv/bias", _QKV_BIAS),
    (
        rf"{_BLOCK}\.attn\.proj\.weight",
        "stage{stage}_block{block}/attn/proj/kernel",
        _HEADS_TO_WIDTH,
    ),
    (rf"{_BLOCK}\.attn\.proj\.bias", "stage{stage}_block{block}/attn/proj/bias", _SAME),
    (rf"{_BLOCK}\.norm2\.weight", "stage{stage}_block{block}/norm2/scale", _SAME),
    (rf"{_BLOCK}\.norm2\.bias", "stage{stage}_block{block}/norm2/bias", _SAME),
    (rf"{_BLOCK}\.mlp\.(?:fc1|0)\.weight", "stage{stage}_block{block}/fc1/kernel", _LINEAR),
    (rf"{_BLOCK}\.mlp\.(?:fc1|0)\.bias", "stage{stage}_block{block}/fc1/bias", _SAME),
    (rf"{_BLOCK}\.mlp\.(?:fc2|3)\.weight", "stage{stage}_block{block}/fc2/kernel", _LINEAR),
    (rf"{_BLOCK}\.mlp\.(?:fc2|3)\.bias", "stage{stage}_block{block}/fc2/bias", _SAME),
    (rf"{_MERGING}\.norm\.weight", "stage{stage}_merging/norm/scale", _SAME),
    (rf"{_MERGING}\.norm\.bias", "stage{stage}_merging/norm/bias", _SAME),
    (rf"{_MERGING}\.reduction\.weight", "stage{stage}_merging/reduction/kernel", _LINEAR),
    (r"norm\.weight", "norm/scale", _SAME),
    (r"norm\.bias", "norm/bias", _SAME),
    (rf"{_HEAD}\.weight", "head/kernel", _LINEAR),
    (rf"{_HEAD}\.bias", "head/bias", _SAME),
)

# Buffers that follow from the hyperparameters.
_DERIVED = re.compile(r".*\.(relative_position_index|attn_mask)")


class _Tensor(NamedTuple):
    """A tensor of the checkpoint that has a rule."""

    name: str  # theirs
    value: np.ndarray
    pattern: str


def load_checkpoint(path: epath.PathLike) -> tuple[SwinConfig, dict[str, Any]]:
    """Reads and converts a PyTorch checkpoint of Video Swin.

    Args:
        path: a `.pth` of torchvision, of Video Swin or of UAS.

    Raises:
        ValueError: the file is damaged, or is no Video Swin; see `convert_state_dict`.
        ImportError: the file was written before PyTorch 1.6, and torch is not installed.
    """
    try:
        return convert_state_dict(find_state_dict(read_checkpoint(path)))
    except ValueError as error:
        message = str(error)
        raise ValueError(message if str(path) in message else f"{path}: {message}") from error


def find_state_dict(checkpoint: Any) -> State:
    """Returns the tensors by name: the checkpoint itself, or its entry `state_dict`.

    Raises:
        ValueError: there are none.
    """
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"expected a dict of tensors, got a {type(checkpoint).__name__}")
    others = [str(name) for name, value in state.items() if not isinstance(value, np.ndarray)]
    if others:
        raise ValueError(f"expected a dict of tensors; not tensors: {_listed(others)}")
    return state


def convert_state_dict(state: State) -> tuple[SwinConfig, dict[str, Any]]:
    """Converts the tensors of a Video Swin, in either layout, to our config and parameters.

    The config is read off the shapes. What acts in training alone (drop-path) is not in them and
    stays at its default.

    Args:
        state: tensors by name, torchvision's or the official ones, with or without `backbone.`.

    Returns:
        The config, and float32 parameters laid out as `init_params(config, key)`.

    Raises:
        ValueError: some tensor on either side has no counterpart of its shape; lists them all.
    """
    tensors, unexpected = _match(state)
    if "patch_embed/proj/kernel" not in tensors:
        raise ValueError(
            f"not a Video Swin checkpoint: no patch_embed.proj.weight among its {len(state)} "
            f"tensors, e.g. {_listed(list(state)[:3])}"
        )
    misshaped = [
        f"{name} {value.shape}, for {pattern.split(' -> ')[0]!r}"
        for name, value, pattern in tensors.values()
        if value.ndim != len(_axes(pattern.split(" -> ")[0]))
    ]
    _refuse(misshaped=misshaped)

    config = _read_config(tensors, _window_tokens(state))
    expected = flatten_dict(
        jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0)), sep="/"
    )
    missing = [path for path in expected if path not in tensors]
    unexpected += [tensor.name for path, tensor in tensors.items() if path not in expected]
    params = {}
    for path in expected.keys() & tensors.keys():
        name, value, pattern = tensors[path]
        shape = expected[path].shape
        lengths = dict(zip(pattern.split(" -> ")[1].split(), shape, strict=True))
        try:
            params[path] = rearrange(np.asarray(value, np.float32), pattern, **lengths)
        except EinopsError:
            misshaped.append(f"{name} {value.shape}, for {path} {shape} by {pattern!r}")
    _refuse(missing=missing, unexpected=unexpected, misshaped=misshaped)
    return config, unflatten_dict(params, sep="/")


def _match(state: State) -> tuple[dict[str, _Tensor], list[str]]:
    """Returns the tensors by our path, and the names of those without a rule."""
    tensors: dict[str, _Tensor] = {}
    unexpected = []
    for name, value in state.items():
        if _DERIVED.fullmatch(name):
            continue
        for regex, path, pattern in _RULES:
            found = re.fullmatch(regex, name.removeprefix("backbone."))
            if found:
                tensors[_our_path(path, found)] = _Tensor(name, value, pattern)
                break
        else:
            unexpected.append(name)
    return tensors, unexpected


def _our_path(path: str, found: re.Match[str]) -> str:
    groups = found.groupdict()
    if groups.get("place"):
        groups["stage"] = str(int(groups["place"]) // 2)
    return path.format(**groups)


def _read_config(tensors: Mapping[str, _Tensor], window_tokens: int | None) -> SwinConfig:
    embed_dim, _, *patch = tensors["patch_embed/proj/kernel"].value.shape
    found = [re.match(r"stage(\d+)_block(\d+)/", path) for path in tensors]
    blocks = [(int(match[1]), int(match[2])) for match in found if match]
    stages = range(1 + max((stage for stage, _ in blocks), default=-1))
    needed = [f"stage{stage}_block0/attn/relative_position_bias_table" for stage in stages]
    needed.append("stage0_block0/fc1/kernel")
    _refuse(missing=[path for path in needed if path not in tensors])
    tables = [tensors[path].value for path in needed[:-1]]
    head = tensors.get("head/kernel")
    return SwinConfig(
        embed_dim=embed_dim,
        depths=tuple(1 + max(block for s, block in blocks if s == stage) for stage in stages),
        num_heads=tuple(table.shape[1] for table in tables),
        patch=tuple(patch),
        window=_window(tables[0].shape[0], window_tokens),
        mlp_ratio=tensors["stage0_block0/fc1/kernel"].value.shape[0] / embed_dim,
        num_classes=None if head is None else head.value.shape[0],
    )


def _window_tokens(state: State) -> int | None:
    for name, value in state.items():
        if name.endswith(".relative_position_index"):
            return len(value)
    return None


def _window(rows: int, tokens: int | None) -> tuple[int, int, int]:
    """Returns the window (t, s, s) whose bias table has `rows` = (2t - 1)(2s - 1)^2 rows.

    The rows alone can be ambiguous. Where the checkpoint holds the index, whose length is the
    number `tokens` = t s^2 of a window, that decides; else s is 7, as in every published Video
    Swin, or the largest that fits.
    """
    fitting = []
    for side in range(1, rows + 1):
        length, rest = divmod(rows, (2 * side - 1) ** 2)
        if length == 0:
            break
        window = ((length + 1) // 2, side, side)
        if rest == 0 and length % 2 and tokens in (None, window[0] * side**2):
            fitting.append(window)
    if not fitting:
        raise ValueError(f"a bias table of {rows} rows fits no window (t, s, s) of {tokens} tokens")
    return max(fitting, key=lambda window: (window[1] == 7, window[1]))


def _axes(side: str) -> list[str]:
    """Splits one side of an einops pattern into its axes."""
    return re.findall(r"\(.*?\)|\w+", side)


def _refuse(**faults: Iterable[str]) -> None:
    """Raises one ValueError with all faults, if there are any."""
    lines = [f"{kind}: {_listed(sorted(names))}" for kind, names in faults.items() if names]
    if lines:
        raise ValueError("the tensors are not those of a Video Swin; " + "; ".join(lines))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
