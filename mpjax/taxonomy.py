"""Fine classes, their coarse groups, and the file that names both.

A fine class is `<condition>@d<day>`, e.g. `neuropathic@d7`, or one of the cohort's own labels. The
coarse group of a fine class comes from `taxonomy.toml` next to `cohort.csv`:

    fine = ["sham@d7", "sni@d7"]          # optional: which fine classes, in which order

    [coarse]                              # optional: group = patterns of fnmatch, case-sensitive
    neuropathic = ["neuropathic@*", "sni@*"]
    no_pain = ["sham@*"]

or else from the name of the condition (`default_coarse`).
"""

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Float

NO_PAIN = "no_pain"
# Conditions without pain, as labs name them. A condition "vehicle" is the carrier of an inducing
# agent (saline for CFA), not an arm of a drug test.
NO_PAIN_CONDITIONS = frozenset(
    ("none", "naive", "sham", "control", "saline", "vehicle", "no_pain", "baseline", "healthy")
)


@dataclasses.dataclass(frozen=True)
class Taxonomy:
    """Fine classes in the order of the logits, and the coarse group of each."""

    fine: tuple[str, ...]
    coarse: tuple[str, ...] = ()  # empty if the cohort has no groups
    fine_to_coarse: tuple[int, ...] = ()  # per fine class, the index of its group in `coarse`

    def __post_init__(self) -> None:
        for kind, names in (("fine", self.fine), ("coarse", self.coarse)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"taxonomy: {kind} class named twice: {', '.join(twice)}")
        needed = len(self.fine) if self.coarse else 0
        if len(self.fine_to_coarse) != needed:
            raise ValueError(
                f"taxonomy: fine_to_coarse has {len(self.fine_to_coarse)} entries, needs {needed} "
                f"({len(self.fine)} fine and {len(self.coarse)} coarse classes)"
            )
        if outside := [i for i in self.fine_to_coarse if not 0 <= i < len(self.coarse)]:
            raise ValueError(
                f"taxonomy: fine_to_coarse holds {outside[0]}, outside 0..{len(self.coarse) - 1}"
            )

    def coarse_probabilities(self, p: Float[np.ndarray, "n fine"]) -> Float[np.ndarray, "n coarse"]:
        """Sums the probabilities of the fine classes of each coarse group; keeps the dtype."""
        if not self.coarse:
            raise ValueError("this cohort has no coarse groups; define them in a taxonomy.toml")
        if p.ndim != 2 or p.shape[1] != len(self.fine):
            raise ValueError(f"p has shape {p.shape}, needs (n, {len(self.fine)} fine classes)")
        membership = np.eye(len(self.coarse), dtype=p.dtype)[list(self.fine_to_coarse)]
        return p @ membership

    def to_dict(self) -> dict[str, list]:
        """Returns the taxonomy as lists, for JSON."""
        return {name: list(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence]) -> "Taxonomy":
        """Rebuilds what `to_dict` gave; raises ValueError if the fields are not those of one."""
        fields = {field.name for field in dataclasses.fields(cls)}
        if set(values) != fields:
            raise ValueError(f"taxonomy: needs {sorted(fields)}, got {sorted(values)}")
        return cls(**{name: tuple(value) for name, value in values.items()})


def fine_name(condition: str, day: int) -> str:
    """Returns the name of the fine class of a condition on a day after induction."""
    return f"{condition}@d{day}"


def parse_fine_name(name: str) -> tuple[str, int] | None:
    """Returns the (condition, day) of a name from `fine_name`; None for other names."""
    match = re.fullmatch(r"(.+)@d(0|-?[1-9]\d*)", name, flags=re.DOTALL | re.ASCII)
    return (match[1], int(match[2])) if match else None


