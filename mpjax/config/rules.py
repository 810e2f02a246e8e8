"""Which values of a config make sense: a table of rules, one per field.

Fields that are absent take any value of their type, or are checked where their choices are known:
in their dataclass (`mpjax.config`) or by what uses them. The rules are read off that use; a special
value, such as 0 for "none" or "all", is legal where it has a meaning there.
"""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a field may be.

    Attributes:
        holds: whether a value of the field's type is legal; NaN and infinity never are.
        allowed: the same in words.
    """

    holds: Callable[[Any], bool]
    allowed: str


def at_least(least: int) -> Rule:
    """Allows finite numbers from `least` on."""
    return Rule(lambda value: least <= value < math.inf, f"{least} or more")


def between(least: int, most: int) -> Rule:
    """Allows numbers from `least` to `most`, both included."""
    return Rule(lambda value: least <= value <= most, f"{least} to {most}")


def each(rule: Rule) -> Rule:
    """Allows tuples whose items all satisfy `rule`; an empty one too."""
    return Rule(lambda values: all(map(rule.holds, _items(values))), f"each {rule.allowed}")


def pair(rule: Rule, *, ascending: bool = False) -> Rule:
    """Allows two numbers.

    Args:
        rule: of each of them.
        ascending: whether the first must be no more than the second.
    """

    def holds(values: Any) -> bool:
        items = _items(values)
        ordered = not ascending or list(items) == sorted(items)
        return len(items) == 2 and all(map(rule.holds, items)) and ordered

    order = ", the first no more than the second" if ascending else ""
    return Rule(holds, f"two numbers, each {rule.allowed}{order}")


def _items(values: Any) -> Any:
    """Returns a tuple's items; a lone value is a tuple of one, as `mpjax.config` reads it."""
    return values if isinstance(values, list | tuple) else (values,)


def _is_address(text: str) -> bool:
    match = re.fullmatch(r".+:([0-9]{1,5})", text)
    return match is not None and 1 <= int(match[1]) <= 65535


POSITIVE = Rule(lambda value: 0 < value < math.inf, "above 0, and finite")
SHARE = Rule(lambda value: 0 < value <= 1, "above 0 and at most 1")
CHANCE = Rule(lambda value: 0 <= value < 1, "at least 0 and below 1")
# scikit-learn and grain take no others.
SEED = between(0, 2**32 - 1)
# Host and port, as `jax.distributed.initialize` takes them.
ADDRESS = Rule(
    lambda text: text == "" or _is_address(text),
    "HOST:PORT, the port a number from 1 to 65535; or empty",
)
# TensorFlow Datasets finds no files of another name, once they are all written.
DATASET_NAME = Rule(
    lambda text: re.fullmatch(r"[a-zA-Z]\w*", text) is not None,
    "a letter, then letters, digits and underscores",
)

RULES: dict[str, Rule] = {
    "video.frames": at_least(1),
    "video.fps": at_least(0),
    "video.stride": at_least(1),
    "video.short_side": at_least(0),
    "video.jpeg_quality": between(1, 100),
    "split.seed": SEED,
    "build.name": DATASET_NAME,
    "build.clips_per_shard": at_least(1),
    "build.workers": at_least(0),
    "projector.seed": SEED,
    "projector.size": at_least(1),
    "projector.frames": at_least(0),
    "projector.views": at_least(1),
    "projector.crops": at_least(1),
    "projector.batch_size": at_least(1),
    "head.max_iterations": at_least(1),
    "head.tolerance": at_least(0),
    "train.epochs": POSITIVE,
    "train.batch_size": at_least(1),
    "train.dropout": CHANCE,
    "train.drop_path": CHANCE,
    "train.label_smoothing": CHANCE,
    "train.seed": SEED,
    "train.save_every": at_least(1),
    "train.eval_every": at_least(1),
    "train.keep": at_least(1),
    "train.log_every": at_least(1),
    "train.processes": at_least(0),
    "train.augment.scale": pair(SHARE, ascending=True),
    "train.optim.learning_rate": POSITIVE,
    "train.optim.projector_scale": at_least(0),
    "train.optim.betas": pair(CHANCE),
    "train.optim.weight_decay": at_least(0),
    "train.optim.warmup_epochs": at_least(0),
    "train.optim.clip_norm": at_least(0),
    "train.optim.accumulate": at_least(1),
    "train.optim.ema": CHANCE,
    "sweep.learning_rates": each(POSITIVE),
    "sweep.weight_decays": each(at_least(0)),
    "sweep.seeds": each(SEED),
    "sweep.epochs": POSITIVE,
    "sweep.batch_size": at_least(1),
    "sweep.at_once": at_least(1),
    "mesh.data": at_least(0),
    "mesh.model": at_least(1),
    "mesh.coordinator": ADDRESS,
    "mesh.processes": at_least(0),
    "mesh.timeout": at_least(1),
    "profile": at_least(0),
    "eval.seed": SEED,
    "baselines.seed": SEED,
    "bsoid.seed": SEED,
    "saliency.seed": SEED,
    "motifs.gallery": at_least(0),
    "motifs.seed": SEED,
    "confounds.seed": SEED,
}


def find_faults(values: Any, path: str) -> list[str]:
    """Names the fields of a study's config whose values no rule allows.

    Args:
        values: ConfigDict or mapping of the fields of `mpjax.config.StudyConfig`, or of some of
            them. What is of the wrong type is left to `mpjax.config`.
        path: how to name `values`.

    Returns:
        All faults in the table's order, as in "config.train.dropout 1.0: at least 0 and below 1".
    """
    faults = []
    for field, rule in RULES.items():
        try:
            value = _look_up(values, field)
            holds = rule.holds(value)
        except (KeyError, TypeError):  # absent, so the default; or of the wrong type
            continue
        if not holds:
            faults.append(f"{path}.{field} {value!r}: {rule.allowed}")
    return faults


def _look_up(values: Any, field: str) -> Any:
    for name in field.split("."):
        values = values[name]
    return values
