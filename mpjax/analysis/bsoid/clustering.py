"""Motifs of B-SOiD: UMAP, HDBSCAN and a random forest that predicts the motif of any 100 ms.

Parameters are those of the app v2 (source: `bsoid.features`). Needs `pip install
'mpjax[baselines]'`: umap-learn, and hdbscan rather than scikit-learn's HDBSCAN. The app uses it,
and with min_samples=1 the two differ (one counts a point among its own neighbours). It also keeps
the tree that all 25 minimum sizes share, so a sweep costs little more than one clustering.
"""

import dataclasses
import hashlib
import importlib
import importlib.metadata
import tempfile
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from jaxtyping import Float, Int
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score, train_test_split

from mpjax.analysis.bsoid.features import bin_frames, standardise, window_features
from mpjax.io import files

NEIGHBOURS = 60  # of UMAP
VARIANCE = 0.7  # share explained by the principal components whose number is UMAP's dimension
SIZES = np.linspace(0.005, 0.01, 25)  # of the smallest motif, as shares of the bins
MIN_SAMPLES = 1  # of HDBSCAN
HELD_OUT = 0.2  # share of the bins that the self-evaluation holds out
CROSS_VALIDATION = 10  # folds, within the bins held out
LEAST_BINS = 100  # 10 s; with fewer the smallest motif would be a single bin
_MANY_BINS = 2000
INSTALL = "pip install 'mpjax[baselines]'"

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Bins:
    """Bins of 100 ms to find motifs in."""

    features: Float[np.ndarray, "n d"]
    scaled: Float[np.ndarray, "n d"]  # the features, standardised within each recording


def draw_bins(
    recordings: Sequence[tuple[Float[np.ndarray, "frames keypoints 2"], float]],
    *,
    most: int,
    seed: int,
) -> Bins:
    """Gathers bins of recordings (points in px, none lost, and Hz), a sample of at most `most`.

    Raises:
        ValueError: fewer than `LEAST_BINS` bins.
    """
    counts = []
    for points, fps in recordings:
        size = bin_frames(fps)
        counts.append(len(range(0, len(points) - 1 - size, size)))
    if (total := sum(counts)) < LEAST_BINS:
        raise ValueError(
            f"B-SOiD: {len(recordings)} training recording(s) hold {total} bins of 100 ms, "
            f"needs {LEAST_BINS} or more; record longer videos"
        )
    kept = np.arange(total)
    if total > most:
        kept = np.sort(np.random.default_rng(seed).choice(total, most, replace=False))
    owner = np.repeat(np.arange(len(counts)), counts)[kept]
    start = np.cumsum([0, *counts])
    features, scaled = [], []
    for i, (points, fps) in enumerate(recordings):
        own = kept[owner == i] - start[i]
        if len(own):
            found = window_features(points, fps)[:: bin_frames(fps)]
            features.append(found[own])
            scaled.append(standardise(found)[own])
    return Bins(np.concatenate(features), np.concatenate(scaled))


def find_motifs(bins: Bins, *, seed: int, report: Report = lambda _: None) -> Int[np.ndarray, "n"]:
    """Clusters bins: UMAP, then HDBSCAN at 25 minimum sizes; the size with most clusters is used.

    `report` is called with a description of each (slow) step.

    Returns:
        The motif of every bin; -1 where it is in none.

    Raises:
        ImportError: umap-learn or hdbscan is not installed.
        ValueError: fewer than two motifs.
    """
    umap, hdbscan = _import("umap"), _import("hdbscan")
    n, width = bins.scaled.shape
    held = np.cumsum(PCA().fit(bins.scaled).explained_variance_ratio_)
    dimensions = int(np.argmax(held >= VARIANCE)) + 1
    report(f"UMAP of {n} bins, {width} to {dimensions} dimensions")
    # Results must not depend on the number of cores; BLAS threads only slow a busy machine down.
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore", UserWarning)  # few bins: fewer neighbours
        reducer = umap.UMAP(
            NEIGHBOURS, n_components=dimensions, min_dist=0.0, random_state=seed, n_jobs=1
        )
        embedding = reducer.fit_transform(bins.scaled)
    report(f"HDBSCAN of {n} bins")
    sizes = sorted({max(2, round(share * n)) for share in SIZES})
    with tempfile.TemporaryDirectory() as folder:
        options = {"min_samples": MIN_SAMPLES, "memory": joblib.Memory(folder, verbose=0)}
        found = [hdbscan.HDBSCAN(size, **options).fit_predict(embedding) for size in sizes]
    # Bins in no cluster count as one more, as in the app.
    best = max(found, key=lambda motif: len(np.unique(motif)))
    if best.max() < 1:
        raise ValueError(
            f"B-SOiD: HDBSCAN found {best.max() + 1} motif(s) in {n} bins; two or more are "
            "needed. Is the pose that of a moving animal?"
        )
    return best.astype(np.int64)


