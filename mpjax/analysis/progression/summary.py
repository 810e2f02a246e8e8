"""What the course of pain is, in words: every sentence carries its interval."""

from collections.abc import Iterator, Sequence
from typing import Any

from mpjax.analysis.stats.estimates import ALPHA

_MANY = 0.05  # share of resamples without an onset that is told


def summarise(progression: dict[str, Any]) -> list[str]:
    """Returns the answers of the part `progression`, the onset of each condition first.

    Args:
        progression: of `course.describe_course`, but for the summary.
    """
    found = progression["onset"]
    if "why" in found:
        return [f"When pain begins cannot be estimated: {found['why']}."]
    if not found:
        return ["When pain begins cannot be estimated: no condition with pain is held out."]
    sentences = [_course(name, progression) for name in found]
    sentences += _unaffected(progression["unaffected"])
    sentences += _order(progression)
    sentences += _within(progression["within_recording"])
    return sentences


def _course(name: str, progression: dict[str, Any]) -> str:
    onset, peak = progression["onset"][name], progression["peak"][name]
    rows = [row for row in progression["excess"] if row["condition"] == name]
    known = [row for row in rows if row["value"] is not None]
    if not known:
        return f"{name}: when pain begins cannot be estimated: {onset['why']}."
    reference = progression["reference"][name]
    if onset["value"] is None:
        most = max(known, key=lambda row: row["value"])
        return (
            f"{name}: no onset: on no recorded day is the pain score found to be above that of "
            f"{reference}. The largest difference is {_number(most['value'])} on day "
            f"{most['day']} (simultaneous 95 % CI {_span(most['band95'])}, logit)."
        )
    row = next(row for row in known if row["day"] == onset["value"])
    tested = [each["day"] for each in known if each["day"] < onset["value"]]
    begins = (
        f"pain begins on or before day {onset['value']}, the first recorded one"
        if onset["at_first"]
        else f"pain is first seen on day {onset['value']} (recorded before it: {_days(tested)})"
    )
    return (
        f"{name}: {begins}. There the pain score is {_number(row['value'])} above that of "
        f"{reference} (95 % CI of this day {_span(row['ci95'])}, logit). "
        f"Over resamples of the {progression['unit']}s, 95 % of the onsets: "
        f"{_days(onset['days95'])}{_without(onset)}. It is largest on day {peak['value']} (95 %: "
        f"{_days(peak['days95'])}), by {_number(peak['excess']['value'])} (95 % CI "
        f"{_span(peak['excess']['ci95'])}). {_resolution(progression['resolution'][name])}"
    )


def _without(onset: dict[str, Any]) -> str:
    return f"; {100 * onset['without']:.0f} % find none" if onset["without"] >= _MANY else ""


def _resolution(found: dict[str, Any]) -> str:
    if found["value"] is not None:
        return (
            f"From day {found['value']} on (95 %: {_days(found['days95'])}{_without(found)}) it "
            "cannot be told from no pain and is surely below half of its peak."
        )
    return f"No resolution: {found['why']}."


def _unaffected(found: dict[str, Any]) -> Iterator[str]:
    for name, each in found.items():
        if not each.get("flagged"):
            continue
        expected = each["expected_by_chance"]
        chance = (
            f" (were all of them of one kind, {expected['value']:.1f} would do so by chance)"
            if expected["value"] is not None
            else ""
        )
        yield (
            f"{len(each['flagged'])} of {each['n']} {name} animals never leave the range of "
            f"animals without pain: {', '.join(row['animal'] for row in each['flagged'])}{chance}. "
            "They are counted in every figure."
        )


def _order(progression: dict[str, Any]) -> Iterator[str]:
    order = progression["day_order"].get("all", {})
    rank = order.get("spearman", {})
    if rank.get("value") is not None:
        error = order["mean_absolute_error"]
        null = order["permutation"]
        yield (
            f"Within an animal, predicted and true days correlate by {_number(rank['value'])} "
            f"(Spearman{_interval(rank)}; {_p(null['spearman']['p'])} against shuffled days), with "
            f"a mean error of {_number(error['value'])} days (shuffled: "
            f"{_number(null['mean_absolute_error']['null_mean'])})."
        )
    agree, days = (progression["consistency"][key] for key in ("fine_and_coarse", "over_days"))
    if agree["value"] is not None and days["value"] is not None:
        yield (
            f"Fine and coarse answers agree on {100 * agree['value']:.1f} % of recordings; two "
            f"days of an animal are called alike in {100 * days['value']:.1f} % of pairs."
        )


def _within(found: dict[str, Any]) -> Iterator[str]:
    if "slopes" not in found:
        return
    known = {name: each for name, each in found["slopes"].items() if each["value"] is not None}
    told = "; ".join(
        f"{name} {_number(each['value'])}{_interval(each)}" for name, each in known.items()
    )
    if not known:
        return
    if any(each["p"] < ALPHA for each in known.values()):
        yield f"Within a recording the pain score changes, per minute (logit): {told}."
    else:
        yield f"No clear change of the pain score within a recording, per minute (logit): {told}."


def _days(days: Sequence[int]) -> str:
    if not days:
        return "none"
    listed = ", ".join(map(str, days))
    return f"day {listed}" if len(days) == 1 else f"days {listed}"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _interval(found: dict[str, Any]) -> str:
    return f", 95 % CI {_span(found['ci95'])}" if found.get("ci95") else ""


def _span(ends: Sequence[float]) -> str:
    return f"{_number(ends[0])} to {_number(ends[1])}"


def _number(value: float) -> str:
    text = f"{value:.2f}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")