def sort_fine(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the distinct names by condition, then by day as a number; labels alphabetically."""
    return tuple(sorted(set(names), key=lambda name: (*(parse_fine_name(name) or (name, 0)), name)))


def default_coarse(fine: str) -> str:
    """Returns the coarse group of a class `<condition>@d<day>` without a taxonomy.toml.

    A day before induction (negative) is no pain, for any condition; so is a condition of
    `NO_PAIN_CONDITIONS`, in any case and written with `_`, `-` or a space. Any other condition is
    its own group. Raises ValueError for a name of another form.
    """
    parsed = parse_fine_name(fine)
    if parsed is None:
        raise ValueError(f"{fine!r}: not <condition>@d<day>, so it has no default coarse group")
    condition, day = parsed
    plain = re.sub(r"[\s-]+", "_", condition.strip().casefold())
    return NO_PAIN if day < 0 or plain in NO_PAIN_CONDITIONS else condition


def default_taxonomy(fine: Iterable[str]) -> Taxonomy:
    """Groups classes `<condition>@d<day>`, in the order given, by `default_coarse`."""
    fine = tuple(fine)
    groups = [default_coarse(name) for name in fine]
    return _grouped(fine, groups, order=sorted(set(groups)))


def _grouped(fine: tuple[str, ...], groups: Sequence[str], *, order: Iterable[str]) -> Taxonomy:
    coarse = tuple(group for group in order if group in groups)
    return Taxonomy(fine, coarse, tuple(coarse.index(group) for group in groups))


def read_taxonomy(path: epath.PathLike, fine: Iterable[str]) -> Taxonomy:
    """Reads a `taxonomy.toml` (format: this module's docstring) for the classes of a cohort.

    Groups keep the file's order; a group that matches no class is left out. Without `[coarse]`,
    `default_coarse` groups classes `<condition>@d<day>`; other labels have no groups. `fine` are
    the fine classes of the cohort's trainable recordings.

    Raises:
        ValueError: the file is not TOML or not in this format, names a class that the cohort does
            not have, or does not put each fine class into exactly one group; all faults at once.
    """
    try:
        values = tomllib.loads(epath.Path(path).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path}: not a TOML file ({error})") from error
    known = sort_fine(fine)
    if faults := _format_faults(values) or _content_faults(values, known):
        raise ValueError(f"{path}: " + "; ".join(faults))
    chosen = tuple(values.get("fine", known))
    if "coarse" in values:
        groups = [_matching(values["coarse"], name)[0] for name in chosen]
        return _grouped(chosen, groups, order=values["coarse"])
    if all(parse_fine_name(name) for name in chosen):
        return default_taxonomy(chosen)
    return Taxonomy(chosen)


def _matching(groups: Mapping[str, Sequence[str]], fine: str) -> list[str]:
    """Returns the groups with a pattern that matches the class."""
    return [k for k, patterns in groups.items() if any(fnmatchcase(fine, p) for p in patterns)]


def _format_faults(values: Mapping[str, Any]) -> list[str]:
    unknown = [key for key in values if key not in ("fine", "coarse")]
    faults = [f"unknown key {key!r}; the keys are fine and [coarse]" for key in unknown]
    if not _is_names(values.get("fine", ["-"])):
        faults.append("fine: must be a list of distinct class names")
    coarse = values.get("coarse", {})
    if not isinstance(coarse, dict):
        return [*faults, "coarse: must be a table of group = [patterns]"]
    faults += [
        f"coarse.{group}: must be a list of patterns, e.g. ['sni@*']"
        for group, patterns in coarse.items()
        if not _is_names(patterns)
    ]
    return faults


def _is_names(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return False
    return 0 < len(value) == len(set(value))


def _content_faults(values: Mapping[str, Any], known: tuple[str, ...]) -> list[str]:
    chosen = values.get("fine", known)
    faults = []
    if unknown := [name for name in chosen if name not in known]:
        faults.append(
            f"fine: not in the cohort: {', '.join(unknown)}; the cohort has {', '.join(known)}"
        )
    if "coarse" not in values:
        return faults
    matches = {name: _matching(values["coarse"], name) for name in chosen}
    if unmatched := [name for name, groups in matches.items() if not groups]:
        faults.append(f"coarse: no group matches {', '.join(unmatched)}")
    return faults + [
        f"coarse: {name} is matched by {' and '.join(groups)}; needs one group"
        for name, groups in matches.items()
        if len(groups) > 1
    ]
