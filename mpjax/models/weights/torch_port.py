"""Converts PyTorch checkpoints of Video Swin: two sets of names, one architecture.

2D Swin checkpoints (ImageNet) are inflated, and LoRA tensors are merged into the weights.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from einops import EinopsError, rearrange
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PRNGKeyArray

from mpjax.models import lora
from mpjax.models.lora import LoraConfig
from mpjax.models.swin.network import SwinConfig, init_params
from mpjax.models.weights import inflation as inflating
from mpjax.models.weights.inflation import Inflation
from mpjax.models.weights.torch_reader import read_checkpoint

State: TypeAlias = Mapping[str, np.ndarray]
Window: TypeAlias = tuple[int, ...]  # tokens along t, h, w

# Layouts from theirs to ours, as einops patterns. PyTorch keeps a linear kernel as (out, in).
_SAME = "d -> d"
_LINEAR = "o i -> i o"

# Where the official code (Video Swin, UAS) counts stages, torchvision counts places in a list in
# which stages and patch mergings alternate. It begins with stage 0 in 3D, and with the patch
# embedding in 2D; either way a stage is half its place, rounded down.
_BLOCK = r"(?:layers\.(?P<stage>\d+)\.blocks|features\.(?P<place>\d+))\.(?P<block>\d+)"
_MERGING = r"(?:layers\.(?P<stage>\d+)\.downsample|features\.(?P<place_after>\d+))"
_LORA = rf"{_BLOCK}\.(?:attn|mlp)\.lora_(?P<layer>q|k|v|o|fc1|fc2)"
_BIAS_TABLE = "relative_position_bias_table"  # by either name, and by ours

_AT = "stage{stage}_block{block}"  # our name of a block

# A layer's name (official | torchvision), ours, and how its weights and its biases are rearranged.
_LAYERS = (
    (r"(?:patch_embed\.proj|features\.0\.0)", "patch_embed/proj", "o c t h w -> t h w c o", _SAME),
    (r"(?:patch_embed\.norm|features\.0\.2)", "patch_embed/norm", _SAME, _SAME),
    (rf"{_BLOCK}\.(?P<norm>norm[12])", f"{_AT}/{{norm}}", _SAME, _SAME),
    (
        rf"{_BLOCK}\.attn\.qkv",
        f"{_AT}/attn/qkv",
        "(three h k) d -> d three h k",
        "(three h k) -> three h k",
    ),
    (rf"{_BLOCK}\.attn\.proj", f"{_AT}/attn/proj", "o (h k) -> h k o", _SAME),
    (rf"{_BLOCK}\.mlp\.(?:fc1|0)", f"{_AT}/fc1", _LINEAR, _SAME),
    (rf"{_BLOCK}\.mlp\.(?:fc2|3)", f"{_AT}/fc2", _LINEAR, _SAME),
    (rf"{_MERGING}\.norm", "stage{stage}_merging/norm", _SAME, _SAME),
    (rf"{_MERGING}\.reduction", "stage{stage}_merging/reduction", _LINEAR, None),
    (r"norm", "norm", _SAME, _SAME),
    (r"(?:cls_head\.fc_cls|head)", "head", _LINEAR, _SAME),
)
# A tensor's name, our parameter, and how it is rearranged. The weights of a norm are its scale.
_RULES = (
    *(
        (rf"{theirs}\.weight", f"{ours}/{'scale' if weights == _SAME else 'kernel'}", weights)
        for theirs, ours, weights, _ in _LAYERS
    ),
    *((rf"{theirs}\.bias", f"{ours}/bias", bias) for theirs, ours, _, bias in _LAYERS if bias),
    (rf"{_BLOCK}\.attn\.{_BIAS_TABLE}", f"{_AT}/attn/{_BIAS_TABLE}", "rows h -> rows h"),
    (rf"{_LORA}\.lora_A\.weight", f"lora/{_AT}/{{layer}}/a", _LINEAR),
    (rf"{_LORA}\.lora_B\.weight", f"lora/{_AT}/{{layer}}/b", _LINEAR),
)

# Buffers that follow from the hyperparameters.
_DERIVED = re.compile(r".*\.(relative_position_index|attn_mask)")

# What only Swin V2 has: cosine attention and a network that computes its position bias.
_SWIN_V2 = re.compile(r".*\.attn\.(logit_scale|cpb_mlp\..*)")


class Converted(NamedTuple):
    """A converted checkpoint."""

    config: SwinConfig
    params: dict[str, Any]  # float32, laid out as `init_params` does; adapters merged in
    layout: str  # "official", "torchvision", "official 2D" or "torchvision 2D"
    lora: LoraConfig | None  # of the adapters that were merged; None: there were none


class _Tensor(NamedTuple):
    """A tensor of the checkpoint that has a rule."""

    name: str  # theirs
    value: np.ndarray
    pattern: str

    def __str__(self) -> str:
        return f"{self.name} {self.value.shape}"

    @property
    def axes(self) -> str:
        """Its layout, by its rule."""
        return self.pattern.split(" -> ")[0]

    def is_misshaped(self) -> bool:
        """Whether it has another number of axes than its rule says, or no elements."""
        axes = re.findall(r"\(.*?\)|\w+", self.axes)
        return self.value.ndim != len(axes) or self.value.size == 0


class _Matched(NamedTuple):
    """The tensors of a checkpoint, and the faults found so far."""

    tensors: dict[str, _Tensor]  # by our path
    unexpected: list[str]  # names of those without a path of their own
    misshaped: dict[str, str]  # by our path: the tensor and the shape it should have


def load_checkpoint(path: epath.PathLike, *, lora_alpha: float | None = None) -> Converted:
    """Reads and converts a checkpoint of torchvision, of Video Swin, of UAS or of a 2D Swin.

    Args:
        path: of a file that `read_checkpoint` reads.
        lora_alpha: as for `convert_state_dict`.

    Raises:
        ValueError: the file is damaged, or is no Swin; see `convert_state_dict`.
        ImportError: the file was written before PyTorch 1.6, and torch is not installed.
    """
    checkpoint = read_checkpoint(path)
    try:
        return convert_state_dict(find_state_dict(checkpoint), lora_alpha=lora_alpha)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def find_state_dict(checkpoint: Any) -> State:
    """Returns the tensors by name: the checkpoint itself, or its `state_dict` or `model`."""
    state = checkpoint
    for entry in ("state_dict", "model"):  # as Video Swin and UAS, and as Swin save them
        if isinstance(checkpoint, Mapping) and entry in checkpoint:
            state = checkpoint[entry]
            break
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"expected a dict of tensors, got a {type(state).__name__}")
    others = [str(name) for name, value in state.items() if not isinstance(value, np.ndarray)]
    if others:
        raise ValueError(f"expected a dict of tensors; not tensors: {', '.join(others)}")
    return state


def convert_state_dict(
    state: State, *, lora_alpha: float | None = None, inflation: Inflation | None = None
) -> Converted:
    """Converts the tensors of a Video Swin, in either layout, to our config and parameters.

    The config is read off the shapes. What acts in training alone (drop-path) is not in them and
    stays at its default. A 2D Swin, known by the 4 axes of its patch kernel, is inflated; it keeps
    its head, as the inflated network gives for a still clip the 2D network's logits.

    Args:
        state: tensors by name, torchvision's or the official ones, with or without `backbone.`.
        lora_alpha: of the checkpoint's adapters, which do not hold it; None: their rank.
        inflation: window and patch of the 3D network; None: the published ones, where needed.

    Raises:
        ValueError: some tensor on either side has no counterpart of its shape, or holds NaN or
            infinite values, with a list of them all; or an argument is for what the checkpoint is
            not.
    """
    found = _match(state)
    _refuse_other_networks(state, found.tensors)
    flat = found.tensors["patch_embed/proj/kernel"].value.ndim == 4
    if flat:
        inflation = inflation or Inflation()
        _inflate(found, inflation)
    elif inflation is not None:
        raise ValueError(f"{inflation}, but the checkpoint is of a 3D network already")
    config = _read_config(found, inflation.window if inflation else _read_window(found, state))
    lora_config = _read_lora(found.tensors, config, lora_alpha)

    def init(key: PRNGKeyArray) -> Any:
        params = init_params(config, key)
        adapters = {"lora": lora.init(lora_config, params, key)} if lora_config else {}
        return params | adapters

    expected = flatten_dict(jax.eval_shape(init, jax.random.key(0)), sep="/")
    arrays = _arrange(found, expected)
    adapters = arrays.pop("lora", None)
    if lora_config is not None:
        arrays = jax.tree.map(np.asarray, lora.merge(arrays, adapters, lora_config))
    family = "torchvision" if any(name.startswith("features.") for name in state) else "official"
    return Converted(config, arrays, f"{family} 2D" if flat else family, lora_config)


def _match(state: State) -> _Matched:
    tensors: dict[str, _Tensor] = {}
    unexpected = []
    for name, value in state.items():
        if _DERIVED.fullmatch(name):
            continue
        for regex, path, pattern in _RULES:
            found = re.fullmatch(regex, name.removeprefix("backbone."))
            if found and (ours := _our_path(path, found)) not in tensors:
                tensors[ours] = _Tensor(name, value, pattern)
                break
        else:
            unexpected.append(name)
    return _Matched(tensors, unexpected, misshaped={})


def _our_path(path: str, found: re.Match[str]) -> str:
    groups = found.groupdict()
    if groups.get("place"):
        groups["stage"] = str(int(groups["place"]) // 2)
    if groups.get("place_after"):  # a merging belongs to the stage before it
        groups["stage"] = str((int(groups["place_after"]) - 1) // 2)
    return path.format(**groups)


def _refuse_other_networks(state: State, tensors: Mapping[str, _Tensor]) -> None:
    second = [name for name in state if _SWIN_V2.fullmatch(name)]
    if second:
        raise ValueError(
            f"a Swin V2 checkpoint ({second[0]}), whose attention is another one; give one of "
            "Video Swin or of the first Swin"
        )
    if "patch_embed/proj/kernel" not in tensors:
        raise ValueError(
            f"not a Video Swin checkpoint: no patch_embed.proj.weight among its {len(state)} "
            f"tensors, e.g. {', '.join(list(state)[:3])}"
        )
    numbers = [t for t in tensors.values() if not jnp.issubdtype(t.value.dtype, jnp.floating)]
    _refuse(not_floating_point=[f"{tensor.name} {tensor.value.dtype}" for tensor in numbers])


def _inflate(found: _Matched, inflation: Inflation) -> None:
    """Inflates what differs between a 2D and a 3D network."""
    for path, tensor in found.tensors.items():
        if path == "patch_embed/proj/kernel":
            value = inflating.inflate_patch_kernel(tensor.value, inflation.patch_frames)
        elif not path.endswith(_BIAS_TABLE):
            continue
        elif tensor.is_misshaped() or not inflating.is_square(len(tensor.value)):
            found.misshaped[path] = f"{tensor}, for '(2s-1)^2 h', s the side of a window"
            continue
        else:
            value = inflating.inflate_bias_table(tensor.value, inflation.window)
        found.tensors[path] = tensor._replace(value=value)


def _arrange(found: _Matched, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Rearranges every tensor into its expected shape, or refuses them, naming every fault."""
    tensors = found.tensors
    arrays = {}
    for path in expected.keys() & tensors.keys() - found.misshaped.keys():
        _, value, pattern = tensors[path]
        shape = expected[path].shape
        lengths = dict(zip(pattern.split(" -> ")[1].split(), shape, strict=True))
        try:
            arrays[path] = rearrange(np.asarray(value, np.float32), pattern, **lengths)
        except EinopsError:
            found.misshaped[path] = f"{tensors[path]}, for {path} {shape} by {pattern!r}"
    surplus = [tensor.name for path, tensor in tensors.items() if path not in expected]
    _refuse(
        missing=expected.keys() - tensors.keys(),
        unexpected=[*found.unexpected, *surplus],
        misshaped=found.misshaped.values(),
        not_finite=[tensors[path].name for path in arrays if not np.isfinite(arrays[path]).all()],
    )
    return unflatten_dict(arrays, sep="/")


