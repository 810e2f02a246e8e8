"""Whether the report finds the truth: whole studies of synthetic cohorts, with and without effects.

Run:   python tests/benchmarks/bench_synthetic_trials.py [--seeds 5] [--workdir out/trials]
Task:  `configs/demo.py` from video to report, with five seeds, and with `synthetic.null=true`,
       where condition, day and drug have no effect. The truth: gabapentin takes 80 % off
       neuropathic and 25 % off inflammatory pain.
Takes: about 5 minutes a study on 2 cores. A killed run goes on with the studies that are missing.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys


def run(workdir: pathlib.Path, *, seed: int, null: bool) -> dict:
    """Runs one study, keeps its predictions and report, and returns its figures."""
    metrics = workdir / "metrics.json"
    if not (workdir / "report.html").exists():
        command = [
            sys.executable, "-m", "mpjax.study", "--config=demo",
            f"--config.synthetic.seed={seed}", f"--config.synthetic.null={null}".lower(),
            f"--workdir={workdir}",
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for folder in ("cohort", "dataset"):
            shutil.rmtree(workdir / folder)
    return json.loads(metrics.read_text())


def describe(figures: dict) -> str:
    """Puts the answers of a study in a line."""
    interaction = figures["drug"]["interaction"]
    low, high = interaction["ci95"]
    contrasts = ", ".join(
        f"{condition} {row['value']:+.2f} ({row['ci95'][0]:+.2f} to {row['ci95'][1]:+.2f})"
        for condition, rows in figures["drug"]["contrasts"].items()
        for row in rows
        if row["primary"]
    )
    accuracy = ", ".join(
        f"{task} {figures[task]['recording']['accuracy']['value']:.1%}"
        for task in ("fine", "coarse")
    )
    return (
        f"interaction {interaction['value']:+.2f} ({low:+.2f} to {high:+.2f}), "
        f"p {interaction['p']:.3g}; against vehicle: {contrasts}; accuracy: {accuracy}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("out/trials"))
    options = parser.parse_args()
    for null in (False, True):
        name, hits = ("null" if null else "effect"), 0
        for seed in range(options.seeds):
            figures = run(options.workdir / f"{name}{seed}", seed=seed, null=null)
            low, high = figures["drug"]["interaction"]["ci95"]
            hits += (low <= 0 <= high) if null else (high < 0)
            print(f"{name}, seed {seed}: {describe(figures)}", flush=True)
        claim = "no interaction found" if null else "neuropathic effect > inflammatory effect found"
        print(f"{name}: {claim} in {hits} of {options.seeds}\n", flush=True)


if __name__ == "__main__":
    main()
