"""How a cohort's animals are split, and which rows anything may therefore be fitted on.

The one owner of that rule: heads, codebooks, baselines, B-SOiD, motif score and specificity all ask
`fit_rows` and `tested_rows`. `division.json` next to the records holds scheme, folds and classes.
"""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from jaxtyping import Bool, Int

from mpjax.io import files
from mpjax.taxonomy import Taxonomy

FILE = "division.json"
SPLITS = ("train", "val", "test", "drug")
FIXED = "fixed"  # the scheme of splits train, val and test; the others are folds
SCHEMES = (FIXED, "kfold", "leave_one_group_out")
FINAL = -1  # stands for a fold: what is fitted on all training animals


def fit_rows(
    table: pd.DataFrame, scheme: str, fold: int = FINAL, *, with_validation: bool = False
) -> Bool[np.ndarray, " n"]:
    """Returns which rows may be fitted on by what predicts `fold`; never those of its test animals.

    Under a fixed split these are the rows of `train`: validation animals choose settings and
    calibrate, and nothing is fitted on them. Under folds they are all tested rows of the other
    folds, and for `FINAL` of all folds. Rows of the split `drug` and of no trained class (a label
    below 0) are in none.

    Args:
        table: a row per view, clip, window or recording, with the columns `split`, `label` and,
            under folds, `fold`.
        scheme: `fixed`, `kfold` or `leave_one_group_out`.
        fold: the fold to be predicted; `FINAL` for the split `drug` and for new recordings, and
            for everything under a fixed split.
        with_validation: adds the validation animals, for what chooses among settings by them.
    """
    used = (table["label"] >= 0).to_numpy()
    split = table["split"]
    if scheme == FIXED:
        return used & split.isin(["train", "val"] if with_validation else ["train"]).to_numpy()
    used = used & (split == "test").to_numpy()
    return used if fold == FINAL else used & (table["fold"] != fold).to_numpy()


def calibration_rows(table: pd.DataFrame, scheme: str) -> Bool[np.ndarray, " n"]:
    """Returns which rows calibrate: of validation animals; under folds (crosswise) all tested."""
    side = "val" if scheme == FIXED else "test"
    return ((table["split"] == side) & (table["label"] >= 0)).to_numpy()


def predicting_fold(table: pd.DataFrame, scheme: str) -> Int[np.ndarray, " n"]:
    """Returns the fold whose fit predicts each row: its own if it is tested, else `FINAL`."""
    if scheme == FIXED:
        return np.full(len(table), FINAL)
    return np.where(table["split"] == "test", table["fold"], FINAL).astype(int)


def evaluated_rows(table: pd.DataFrame) -> Bool[np.ndarray, " n"]:
    """Returns which rows count towards accuracy: held out, and of a trained class."""
    return ((table["split"] == "test") & (table["label"] >= 0)).to_numpy()


def classification_rows(table: pd.DataFrame) -> Bool[np.ndarray, " n"]:
    """Returns which rows belong to the classification part: of a class, on any side of the split.

    For descriptions of the cohort (the audit of confounds, the leakage demonstration, which splits
    them in its own way); what predicts them asks `fit_rows`.
    """
    return ((table["split"] != "drug") & (table["label"] >= 0)).to_numpy()


def tested_rows(table: pd.DataFrame, scheme: str, fold: int) -> Bool[np.ndarray, " n"]:
    """Returns which rows are test rows of `fold`; under a fixed split, those of the split `test`.

    Under folds, `FINAL` tests nothing.
    """
    tested = (table["split"] == "test").to_numpy()
    return tested if scheme == FIXED else tested & (table["fold"] == fold).to_numpy()


def folds_of(table: pd.DataFrame, scheme: str) -> list[int]:
    """Returns the folds that are predicted by a fit of their own: none under a fixed split."""
    return sorted({*predicting_fold(table, scheme).tolist()} - {FINAL})


@dataclasses.dataclass(frozen=True)
class Splits:
    """How a cohort is split."""

    # fixed (splits train, val, test), or kfold or leave_one_group_out: every trainable recording is
    # tested once, in the fold that `folds` names
    scheme: str
    group: str  # animal or cage, whichever stays on one side as a whole
    taxonomy: Taxonomy
    exclude: list[str]  # fine classes left out
    seed: int | None  # of the random assignment; None where there was none
    cohort: str  # path of the csv, for the record
    folds: dict[str, int]  # fold of each recording (by its `video`), -1 for none

    @property
    def fingerprint(self) -> str:
        """Hash of all of it: heads belong to one way of splitting."""
        return files.fingerprint(dataclasses.asdict(self))

    def add_folds(self, table: pd.DataFrame) -> pd.DataFrame:
        """Returns `table` with the column `fold`: that of a tested recording, else -1."""
        fold = table["video"].map(self.folds).where(table["split"] == "test").fillna(FINAL)
        return table.assign(fold=fold.astype(int))


def write_splits(dataset: epath.PathLike, splits: Splits) -> None:
    """Writes `division.json` into the folder of a dataset."""
    values = dataclasses.asdict(splits) | {"taxonomy": splits.taxonomy.to_dict()}
    files.write_json(epath.Path(dataset) / FILE, values)


def read_splits(dataset: epath.PathLike) -> Splits:
    """Reads `division.json` of a dataset; ValueError: it is missing or not one of ours."""
    path = epath.Path(dataset) / FILE
    if not path.exists():
        raise ValueError(f"{path}: no such file; run `python -m data_prep.build`")
    values: dict[str, Any] = files.read_json(path)
    if set(values) != (expected := {field.name for field in dataclasses.fields(Splits)}):
        raise ValueError(f"{path}: has {sorted(values)}, expected {sorted(expected)}; delete it")
    return Splits(**(values | {"taxonomy": Taxonomy.from_dict(values["taxonomy"])}))
