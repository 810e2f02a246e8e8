"""Whether onset and peak of pain mean what they say: simulated cohorts with a known course.

Run:   python tests/benchmarks/bench_onset.py [--studies 500]
Task:  cohorts at the level of an animal's score of a day (2 pain types and sham, n animals each,
       days 1, 3, 7, 14 and 21), analysed as `mpjax.eval` does. Neuropathic pain begins on day 7;
       inflammatory pain is absent. Under no pain at all: how often any onset is reported.
Takes: about 2 minutes on a core with 500 studies.
"""

import argparse
import dataclasses
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "helpers"))
from simulated_courses import CONDITIONS, NONE, Course, simulate, taxonomy_of

from mpjax.analysis.progression import daily_scores, onset

RISING = (0.0, 0.0, 0.6, 1.0, 0.7)  # begins on day 7, peaks on day 14


@dataclasses.dataclass(frozen=True)
class Rates:
    """Shares of the studies.

    Attributes:
        found: a neuropathic onset is reported.
        near: it is the true day or the recorded day next to it.
        covered: the 95 % set of days holds the true day, of those with an onset.
        peak: the peak is the true day.
        peak_covered: its 95 % set holds the true day.
        band: the simultaneous intervals hold the truth on all days.
        false: an onset is reported in a condition without pain.
    """

    found: float
    near: float
    covered: float
    peak: float
    peak_covered: float
    band: float
    false: float


def analyse(course: Course, *, seed: int, group: str, resamples: int) -> dict[str, dict]:
    """Simulates a cohort and describes both pain types."""
    courses = daily_scores.arrange(simulate(course, seed=seed), taxonomy_of(course), group=group)
    return {
        name: onset.describe_condition(
            onset.compare(courses, name), kind=courses.kind, resamples=resamples, seed=seed
        )
        for name in courses.pain
    }


def run(course: Course, *, studies: int, group: str = "animal", resamples: int = 400) -> Rates:
    """Simulates and analyses studies."""
    days, levels = list(course.days), course.levels
    painful = [name for name, level in zip(CONDITIONS, levels, strict=False) if any(level)]
    start = next((i for i, level in enumerate(levels[0]) if level > 0), -1)
    rows = []
    for seed in range(studies):
        found = analyse(course, seed=seed, group=group, resamples=resamples)
        first, peak = found["neuropathic"]["onset"], found["neuropathic"]["peak"]
        there = first["value"] is not None and start >= 0
        top = days[int(np.argmax(levels[0]))]
        excess = zip(found["neuropathic"]["excess"], levels[0], strict=True)
        rows.append(
            (
                first["value"] is not None,
                there and abs(days.index(first["value"]) - start) <= 1,
                days[start] in first["days95"] if there else np.nan,
                peak["value"] == top if there else np.nan,
                top in peak["days95"] if there else np.nan,
                all(
                    row["band95"][0] <= course.injury * level <= row["band95"][1]
                    for row, level in excess
                ),
                any(
                    each["onset"]["value"] is not None
                    for name, each in found.items()
                    if name not in painful
                ),
            )
        )
    table = np.array(rows, float)
    known = np.isfinite(table)
    mean = np.where(known, table, 0).sum(0) / np.maximum(known.sum(0), 1)
    return Rates(*mean.tolist())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=500)
    studies = parser.parse_args().studies
    for animals in (4, 6, 8, 12):
        null = run(Course(animals=animals, levels=(NONE, NONE)), studies=studies)
        print(f"\n{animals} animals per condition, {studies} studies")
        print(f"  no pain: an onset in either condition {null.false:.1%}, band {null.band:.1%}")
        for told, course, group in (
            ("full from day 7", Course(animals=animals), "animal"),
            ("the same, filmed before", Course(animals=animals, before=(-3, -1)), "animal"),
            ("the same, cages of 2", Course(animals=2 * animals, cage_sd=0.3), "cage"),
            ("day 7, peak day 14", Course(animals=animals, levels=(RISING, NONE)), "animal"),
        ):
            rates = run(course, studies=studies, group=group)
            peak = f"; peak {rates.peak:.1%}, covered {rates.peak_covered:.1%}"
            print(
                f"  {told}: found {rates.found:.1%}, within a recorded day {rates.near:.1%}, "
                f"covered {rates.covered:.1%}{peak if RISING in course.levels else ''}; "
                f"band {rates.band:.1%}; false {rates.false:.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
