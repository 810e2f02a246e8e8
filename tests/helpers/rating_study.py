"""A study as far as rating needs it: records of 15 classes, their division, predictions."""

import numpy as np
import simplejpeg
from prediction_tables import CONDITIONS, DAYS, TAXONOMY, make_meta, make_table

from mpjax.analysis import predictions
from mpjax.analysis.raters import files as rater_files
from mpjax.data import records
from mpjax.data.dataset import DatasetWriter
from mpjax.data.splits import Splits, write_splits

FRAMES, HEIGHT, WIDTH = 6, 40, 56
SHADES = (20, 60, 100, 140, 180, 220)  # grey of the middle of each frame: frames can be told apart


def make_study(
    folder, *, animals=4, clips=2, scheme="kfold", group="animal", taxonomy=TAXONOMY, turn=0
):
    """Writes dataset and predictions: animals of 3 conditions, filmed on 5 days, `clips` each.

    Clips differ in pixels, and frames of a clip by `SHADES`. `turn` shifts whose clip it is that
    each video shows, while all pixels stay as they are.
    """
    rows = []
    for c, condition in enumerate(CONDITIONS):
        for a in range(animals):
            for d, day in enumerate(DAYS):
                for k in range(clips):
                    row = {"condition": condition, "day": day, "animal": f"{condition}-mouse{a}"}
                    row |= {"cage": f"{condition}-cage{a // 2}", "label": c * 5 + d, "fold": a // 2}
                    row |= {"video": f"{condition}-{a}-day{day}.mp4", "start_frame": 16 * k}
                    row["split"] = "train" if scheme == "fixed" and a // 2 % 2 else "test"
                    rows.append(row | {"clip_id": f"{row['video']}#{16 * k:08d}"})
    shown = rows[turn:] + rows[:turn]  # whose the i-th picture is
    dataset = folder / "dataset"
    dataset.mkdir(parents=True)
    _write_records(dataset, [_complete(row) for row in shown])
    folds = {row["video"]: row["fold"] for row in rows} if scheme != "fixed" else {}
    write_splits(dataset, Splits(scheme, group, taxonomy, [], 0, "cohort.csv", folds))
    if taxonomy == TAXONOMY:
        rng = np.random.default_rng(1)
        own = np.eye(15)[[row["label"] for row in rows]]
        scored = [row | ({"fold": -1} if scheme == "fixed" else {}) for row in rows]
        table = make_table(scored, own + rng.normal(0, 0.6, own.shape))
        table["clip_id"] = [row["clip_id"] for row in rows]
        meta = make_meta(scheme=scheme, group=group)
        predictions.write_predictions(folder / "predictions.parquet", table, meta)
    return folder


def _complete(row):
    values = dict.fromkeys(records.BYTES_FEATURES, "") | dict.fromkeys(records.INT_FEATURES, 0)
    values |= dict.fromkeys(records.FLOAT_FEATURES, 0.0) | {"fps": 8.0, "sex": "f"}
    return values | {name: row[name] for name in (*records.METADATA, "split") if name in row}


def _write_records(dataset, rows):
    writer = DatasetWriter(dataset)
    shape = {"frames": FRAMES, "height": HEIGHT, "width": WIDTH}
    for split in dict.fromkeys(row["split"] for row in rows):
        clips = (
            (row | shape, records.encode_example(row, encode(picture(i))))
            for i, row in enumerate(rows)
            if row["split"] == split
        )
        writer.write_shard(f"clips-{split}.tfrecord-00000-of-00001", clips)
    writer.finish("small")


def encode(frames):
    return [simplejpeg.encode_jpeg(frame, quality=95) for frame in frames]


def picture(i):
    """Returns frames of the i-th clip: grey by frame, a pattern of its own along the left side."""
    clip = np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    clip += np.array(SHADES, np.uint8)[:, None, None, None]
    bits = np.array([i >> b & 1 for b in range(10)]).repeat(HEIGHT // 10)
    clip[:, :, :8] = (bits * 200)[None, :, None, None].astype(np.uint8)
    return clip


def make_key(taxonomy=TAXONOMY, group="animal"):
    """Returns a key without a study: 75 clips, of 5 animals per condition on 5 days."""
    clips = {}
    for c, condition in enumerate(CONDITIONS):
        for a in range(5):
            for d in range(len(DAYS)):
                name = f"{(c * 31 + a * 7 + d * 3) % 97:02d}{c}{a}{d}"
                clips[name] = {
                    "clip_id": f"clip{len(clips)}", "video": f"{condition}{a}-{d}.mp4",
                    "animal": f"{condition}{a}", "cage": f"{condition}{a // 2}", "label": c * 5 + d,
                }  # fmt: skip
    return rater_files.make_key(
        {"clips": clips, "examples": {}, "taxonomy": taxonomy.to_dict(), "group": group,
         "scheme": "kfold", "dataset": "d", "division": "v", "seed": 0, "wanted": 5, "short": {}}
    )  # fmt: skip