def _read_config(found: _Matched, window: Window) -> SwinConfig:
    tensors = found.tensors
    matches = [re.match(r"stage(\d+)_block(\d+)/", path) for path in tensors]
    blocks = [(int(match[1]), int(match[2])) for match in matches if match]
    stages = range(1 + max((stage for stage, _ in blocks), default=-1))
    tables = [f"stage{stage}_block0/attn/{_BIAS_TABLE}" for stage in stages]
    needed = [*tables, "stage0_block0/fc1/kernel"]
    read = [*needed, "patch_embed/proj/kernel", "head/kernel"]
    read += [path for path in tensors if path.startswith("lora/")]
    read = [path for path in read if path in tensors and tensors[path].is_misshaped()]
    misshaped = {path: f"{tensors[path]}, for {tensors[path].axes!r}" for path in read}
    missing = [path for path in needed if path not in tensors]
    if missing or misshaped:  # without these, what else is missing cannot be known
        misshaped |= found.misshaped
        _refuse(missing=missing, unexpected=found.unexpected, misshaped=misshaped.values())
    embed_dim, _, *patch = tensors["patch_embed/proj/kernel"].value.shape
    head = tensors.get("head/kernel")
    return SwinConfig(
        embed_dim=embed_dim,
        depths=tuple(1 + max(block for s, block in blocks if s == stage) for stage in stages),
        num_heads=tuple(tensors[table].value.shape[1] for table in tables),
        patch=tuple(patch),
        window=window,
        mlp_ratio=tensors["stage0_block0/fc1/kernel"].value.shape[0] / embed_dim,
        num_classes=None if head is None else head.value.shape[0],
    )


