"""A sweep over heads as one program against a Python loop over the same trials.

Run:   python tests/benchmarks/bench_sweep.py [--rounds=5]
Task:  100 linear heads (5 learning rates x 4 weight decays x 5 seeds) of 15 classes on 1000 random
       embeddings of 768 numbers, 5 epochs of batches of 16, judged on 250 others.
How:   the loop asks `sweep` for one trial at a time: one small program, compiled once, called 100
       times. Both are compiled before the clock starts and asked in turn; medians of the rounds,
       and the median of their ratios.
"""

import argparse
import dataclasses
import itertools
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from mpjax.config import SweepConfig
from mpjax.heads import logistic, sweep

CLASSES = 15
CONFIG = SweepConfig(epochs=5.0)


def make_rows(seed: int, n: int) -> logistic.TrainingRows:
    rng = np.random.default_rng(seed)
    return logistic.TrainingRows(
        embedding=rng.standard_normal((n, 768), np.float32),
        label=rng.integers(0, CLASSES, n),
        fold=np.zeros(n, int),
        clip=np.arange(n),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows, held_out = make_rows(0, 1000), make_rows(1, 250)

    def together() -> None:
        sweep.sweep(rows, held_out, CLASSES, CONFIG)

    def loop() -> None:
        for rate, decay, seed in itertools.product(
            CONFIG.learning_rates, CONFIG.weight_decays, CONFIG.seeds
        ):
            one = dataclasses.replace(
                CONFIG, learning_rates=(rate,), weight_decays=(decay,), seeds=(seed,)
            )
            sweep.sweep(rows, held_out, CLASSES, one)

    ways: dict[str, Callable[[], None]] = {"one program": together, "Python loop": loop}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    print(f"{len(os.sched_getaffinity(0))} cores, {rounds} interleaved rounds after a warm-up")
    for name, way in ways.items():
        print(f"  {name}: the first call, with compilation, {seconds(way):.1f} s", flush=True)
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(seconds(way))
    for name, values in taken.items():
        print(
            f"  {name}: {statistics.median(values):.2f} s ({min(values):.2f} .. {max(values):.2f})"
        )
    ratios = [a / b for b, a in zip(*taken.values(), strict=True)]
    print(f"  the loop takes {statistics.median(ratios):.1f} times as long")


def seconds(way: Callable[[], None]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