def fingerprint(bins: Bins, *, seed: int) -> str:
    """Hashes everything that `find_motifs` depends on, including the versions of its packages."""
    digest = hashlib.sha256(bins.scaled.tobytes()).hexdigest()
    return files.fingerprint(digest, list(bins.scaled.shape), seed, versions_of_packages())


def versions_of_packages() -> list[str]:
    """Returns the versions of what B-SOiD uses; ImportError: not all of it is installed."""
    packages = ("umap-learn", "hdbscan", "scikit-learn", "numba", "numpy")
    try:
        return [importlib.metadata.version(name) for name in packages]
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError(f"the baseline B-SOiD needs {error.name}; {INSTALL}") from error


def fit_forest(bins: Bins, motif: Int[np.ndarray, "n"], *, seed: int) -> RandomForestClassifier:
    """Trains the forest that predicts motifs, on the bins that are in one."""
    used = motif >= 0
    return _forest(seed, bins=len(motif)).fit(bins.features[used], motif[used])


def evaluate_itself(bins: Bins, motif: Int[np.ndarray, "n"], *, seed: int) -> dict[str, Any]:
    """Scores how well a forest reproduces motifs on bins of the same animals, as the app does.

    This is what B-SOiD's accuracy means: bins are held out at random, so their neighbours in time,
    and the same animals, are trained on. It shows that the motifs can be recognised from the
    features that they were made of; it says nothing about pain.

    Returns:
        `held_out_accuracy` of a fifth of the bins; `cross_validated_accuracy` within that fifth
        (10 folds, as the app plots it; None where every motif has too few bins); `majority`, the
        accuracy of always predicting the most frequent motif; `motifs`; `bins`, and the share of
        them that is `in_no_motif`.
    """
    used = motif >= 0
    trained, held, y_trained, y_held = train_test_split(
        bins.features[used], motif[used], test_size=HELD_OUT, random_state=seed
    )
    accuracy = _forest(seed).fit(trained, y_trained).score(held, y_held)
    crossed = None
    if np.bincount(y_held).max() >= CROSS_VALIDATION:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # rare motifs are not in every fold
            scores = cross_val_score(_forest(seed), held, y_held, cv=CROSS_VALIDATION)
        crossed = float(scores.mean())
    return {
        "held_out_accuracy": float(accuracy),
        "cross_validated_accuracy": crossed,
        "majority": float(np.bincount(y_held).max() / len(y_held)),
        "motifs": len(np.unique(motif[used])),
        "bins": len(motif),
        "in_no_motif": float(1 - used.mean()),
    }


def predict_windows(
    forest: RandomForestClassifier, points: Float[np.ndarray, "frames keypoints 2"], fps: float
) -> Int[np.ndarray, "windows"]:
    """Returns the motif of each window of `window_features` ("frameshift" prediction)."""
    features = window_features(points, fps)  # scikit-learn refuses an empty table
    return forest.predict(features).astype(np.int64) if len(features) else np.zeros(0, np.int64)


def _forest(seed: int, *, bins: int = 0) -> RandomForestClassifier:
    """Returns a forest, with threads where they pay off; they do not change the result."""
    return RandomForestClassifier(random_state=seed, n_jobs=-1 if bins >= _MANY_BINS else None)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"the baseline B-SOiD needs {name} ({error}); {INSTALL}") from error
