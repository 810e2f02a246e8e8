"""Whether the drug analysis means what it says: simulated trials with a known truth.

Run:   python tests/benchmarks/bench_drug_statistics.py [--studies 500]
Task:  trials at the level of sessions (3 conditions x 3 arms x n animals, cages of two, random
       effects of cage, animal and session), analysed as `mpjax.eval` does. Under no drug effect:
       how often p < 0.05 (binomial bounds of 500 studies around 5 %). Under an effect: how often
       the 95 % interval covers the truth, and how often the interaction is found beside the power
       that the known standard deviations promise.
Takes: about 5 minutes on a core with 500 studies.
"""

import argparse
import dataclasses
import pathlib
import sys

import numpy as np
from scipy import stats

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "helpers"))
from simulated_trials import PAIN_TYPES, Trial, simulate

from mpjax.analysis.drug import sessions
from mpjax.analysis.drug import trial as drugs

LOW, TOP = "gabapentin 30 mg/kg", "gabapentin 100 mg/kg"


@dataclasses.dataclass(frozen=True)
class Rates:
    """Shares of the studies: the intervals cover the truth, p < 0.05."""

    covered: float
    found: float


def run(trial: Trial, *, studies: int, first_seed: int = 0) -> dict[str, Rates]:
    """Simulates and analyses studies; returns the rates of the interaction and of the contrasts.

    The doses of one pain type are one family of contrasts with one error rate: covered means that
    all its intervals cover the truth, found that any adjusted p is below 0.05.
    """
    hits: dict[str, list[tuple[bool, bool]]] = {}
    for seed in range(first_seed, first_seed + studies):
        animals = sessions.changes(simulate(trial, seed=seed))
        groups, _ = drugs.four_groups(animals, TOP, PAIN_TYPES)
        row = drugs.judge_interaction(groups, None, seed=seed)
        tests = {"interaction": [(row, trial.interaction, row["p"])]}
        for kind, effect in zip(PAIN_TYPES, trial.effect, strict=True):
            rows = drugs.compare_arms(animals[animals["condition"] == kind])
            truth = {TOP: -effect, LOW: -effect / 2}
            tests[f"contrasts, {kind}"] = [(r, truth[r["arm"]], r["p_adjusted"]) for r in rows]
        for name, family in tests.items():
            covered = all(row["ci95"][0] <= true <= row["ci95"][1] for row, true, _ in family)
            hits.setdefault(name, []).append((covered, any(p < 0.05 for _, _, p in family)))
    return {name: Rates(*np.mean(each, axis=0).tolist()) for name, each in hits.items()}


def promised_power(trial: Trial) -> float:
    """Returns the power of the t test of the interaction, by the noncentral t distribution."""
    df = 4 * trial.animals - 4
    critical, shift = stats.t.isf(0.025, df), trial.interaction / trial.interaction_se
    return float(stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=500)
    studies = parser.parse_args().studies
    low, high = stats.binom.ppf([0.025, 0.975], studies, 0.05) / studies
    print(f"{studies} studies each; 95 % binomial bounds of 5 %: {low:.1%} to {high:.1%}")
    for animals in (3, 4, 8, 12):
        null = run(Trial(animals=animals), studies=studies)
        print(f"\nno effect, {animals} animals per arm")
        for name, rates in null.items():
            print(f"  {name:28s} p < 0.05: {rates.found:.1%}   covered: {rates.covered:.1%}")
    print("\neffect 0.8 in neuropathic, 0.3 in inflammatory pain")
    for animals in (3, 4, 6, 8, 12, 16):
        trial = Trial(animals=animals, effect=(0.8, 0.3))
        rates = run(trial, studies=studies)
        found = rates["interaction"]
        print(
            f"  {animals:2d} animals per arm: interaction found {found.found:.1%} (promised "
            f"{promised_power(trial):.1%}), covered {found.covered:.1%}; contrasts covered "
            f"{rates['contrasts, neuropathic'].covered:.1%} and "
            f"{rates['contrasts, inflammatory'].covered:.1%}"
        )


if __name__ == "__main__":
    main()
