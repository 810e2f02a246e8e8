"""The course of pain as sentences: every one carries its interval."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mpjax.analysis.stats.estimates import ALPHA
from mpjax.formatting import number, p_phrase, percent, span

_MANY = 0.05  # share of resamples without an onset from which on it is mentioned


def summarise(progression: dict[str, Any]) -> list[str]:
    """Returns the answers of the part `progression`, the onset of each condition first."""
    found = progression["onset"]
    if "why" in found:
        return [f"When pain begins cannot be estimated: {found['why']}."]
    if not found:
        return ["When pain begins cannot be estimated: no condition with pain is held out."]
    return [
        *(_course(name, progression) for name in found),
        *_non_responders(progression["unaffected"]),
        *_day_order(progression),
        *_within_recording(progression["within_recording"]),
    ]


def _course(name: str, progression: dict[str, Any]) -> str:
    onset, peak, resolution = (progression[key][name] for key in ("onset", "peak", "resolution"))
    known = {
        row["day"]: row
        for row in progression["excess"]
        if row["condition"] == name and row["value"] is not None
    }
    if not known:
        return f"{name}: when pain begins cannot be estimated: {onset['why']}."
    reference = progression["reference"][name]
    if onset["value"] is None:
        most = max(known.values(), key=lambda row: row["value"])
        return (
            f"{name}: no onset: on no recorded day is the pain score found to be above that of "
            f"{reference}. The largest difference is {number(most['value'])} on day "
            f"{most['day']} (simultaneous 95 % CI {span({'ci95': most['band95']})}, logit)."
        )
    first = onset["value"]
    begins = f"pain is first seen on day {first} (recorded before it: "
    begins += _days([day for day in known if day < first]) + ")"
    if onset["at_first"]:
        begins = f"pain begins on or before day {first}, the first recorded one"
    ends = f"No resolution: {resolution.get('why')}."
    if resolution["value"] is not None:
        ends = (
            f"From day {resolution['value']} on ({_resampled(resolution)}) it cannot be "
            "distinguished from no pain and is clearly below half of its peak."
        )
    return (
        f"{name}: {begins}. There the pain score is {number(known[first]['value'])} above that of "
        f"{reference} (95 % CI for this day {span(known[first])}, logit). When "
        f"{progression['unit']}s are resampled, the onset lies on {_resampled(onset)}. The "
        f"difference is largest on day {peak['value']} (95 %: {_days(peak['days95'])}): "
        f"{number(peak['excess']['value'])} (95 % CI {span(peak['excess'])}). {ends}"
    )


def _resampled(point: Mapping[str, Any]) -> str:
    text = f"95 %: {_days(point['days95'])}"
    if point["without"] >= _MANY:
        text += f"; none in {percent(point['without'])} of resamples"
    return text


def _days(days: Sequence[int]) -> str:
    if not days:
        return "none"
    return f"day{'s' if len(days) > 1 else ''} {', '.join(map(str, days))}"


def _non_responders(found: Mapping[str, Any]) -> Iterator[str]:
    for name, each in found.items():
        if not each.get("flagged"):
            continue
        expected = each["expected_by_chance"]["value"]
        chance = (
            ""
            if expected is None
            else f" (if all animals were of one kind, {number(expected, 1)} would by chance)"
        )
        animals = ", ".join(row["animal"] for row in each["flagged"])
        yield (
            f"{len(each['flagged'])} of {each['n']} {name} animals never leave the range of "
            f"animals without pain: {animals}{chance}. They are included in every figure."
        )


def _day_order(progression: dict[str, Any]) -> Iterator[str]:
    order = progression["day_order"].get("all", {})
    rank = order.get("spearman", {})
    if rank.get("value") is not None:
        null = order["permutation"]
        yield (
            f"Within an animal, predicted and true days correlate with {number(rank['value'])} "
            f"(Spearman{_interval(rank)}; {p_phrase(null['spearman']['p'])} against shuffled "
            f"days); the mean error is {number(order['mean_absolute_error']['value'])} days "
            f"(shuffled: {number(null['mean_absolute_error']['null_mean'])})."
        )
    agree, days = (progression["consistency"][key] for key in ("fine_and_coarse", "over_days"))
    if agree["value"] is not None and days["value"] is not None:
        yield (
            f"The predicted class and the predicted group agree in {percent(agree['value'])} of "
            "recordings; two days of an animal are assigned to the same group in "
            f"{percent(days['value'])} of pairs."
        )


def _within_recording(found: Mapping[str, Any]) -> Iterator[str]:
    slopes = {k: each for k, each in found.get("slopes", {}).items() if each["value"] is not None}
    if not slopes:
        return
    start = "No clear change of the pain score within a recording"
    if any(each["p"] < ALPHA for each in slopes.values()):
        start = "Within a recording the pain score changes"
    listed = [f"{k} {number(each['value'])}{_interval(each)}" for k, each in slopes.items()]
    yield f"{start}, per minute (logit): {'; '.join(listed)}."


def _interval(found: Mapping[str, Any]) -> str:
    return f", 95 % CI {span(found)}" if found.get("ci95") else ""
