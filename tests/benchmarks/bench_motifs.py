"""Seconds and memory to find the motifs of a large study.

Command:  python tests/benchmarks/bench_motifs.py [--windows=200000] [--width=1024] [--animals=60]
          [--clusters=12]
Goal:     200,000 windows with embeddings of 1024 values cluster, number of motifs and all, within
          10 minutes and 4 GiB on 2 cores (issue 6). Linux only, for the measure of memory.
"""

import argparse
import re
import time
from pathlib import Path

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score

from mpjax.analysis.motifs import codebook, model_selection
from mpjax.analysis.stats import whitening
from mpjax.config import MotifConfig

_BLOCK = 10_000


def make_windows(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws clustered embeddings, block by block, with an offset per animal.

    Returns:
        The embedding, the cluster and the animal of each window.
    """
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((options.width, 24)))[0].astype(np.float32)
    centres = 2.5 * rng.standard_normal((options.clusters, 16)).astype(np.float32)
    offsets = 2.0 * rng.standard_normal((options.animals, 8)).astype(np.float32)
    animal = np.sort(np.arange(options.windows) % options.animals)
    label = rng.integers(0, options.clusters, options.windows)
    embedding = np.empty((options.windows, options.width), np.float32)
    for start in range(0, options.windows, _BLOCK):
        part = slice(start, min(start + _BLOCK, options.windows))
        size = part.stop - part.start
        block = 0.2 * rng.standard_normal((size, options.width), dtype=np.float32)
        acted = centres[label[part]] + rng.standard_normal((size, 16), dtype=np.float32)
        block += np.concatenate([acted, offsets[animal[part]]], axis=1) @ basis.T
        embedding[part] = block
    return embedding, label, animal


def main(options: argparse.Namespace) -> None:
    """Fits codebooks on the windows and prints what that takes."""
    embedding, label, animal = make_windows(options)
    print(f"{options.windows} windows x {options.width}, {options.animals} animals; "
          f"{peak_memory():.2f} GiB resident before", flush=True)  # fmt: skip
    started, used = time.perf_counter(), time.process_time()
    fitted = codebook.fit(embedding, group=animal, config=MotifConfig())
    chosen, used = time.perf_counter() - started, time.process_time() - used
    peak = peak_memory()
    for row in fitted.describe()["stability"]:
        print(f"  {row['motifs']:3d} motifs: adjusted Rand {row['adjusted_rand']:.3f} "
              f"(sd {row['sd']:.3f}), without structure {row['without_structure']:.3f}, "
              f"corrected {row['corrected']:.3f}")  # fmt: skip
    count = len(fitted.centres)
    print(f"choosing and fitting {count} motifs: {chosen:.1f} s ({used:.1f} s of processor), "
          f"peak {peak:.2f} GiB")  # fmt: skip
    started, used = time.perf_counter(), time.process_time()
    codebook.fit(embedding, group=animal, config=MotifConfig(candidates=(count,)))
    print(f"fitting {count} motifs alone: {time.perf_counter() - started:.1f} s "
          f"({time.process_time() - used:.1f} s of processor)", flush=True)  # fmt: skip
    started = time.perf_counter()
    assigned = fitted.assign(embedding)
    print(f"labelling all windows: {time.perf_counter() - started:.1f} s; adjusted Rand with the "
          f"truth {adjusted_rand_score(label, assigned.motif):.3f}")  # fmt: skip
    compare_clusterings(embedding, animal, fitted)
    print("goal", "met" if chosen < 600 and peak < 4 else "MISSED")


def compare_clusterings(
    embedding: np.ndarray, animal: np.ndarray, fitted: codebook.Codebook
) -> None:
    """Prints the inertia and seconds of k-means on a sample, on all windows and in mini-batches."""
    points = fitted.space.project(embedding)[0]
    count = len(fitted.centres)
    rng = np.random.default_rng(0)

    def tell(name: str, centres: np.ndarray, seconds: float) -> None:
        inertia = float(np.square(whitening.nearest(points, centres)[1]).mean())
        print(f"  {name}: mean squared distance of all windows {inertia:.4f}, {seconds:.1f} s")

    for name, most in (("Lloyd on 100,000", 100_000), ("Lloyd on all", len(points))):
        started = time.perf_counter()
        sample = whitening.even_sample(animal, most, rng)
        centres = model_selection.cluster(points[sample], count, restarts=10, seed=0)
        tell(name, centres, time.perf_counter() - started)
    started = time.perf_counter()
    batches = MiniBatchKMeans(count, batch_size=4096, n_init=10, random_state=0).fit(points)
    tell("mini-batches", batches.cluster_centers_.astype(float), time.perf_counter() - started)


def peak_memory() -> float:
    """Returns the peak of the resident memory of this process in GiB."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 2**20


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=1024, help="of the embeddings")
    parser.add_argument("--animals", type=int, default=60)
    parser.add_argument("--clusters", type=int, default=12)
    main(parser.parse_args())
