"""Windows are the views in time of the clips, whatever the crops in space."""

import numpy as np
import pandas as pd
import pytest

from mpjax.data import embeddings, records, windows
from mpjax.data.splits import Splits
from mpjax.taxonomy import default_taxonomy

VIEWS = {"size": 32, "frames": 8, "views": 3, "crops": 2}


def make(views, per_clip, *, frames=(16, 16), folds=None):
    """Two clips of one recording at 8 Hz, the second 16 frames later, and their division."""
    rows = []
    for clip, start in enumerate((0, 16)):
        for view in range(per_clip):
            row = dict.fromkeys(records.METADATA, "")
            row |= {"clip_id": f"c{clip}", "video": "v", "animal": "a", "start_frame": start}
            row |= {"fps": 8.0, "split": "test", "view": view, "label": 0}
            rows.append(row)
    table = pd.DataFrame(rows)
    embedding = np.arange(len(rows), dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    embedded = embeddings.Embeddings(table, embedding, {"views": views})
    index = pd.DataFrame({"clip_id": ["c0", "c1"], "frames": frames})
    taxonomy = default_taxonomy(["a@d1"])
    splits = Splits("kfold", "animal", taxonomy, [], 0, "", folds or {"v": 2})
    return windows.cut(embedded, index, splits)


def test_a_window_is_a_view_in_time_and_averages_its_crops():
    table, embedding = make(VIEWS, per_clip=6)
    assert table["offset"].tolist() == [0, 4, 8] * 2
    assert table["start_s"].tolist() == [0.0, 0.5, 1.0, 2.0, 2.5, 3.0]
    assert table["seconds"].tolist() == [1.0] * 6
    np.testing.assert_array_equal(embedding[:, 0], [0.5, 2.5, 4.5, 6.5, 8.5, 10.5])


def test_without_views_in_time_the_clips_are_the_windows():
    table, embedding = make(VIEWS | {"frames": 0, "views": 1, "crops": 1}, per_clip=1)
    assert table["clip_id"].tolist() == ["c0", "c1"]
    assert table["seconds"].tolist() == [2.0, 2.0]
    np.testing.assert_array_equal(embedding[:, 0], [0, 1])


def test_crops_that_a_square_clip_does_not_have_are_no_windows():
    """Of a square clip, crops coincide and are embedded once (`Views.cut`)."""
    table, _ = make(VIEWS, per_clip=3)
    assert table["offset"].tolist() == [0, 4, 8] * 2


@pytest.mark.parametrize(("split", "fold"), [("test", 2), ("drug", -1), ("train", -1)])
def test_only_what_is_tested_in_a_fold_has_one(split, fold):
    table, _ = make(VIEWS, per_clip=6, folds={"v": 2})
    assert (table["fold"] == 2).all()
    embedded = embeddings.Embeddings(
        table.assign(split=split, view=0, clip_id=[f"c{i}" for i in range(6)]),
        np.zeros((6, 3), np.float32),
        {"views": VIEWS | {"frames": 0, "views": 1}},
    )
    index = pd.DataFrame({"clip_id": [f"c{i}" for i in range(6)], "frames": 16})
    splits = Splits("kfold", "animal", default_taxonomy(["a@d1"]), [], 0, "", {"v": 2})
    assert (windows.cut(embedded, index, splits)[0]["fold"] == fold).all()


def test_turned_views_are_of_the_same_window_which_is_shown_as_filmed():
    table, embedding = make(VIEWS | {"turns": 2}, per_clip=12)
    assert table["offset"].tolist() == [0, 4, 8] * 2
    np.testing.assert_array_equal(embedding[:2, 0], [1.5, 5.5])
    assert table["view"].tolist()[:3] == [1, 5, 9]  # the second of two crops, turn 0
