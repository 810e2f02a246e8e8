"""Requirements on figures, for CI: `fine.accuracy>=0.2,leak.animals==0`."""

import dataclasses
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
    ">": operator.gt, "<": operator.lt,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Requirement:
    """One figure of metrics.json and its bound."""

    path: str
    operator: str
    bound: float

    def failure(self, metrics: Mapping[str, Any]) -> str | None:
        """Returns how `metrics` fail this, None where they meet it; no such figure: ValueError."""
        found = _look_up(metrics, self.path)
        if isinstance(found, Mapping) and found.get("value", 0) is None:
            return f"{self.path} is not estimable: {found['why']}"
        value = found.get("value") if isinstance(found, Mapping) else found
        if not isinstance(value, int | float):
            raise ValueError(  # noqa: TRY004 - the user's text is at fault, not the code
                f"config.require: {self.path} is no single number in metrics.json"
            )
        if _OPERATORS[self.operator](value, self.bound):
            return None
        return f"{self.path} is {value:g}, required {self.operator}{self.bound:g}"


def parse(text: str) -> list[Requirement]:
    """Reads requirements, separated by commas; all that are not `figure>=number` are raised."""
    requirements, faults = [], []
    for part in filter(None, map(str.strip, text.split(","))):
        match = re.fullmatch(r"([\w.@ /+-]+?)\s*(>=|<=|==|!=|>|<)\s*(\S+)", part)
        try:
            if match is None:
                raise ValueError
            requirements.append(Requirement(match[1], match[2], float(match[3])))
        except ValueError:
            faults.append(part)
    if faults:
        raise ValueError(
            f"config.require: {'; '.join(map(repr, faults))}: expected a figure of metrics.json, "
            "one of >= <= == != > <, and a number, e.g. fine.accuracy>=0.2"
        )
    return requirements


def _look_up(metrics: Mapping[str, Any], path: str) -> Any:
    """Returns the figure at a dotted path; `fine.accuracy` means that of recordings."""
    keys = path.split(".")
    if keys[0] in ("fine", "coarse") and len(keys) > 1 and keys[1] not in metrics.get(keys[0], {}):
        keys.insert(1, "recording")
    found: Any = metrics
    for depth, key in enumerate(keys):
        if isinstance(found, Mapping) and found.get("value", 0) is None:
            return found
        if not isinstance(found, Mapping) or key not in found:
            known = ", ".join(map(str, found)) if isinstance(found, Mapping) else "no parts"
            raise ValueError(
                f"config.require: metrics.json has no {'.'.join(keys[: depth + 1])}; there: {known}"
            )
        found = found[key]
    return found
