"""Motifs of a synthetic study against the behaviours that the generator drew, window by window.

Run:   python -m mpjax.study --config=synthetic_motifs --workdir=out/motifs
       python tests/benchmarks/bench_motif_truth.py --workdir=out/motifs

Prints the adjusted mutual information (AMI) of motifs and behaviours: of the codebook of all
animals; of held-out animals, each labelled by the codebook of the others; and of a codebook fitted
in the same way on random weights. A window's true behaviour is that of most of its frames. Then
which behaviours the motifs hold that pain makes more or less frequent.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_mutual_info_score

from mpjax.analysis.motifs import codebook
from mpjax.config import MotifConfig


def true_behaviours(windows: pd.DataFrame, cohort: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the commonest behaviour of each window's frames, and its share of them."""
    names, share = [], []
    for video, rows in windows.groupby("video", sort=False):
        with (cohort / "labels" / f"{Path(video).stem}.csv").open() as file:
            labels = np.array([row["behaviour"] for row in csv.DictReader(file)])
        video_fps = len(labels) / rows["video_s"].iloc[0]
        for start, seconds in zip(rows["start_s"], rows["seconds"], strict=True):
            own = labels[round(start * video_fps) : round((start + seconds) * video_fps)]
            found, count = np.unique(own, return_counts=True)
            names.append((video, start, found[count.argmax()]))
            share.append(count.max() / len(own))
    order = pd.DataFrame(names, columns=["video", "start_s", "behaviour"]).assign(share=share)
    joined = windows[["video", "start_s"]].merge(order, on=["video", "start_s"], how="left")
    return joined["behaviour"].to_numpy(), joined["share"].to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    workdir = parser.parse_args().workdir
    windows = pd.read_parquet(workdir / "explain" / "windows.parquet")
    truth = json.loads((workdir / "cohort" / "truth.json").read_text())
    windows["video_s"] = truth["config"]["seconds"]
    true, share = true_behaviours(windows, workdir / "cohort")
    clear = share > 0.8
    print(f"{len(windows)} windows, {clear.mean():.0%} of them of one behaviour (over 80 %)")

    def tell(name: str, motif: np.ndarray, rows: np.ndarray) -> None:
        ami = adjusted_mutual_info_score(true[rows], motif[rows])
        pure = adjusted_mutual_info_score(true[rows & clear], motif[rows & clear])
        print(
            f"{name:42s} {len(set(motif[rows])):3d} motifs: AMI {ami:.3f} "
            f"({pure:.3f} where the behaviour is one)"
        )

    every = np.ones(len(windows), bool)
    final = windows["motif[final]"].to_numpy()
    tell("all animals", final, every)
    folds = sorted(set(windows.loc[windows["fold"] >= 0, "fold"]))
    for k in folds:
        tell(
            f"held-out animals of fold {k}",
            windows[f"motif[fold_{k}]"].to_numpy(),
            (windows["fold"] == k).to_numpy(),
        )
    random = workdir / "explain" / "random" / "embeddings.parquet"
    if random.exists():
        embedded = pd.read_parquet(random)
        place = embedded.drop_duplicates("clip_id").set_index("clip_id")
        embedding = np.stack(place.loc[windows["clip_id"], "embedding"])
        own = codebook.fit(embedding, group=windows["animal"].to_numpy(), config=MotifConfig())
        tell("random weights, their own number of motifs", own.assign(embedding).motif, every)
        count = len(set(final))
        same = codebook.fit(
            embedding,
            group=windows["animal"].to_numpy(),
            config=MotifConfig(candidates=(count,)),
        )
        tell("random weights, as many motifs", same.assign(embedding).motif, every)
    metrics = json.loads((workdir / "metrics.json").read_text())
    content = pd.crosstab(pd.Series(final, name="motif"), true, normalize="index")
    print("\nshare of each behaviour in the windows of a motif\n", content.round(2).to_string())
    for each in metrics["motifs"]["motifs"]:
        if each["more_in"] or each["less_in"]:
            top = content.loc[each["motif"]].sort_values(ascending=False)[:2]
            told = ", ".join(f"{name} {value:.0%}" for name, value in top.items())
            print(
                f"motif {each['motif']}: more in {each['more_in']}, "
                f"less in {each['less_in']}: {told}"
            )


if __name__ == "__main__":
    main()
