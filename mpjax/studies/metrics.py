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
    def of(cls: type[_R], raw: Mapping[str, Any]) -> _R:
        """Reads the attributes that `raw` has; the others keep their defaults."""
        names = [field.name for field in dataclasses.fields(cls) if field.name in raw]
        return cls(
            raw,
            **{
                name: tuple(raw[name]) if name == "ci95" and raw[name] else raw[name]
                for name in names
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns this part as in metrics.json, with everything that has no attribute here."""
        return copy.deepcopy(dict(self._raw))


@dataclasses.dataclass(frozen=True)
class Estimate(_Result):
    """A figure with its 95 % confidence interval over animals (or cages).

    Attributes:
        value: None where it cannot be estimated.
        why: it cannot be estimated.
        ci95: low and high end.
        p: of a test against no effect.
        n: units behind it.
    """

    value: float | None = None
    why: str = ""
    ci95: tuple[float, float] | None = None
    p: float | None = None
    n: int | None = None


@dataclasses.dataclass(frozen=True)
class Level(_Result):
    """Classification at one level: clips, recordings or animal-days.

    Attributes:
        accuracy: share of units that are classified correctly.
        mean_class_accuracy: mean over classes of the accuracy within each.
        confusion: counts, true classes by predicted ones; None where nothing was evaluated.
    """

    accuracy: Estimate
    mean_class_accuracy: Estimate
    confusion: list[list[int]] | None = None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Level":
        """Reads one level of a task."""
        counts = raw["confusion"] if isinstance(raw["confusion"], list) else None
        accuracy, mean = raw["accuracy"], raw["mean_class_accuracy"]
        return cls(raw, Estimate.of(accuracy), Estimate.of(mean), counts)


@dataclasses.dataclass(frozen=True)
class Task(_Result):
    """Classification into the fine or the coarse classes, on held-out animals."""

    classes: tuple[str, ...]
    clip: Level
    recording: Level
    animal_day: Level

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Task":
        """Reads one task."""
        levels = (Level.of(raw[name]) for name in ("clip", "recording", "animal_day"))
        return cls(raw, tuple(raw["classes"]), *levels)


@dataclasses.dataclass(frozen=True)
class Counts(_Result):
    """What was evaluated."""

    clips: int
    recordings: int
    animals: int


@dataclasses.dataclass(frozen=True)
class Leak(_Result):
    """Animals on more than one side of the split; 0 is right."""

    animals: int


@dataclasses.dataclass(frozen=True)
class Drug(_Result):
    """The zero-shot drug test.

    Attributes:
        interaction: drug x pain type on the logit scale; negative: more relief in neuropathic.
        reversal: share of the induced rise that a drug takes back, by condition and arm.
    """

    interaction: Estimate
    reversal: dict[str, dict[str, Estimate]]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Drug":
        """Reads the drug part; without a drug test, the interaction says why."""
        reversal = raw["reversal"] if "why" not in raw["reversal"] else {}
        estimates = {
            condition: {arm: Estimate.of(each) for arm, each in arms.items()}
            for condition, arms in reversal.items()
        }
        return cls(raw, Estimate.of(raw["interaction"]), estimates)


@dataclasses.dataclass(frozen=True)
class Metrics(_Result):
    """All figures of a study.

    Attributes:
        schema: version of the format.
        n: what was evaluated.
        fine: the classes that were trained, e.g. 15 of condition x day.
        coarse: groups of them, e.g. 3 types of pain; None where the cohort has none.
        leak: of animals over the split.
        drug: the drug test.
    """

    schema: str
    n: Counts
    fine: Task
    coarse: Task | None
    leak: Leak
    drug: Drug

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Metrics":
        """Reads the content of metrics.json.

        Raises:
            ValueError: it was written by another version of mpjax.
        """
        try:
            return cls(
                raw,
                schema=raw["schema"],
                n=Counts.of(raw["n"]),
                fine=Task.of(raw["fine"]),
                coarse=Task.of(raw["coarse"]) if "coarse" in raw else None,
                leak=Leak.of(raw["leak"]),
                drug=Drug.of(raw["drug"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"metrics.json lacks {error}: it was written by another version; run "
                "`python -m mpjax.eval` again"
            ) from error
