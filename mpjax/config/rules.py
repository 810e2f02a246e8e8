"""Which values of a setting are legal: rules that stand in the types of the fields.

A field of a plain type takes any value of it, or is checked where its choices are known, by what
uses it. A special value, such as 0 for "none" or "all", is legal where it means something.
"""

import dataclasses
import math
import re
import typing
from collections.abc import Callable
from typing import Annotated, Any

# Names of fields that older config files and study folders may hold.
RENAMED = {
    "baseline": "baselines.bsoid (true or false)",
    "projector.form": "projector.attention_impl",
    "projector.turns": "projector.rotations",
    "sweep.at_once": "sweep.parallel_trials",
    "saliency.right": "saliency.correct_per_class",
    "saliency.wrong": "saliency.incorrect_per_class",
    "saliency.drawn": "saliency.random_clips",
    "saliency.most": "saliency.max_clips",
    "motifs.sample": "motifs.max_windows",
    "motifs.halves": "motifs.stability_draws",
    "motifs.half_sample": "motifs.max_windows_per_half",
    "motifs.gallery": "motifs.exemplars",
    "confounds.runs": "confounds.clips",
    "confounds.stills": "confounds.single_frames",
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a field may be."""

    holds: Callable[[Any], bool]  # for values of the field's type; False for NaN and infinity
    allowed: str  # the same in words, after "must be"


def at_least(least: int) -> Rule:
    """Allows finite numbers from `least` on."""
    return Rule(lambda value: least <= value < math.inf, f"{least} or more")


def between(least: int, most: int) -> Rule:
    """Allows numbers from `least` to `most`, both included."""
    return Rule(lambda value: least <= value <= most, f"from {least} to {most}")


def each(rule: Rule, count: int | None = None, *, ascending: bool = False) -> Rule:
    """Allows tuples of `count` numbers (None: one or more), each as `rule` says."""

    def holds(values: Any) -> bool:
        items = as_tuple(values)
        right = len(items) >= 1 if count is None else len(items) == count
        ordered = not ascending or list(items) == sorted(items)
        return right and ordered and all(map(rule.holds, items))

    several = {None: "one or more numbers", 2: "two numbers", 3: "three numbers"}[count]
    order = ", in ascending order" if ascending else ""
    return Rule(holds, f"{several}, each {rule.allowed}{order}")


def distinct(rule: Rule, least: int = 0) -> Rule:
    """Allows tuples of at least `least` numbers of which no two are equal."""

    def holds(values: Any) -> bool:
        items = as_tuple(values)
        return len(items) >= least and len(set(items)) == len(items) and all(map(rule.holds, items))

    return Rule(holds, f"{least} or more different numbers, each {rule.allowed}")


def one_of(*choices: str) -> Rule:
    """Allows the names in `choices`."""
    return Rule(choices.__contains__, " or ".join(choices))


def as_tuple(values: Any) -> Any:
    """Returns a tuple of a field; a lone value is a tuple of one."""
    return values if isinstance(values, list | tuple) else (values,)


POSITIVE = Rule(lambda value: 0 < value < math.inf, "above 0 and finite")
SHARE = Rule(lambda value: 0 < value <= 1, "above 0 and at most 1")
CHANCE = Rule(lambda value: 0 <= value < 1, "at least 0 and below 1")
FRAME_SIDE = Rule(lambda px: px >= 64 and px % 2 == 0, "an even number of pixels, 64 or more")
SEED = between(0, 2**32 - 1)  # scikit-learn and grain take no others
# Host and port, as `jax.distributed.initialize` takes them.
ADDRESS = Rule(
    lambda text: (
        not text
        or (
            bool(re.fullmatch(r".+:[0-9]{1,5}", text))
            and 1 <= int(text.rpartition(":")[2]) <= 65535
        )
    ),
    "HOST:PORT, with a port from 1 to 65535, or empty",
)
# TensorFlow Datasets would find no files of another name after they are all written.
DATASET_NAME = Rule(
    lambda text: bool(re.fullmatch(r"[a-zA-Z]\w*", text)),
    "a letter, then letters, digits or underscores",
)

# Types of fields that many sections have.
Count = Annotated[int, at_least(1)]
Natural = Annotated[int, at_least(0)]  # 0 has a meaning of its own
Seed = Annotated[int, SEED]
Positive = Annotated[float, POSITIVE]
NonNegative = Annotated[float, at_least(0)]
Share = Annotated[float, SHARE]
Chance = Annotated[float, CHANCE]
Positives = Annotated[tuple[float, ...], each(POSITIVE)]
NonNegatives = Annotated[tuple[float, ...], each(at_least(0))]
Shares = Annotated[tuple[float, ...], each(SHARE)]
Seeds = Annotated[tuple[int, ...], each(SEED)]


class Section:
    """A config dataclass whose values are checked when it is made."""

    def __post_init__(self) -> None:
        """Raises ValueError with all values that no rule allows."""
        hints = typing.get_type_hints(type(self), include_extras=True)
        found = (fault(f"{type(self).__name__}.{n}", vars(self)[n], h) for n, h in hints.items())
        if text := "; ".join(filter(None, found)):
            raise ValueError(text)


def fault(name: str, value: Any, hint: Any) -> str:
    """Says why a field's value is not legal, by the rule in its type; "" where it is."""
    rule = hint.__metadata__[0] if typing.get_origin(hint) is Annotated else None
    if rule is None or rule.holds(value):
        return ""
    return f"{name} must be {rule.allowed}, got {value!r}"


def rename_fields(values: dict[str, Any], section: str) -> dict[str, Any]:
    """Returns a section's values, as an older version may have written them, by today's names."""
    new = {name: RENAMED.get(f"{section}.{name}", name) for name in values}
    return {new[name].rpartition(".")[2]: value for name, value in values.items()}
