"""Seconds and memory to evaluate a large table of predictions.

Command:  python tests/benchmarks/bench_eval.py [--clips=100000] [--animals=60]
          [--scheme=kfold|leave_one_group_out] [--drug_animals=24] [--width=1024]
          [--resamples=2000]
Goal:     100,000 clips with embeddings of 1024 values, 2,000 resamples and 2,000 permutations in
          under 60 s and 2 GiB on 2 cores (issue 5). Linux only, for the measure of memory.
"""

import argparse
import multiprocessing
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from mpjax.analysis import predictions
from mpjax.config import EvalConfig, StudyConfig
from mpjax.studies.evaluation import put_together
from mpjax.taxonomy import default_taxonomy, fine_name

CONDITIONS, DAYS = ("inflammatory", "neuropathic", "sham"), (1, 3, 7, 14, 21)
TAXONOMY = default_taxonomy(fine_name(c, d) for c in CONDITIONS for d in DAYS)
ARMS = (("vehicle", np.nan), ("gabapentin", 30.0), ("gabapentin", 100.0))


def make_table(options: argparse.Namespace) -> pd.DataFrame:
    """Draws clips of 15 classes; the last animals receive a drug on day 14."""
    rng = np.random.default_rng(0)
    animals = options.animals + options.drug_animals
    animal = np.sort(np.arange(options.clips) % animals)
    drug = animal >= options.animals
    within = np.arange(options.clips) - np.searchsorted(animal, animal)
    condition = animal % len(CONDITIONS)
    day = np.where(drug, 3, within % len(DAYS))
    after = drug & (within % 2 == 1)
    label = condition * len(DAYS) + day
    logits = rng.normal(0, 1.5, (options.clips, 15))
    logits += rng.normal(0, 1, (animals, 15))[animal]
    logits[np.arange(options.clips), label] += 2 - 1.5 * after
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    arm = animal // len(CONDITIONS) % len(ARMS)
    folds = options.animals if options.scheme == "leave_one_group_out" else 5
    recording = within // len(DAYS) % 2
    embedding = rng.standard_normal((options.clips, options.width), dtype=np.float32)
    embedding[:, 0] += 2 * (condition != CONDITIONS.index("sham"))
    return pd.DataFrame(
        {
            "clip_id": [f"c{i}" for i in range(options.clips)],
            "video": [
                f"a{a}d{d}r{r}{s}"
                for a, d, r, s in zip(animal, day, recording, after.astype(int), strict=True)
            ],
            "animal": [f"a{a}" for a in animal],
            "cage": [f"cage{a // 4}" for a in animal],
            "sex": np.array(["f", "m"])[animal % 2],
            "condition": np.array(CONDITIONS)[condition],
            "day": np.array(DAYS)[day],
            "drug": np.where(after, np.array([name for name, _ in ARMS])[arm], ""),
            "dose_mg_per_kg": np.where(after, np.array([dose for _, dose in ARMS])[arm], np.nan),
            "minutes_post_dose": np.where(after, 60.0, np.nan),
            "route": "",
            "split": np.where(drug, "drug", "test"),
            "fold": np.where(drug, -1, animal % folds),
            "label": label,
            "start_frame": within,
            "start_s": within / 25,
            "fps": 25.0,
            "padded_frames": 0,
            "logits": list(logits.astype(np.float32)),
            "p": list(p.astype(np.float32)),
            "embedding": list(embedding),
        }
    )


def main(options: argparse.Namespace) -> None:
    """Writes a table, and evaluates it in a process of its own."""
    meta = {
        "taxonomy": TAXONOMY.to_dict(), "group": "animal", "scheme": options.scheme,
        "fingerprint": "0", "exclude": [], "provenance": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        predictions.write_predictions(path, make_table(options), meta)
        process = multiprocessing.get_context("spawn").Process(
            target=evaluate, args=(path, options.resamples)
        )
        process.start()
        process.join()
    raise SystemExit(process.exitcode)


def evaluate(path: Path, resamples: int) -> None:
    """Prints what reading and evaluating the table takes."""
    started = time.perf_counter()
    read = predictions.read_predictions(path, embedding=True)
    reading, reading_peak = time.perf_counter() - started, peak_memory()
    figures = put_together(
        StudyConfig(eval=EvalConfig(bootstrap=resamples, permutations=resamples)), read
    )
    seconds = time.perf_counter() - started
    peak = peak_memory()
    fine = figures["fine"]["recording"]["accuracy"]
    print(f"{len(read.table)} clips, {figures['n']['animals']} animals, {read.meta['scheme']}")
    print(f"accuracy of recordings {fine['value']:.3f} {fine['ci95']}")
    print(f"{seconds:.1f} s, peak {peak:.2f} GiB resident; {resamples} resamples")
    print(f"of which reading {reading:.1f} s, peak {reading_peak:.2f} GiB")
    print("goal", "met" if seconds < 60 and peak < 2 else "MISSED")


def peak_memory() -> float:
    """Returns the peak of the resident memory of this process in GiB.

    Not `ru_maxrss`, which the process inherits from the one that started it.
    """
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 2**20


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--animals", type=int, default=60)
    parser.add_argument("--drug_animals", type=int, default=24)
    parser.add_argument("--width", type=int, default=1024, help="of the embeddings")
    parser.add_argument("--resamples", type=int, default=2000, help="and permutations")
    parser.add_argument("--scheme", choices=["kfold", "leave_one_group_out"], default="kfold")
    main(parser.parse_args())
