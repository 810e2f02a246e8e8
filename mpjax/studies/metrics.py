"""metrics.json as typed results: its fixed paths as attributes, and all of it by `to_dict()`."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

_R = TypeVar("_R", bound="_Result")


@dataclasses.dataclass(frozen=True)
class _Result:
    """A part of metrics.json."""

    _raw: Mapping[str, Any] = dataclasses.field(repr=False)

    @classmethod
    def of(cls: type[_R], raw: Mapping[str, Any], **parts: Any) -> _R:
        """Reads the attributes that `raw` has; `parts` take precedence, defaults stand in."""
        names = {field.name for field in dataclasses.fields(cls)} & set(raw) - set(parts)
        return cls(raw, **{name: raw[name] for name in names}, **parts)

    def to_dict(self) -> dict[str, Any]:
        """Returns this part as in metrics.json, with everything that has no attribute here."""
        return copy.deepcopy(dict(self._raw))


@dataclasses.dataclass(frozen=True)
class Estimate(_Result):
    """A figure; `value` is None where it cannot be estimated, and `why` says why not."""

    value: float | None = None
    why: str = ""
    ci95: tuple[float, float] | None = None  # over animals, or cages
    p: float | None = None  # of a test against no effect
    n: int | None = None  # units behind it


def _estimate(raw: Mapping[str, Any]) -> Estimate:
    return Estimate.of(raw, ci95=tuple(raw["ci95"]) if raw.get("ci95") else None)


@dataclasses.dataclass(frozen=True)
class Level(_Result):
    """Classification at one level: clips, recordings or animal-days."""

    accuracy: Estimate  # share of units that are classified correctly
    mean_class_accuracy: Estimate  # mean over classes of the accuracy within each
    confusion: list[list[int]] | None  # true classes by predicted ones; None: nothing evaluated


@dataclasses.dataclass(frozen=True)
class Task(_Result):
    """Classification into the fine classes or their groups, on held-out animals."""

    classes: tuple[str, ...]
    clip: Level
    recording: Level
    animal_day: Level


def _task(raw: Mapping[str, Any]) -> Task:
    levels = {}
    for name in ("clip", "recording", "animal_day"):
        found = raw[name]
        figures = {key: _estimate(found[key]) for key in ("accuracy", "mean_class_accuracy")}
        confusion = found["confusion"] if isinstance(found["confusion"], list) else None
        levels[name] = Level.of(found, confusion=confusion, **figures)
    return Task.of(raw, classes=tuple(raw["classes"]), **levels)


@dataclasses.dataclass(frozen=True)
class Counts(_Result):
    """What was evaluated."""

    clips: int
    recordings: int
    animals: int


@dataclasses.dataclass(frozen=True)
class Leak(_Result):
    """Animals on more than one side of the split; should be 0."""

    animals: int


@dataclasses.dataclass(frozen=True)
class Drug(_Result):
    """The zero-shot drug test."""

    interaction: Estimate  # drug x pain type, logit scale; negative: more relief in neuropathic
    reversal: dict[str, dict[str, Estimate]]  # % of the induced rise, by condition and arm


@dataclasses.dataclass(frozen=True)
class Metrics(_Result):
    """All figures of a study."""

    schema: str  # version of the format
    n: Counts
    fine: Task  # the classes that were trained, e.g. 15 of condition x day
    coarse: Task | None  # groups of them, e.g. 3 types of pain; None where the cohort has none
    leak: Leak
    drug: Drug


def read_metrics(raw: Mapping[str, Any]) -> Metrics:
    """Reads the content of metrics.json.

    Raises:
        ValueError: it was written by another version of mpjax.
    """
    try:
        drug = raw["drug"]
        reversal = {
            condition: {arm: _estimate(each) for arm, each in arms.items()}
            for condition, arms in drug["reversal"].items()
            if "why" not in drug["reversal"]
        }
        return Metrics.of(
            raw,
            n=Counts.of(raw["n"]),
            fine=_task(raw["fine"]),
            coarse=_task(raw["coarse"]) if "coarse" in raw else None,
            leak=Leak.of(raw["leak"]),
            drug=Drug.of(drug, interaction=_estimate(drug["interaction"]), reversal=reversal),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"metrics.json lacks {error}: it was written by another version; run "
            "`python -m mpjax.eval` again"
        ) from error