def _read_window(found: _Matched, state: State) -> Window:
    """Returns the window that the first bias table fits; notes the tables that fit none."""
    indices = [v for name, v in state.items() if name.endswith(".relative_position_index")]
    tokens = next((len(index) for index in indices if index.ndim == 2), None)
    of = "" if tokens is None else f" of {tokens} tokens"
    windows = []
    for path, table in found.tensors.items():
        if path.endswith(_BIAS_TABLE) and not table.is_misshaped():
            windows.append(_window(len(table.value), tokens))
            if windows[-1] is None:
                found.misshaped[path] = f"{table}, for '(2t-1)(2s-1)^2 h' of a window (t, s, s){of}"
    return next(filter(None, windows), SwinConfig.window)


def _window(rows: int, tokens: int | None) -> Window | None:
    """Returns the window (t, s, s) whose bias table has `rows` = (2t - 1)(2s - 1)^2 rows.

    The rows alone can be ambiguous. Where the checkpoint holds the index, whose length is the
    number `tokens` = t s^2 of a window, that decides; else s is 7, as in every published Video
    Swin, or the largest that fits. None where none fits.
    """
    fitting = []
    for side in range(1, rows + 1):
        length, rest = divmod(rows, (2 * side - 1) ** 2)
        if length == 0:
            break
        window = ((length + 1) // 2, side, side)
        if rest == 0 and length % 2 and tokens in (None, window[0] * side**2):
            fitting.append(window)
    return max(fitting, key=lambda window: (window[1] == 7, window[1]), default=None)


def _read_lora(
    tensors: Mapping[str, _Tensor], config: SwinConfig, alpha: float | None
) -> LoraConfig | None:
    """Reads off the names and shapes which layers of which stages are adapted, and their rank."""
    found = [re.fullmatch(r"lora/stage(\d+)_block\d+/(\w+)/([ab])", path) for path in tensors]
    places = [match for match in found if match]
    if not places:
        if alpha is not None:
            raise ValueError(f"lora_alpha {alpha} is given, but the checkpoint has no LoRA tensors")
        return None
    layers = {match[2] for match in places}
    targets = [name for name, layers_of in lora.TARGETS.items() if set(layers_of) == layers]
    if not targets:
        choices = ", ".join(lora.TARGETS)
        raise ValueError(f"LoRA on {', '.join(sorted(layers))} is none of the targets {choices}")
    ranks = {  # an A has `rank` rows, a B as many columns
        tensors[match[0]].value.shape["ab".index(match[3])]: tensors[match[0]] for match in places
    }
    if len(ranks) > 1:
        examples = (f"{rank} ({tensor})" for rank, tensor in sorted(ranks.items()))
        raise ValueError(f"LoRA tensors of unequal rank: {', '.join(examples)}")
    (rank,) = ranks
    last = len(config.depths) - 1
    stages = {int(match[1]) for match in places} if last else set()
    return LoraConfig(
        targets=targets[0],
        rank=rank,
        alpha=float(rank) if alpha is None else alpha,
        stages="first" if stages == {0} else "last" if stages == {last} else "all",
    )


def _refuse(**faults: Iterable[str]) -> None:
    """Raises one ValueError with all faults, if there are any."""
    found = {kind.replace("_", " "): sorted(names) for kind, names in faults.items()}
    text = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in found.items() if names)
    if text:
        raise ValueError(f"the tensors are not those of a Video Swin; {text}")
