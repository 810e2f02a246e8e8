"""Chooses a cohort's classes and splits its animals or cages into train, val and test or folds."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from absl import logging
from etils import epath

from data_prep.cohort.checks import check_no_leak, has_labels, iterate_rows
from data_prep.cohort.errors import CohortError, Fault, file_error
from mpjax import taxonomy as taxonomies
from mpjax.config import SplitConfig
from mpjax.taxonomy import NO_PAIN

FEW_ANIMALS = 3  # per class; with fewer, almost nothing can be estimated


def choose_classes(
    table: pd.DataFrame, path: epath.Path, exclude: Sequence[str]
) -> tuple[pd.DataFrame, taxonomies.Taxonomy]:
    """Returns the rows that are used, and the taxonomy of those that may be trained on."""
    known = taxonomies.sort_fine(table["label"])
    unknown = [name for name in exclude if name not in known]
    if unknown:
        rule = f"exclude: no class {', '.join(unknown)}; the classes are {', '.join(known)}"
        raise file_error(path, rule)
    make_taxonomy = taxonomies.Taxonomy if has_labels(table) else taxonomies.default_taxonomy
    table = table[~table["label"].isin(list(exclude))]
    trainable = table["split"] != "drug"
    fine = taxonomies.sort_fine(table["label"][trainable])
    if not fine:
        rule = "no recording is left to train on: all are excluded or from drug animals"
        raise file_error(path, rule)
    file = path.parent / "taxonomy.toml"
    taxonomy = taxonomies.read_taxonomy(file, fine) if file.exists() else make_taxonomy(fine)
    return table[~trainable | table["label"].isin(taxonomy.fine)].copy(), taxonomy


def choose_group(table: pd.DataFrame, path: epath.Path, config: SplitConfig) -> str:
    """Returns the unit that is never split: the cage if every trainable row names one."""
    caged = table["cage"][table["split"] != "drug"] != ""
    if config.group == "cage" and not caged.all():
        row = int(table["row"][caged.index[~caged][0]])
        rule = "must not be empty: split.group is cage"
        raise CohortError(path, [Fault(row, "cage", "", rule)])
    if config.group == "auto":
        return "cage" if caged.all() else "animal"
    return config.group


def assign_split(
    table: pd.DataFrame, path: epath.PathLike, group: str, config: SplitConfig
) -> tuple[pd.DataFrame, str]:
    """Splits the trainable animals or cages at random, stratified; row order does not matter.

    Strata are the conditions (of a mixed cage: the combination); with labels, a group's most
    frequent label. If labels or combinations leave a stratum with fewer than 3 groups, there are no
    strata. Scheme auto is

    - fixed if the fractions give every stratum at least 3 groups to train, 1 to validate and 2 to
      test (6 groups with the default fractions), and train certainly has every class;
    - else leave_one_group_out if there are no more groups than `config.folds`;
    - else kfold, with as many folds as the rarest condition has groups, from 2 to `config.folds`.

    Args:
        table: as `Cohort.table`; rows whose `split` is drug are not changed.
        path: of the csv, for errors.
        group: animal or cage.
        config: fractions, folds, seed and scheme.

    Returns:
        The table with `split` and `fold` set, and the scheme.

    Raises:
        CohortError: there are too few groups.
    """
    trainable = table[table["split"] != "drug"]
    strata = _permuted_strata(trainable, group, config.seed)
    names = [name for members in strata.values() for name in members]
    if len(names) < 2:
        raise file_error(path, f"only one {group} to train on, {names[0]}; needs two or more")
    scheme = config.scheme
    if scheme == "auto" and _is_large(trainable, group, strata, config):
        scheme = "fixed"
    elif scheme == "auto":
        scheme = "leave_one_group_out" if len(names) <= config.folds else "kfold"
    side = dict.fromkeys(names, "test")
    fold = dict.fromkeys(names, -1)
    if scheme == "fixed":
        side = _fixed_sides(strata, path, group, config)
    elif scheme == "kfold":
        groups = len(names)
        if not has_labels(trainable):  # no more folds than the rarest condition has groups
            groups = int(trainable.groupby("condition")[group].nunique().min())
        folds = max(2, min(config.folds, groups))
        fold = {name: i % folds for i, name in enumerate(names)}
    else:
        fold = {name: i for i, name in enumerate(sorted(names))}
    table = table.copy()
    table["split"] = table["split"].where(table["split"] == "drug", table[group].map(side))
    table["fold"] = table[group].map(fold).where(table["split"] != "drug", -1).astype(int)
    if scheme == "fixed":
        _check_trained(table, path)
    check_no_leak(table, group)
    return table, scheme


def _is_large(
    table: pd.DataFrame, group: str, strata: dict[str, list[str]], config: SplitConfig
) -> bool:
    """Returns whether the cohort is large enough for a fixed split (see `assign_split`)."""
    counts = {stratum: _counts(len(members), config) for stratum, members in strata.items()}
    if any(train < 3 or test < 2 for train, _, test in counts.values()):
        return False
    held_out = {stratum: val + test for stratum, (_, val, test) in counts.items()}
    stratum_of = {name: stratum for stratum, members in strata.items() for name in members}
    return all(
        len(names) > sum(held_out[stratum] for stratum in {stratum_of[name] for name in names})
        for names in table.groupby("label")[group].unique()
    )


def _fixed_sides(
    strata: dict[str, list[str]], path: epath.PathLike, group: str, config: SplitConfig
) -> dict[str, str]:
    side: dict[str, str] = {}
    for stratum, members in strata.items():
        train, val, test = _counts(len(members), config)
        if train < 1:
            rule = f"split.scheme is fixed, but {stratum or 'the cohort'} has {len(members)} "
            rule += f"{group}(s), too few for train, val and test; use kfold"
            raise file_error(path, rule)
        sides = ["train"] * train + ["val"] * val + ["test"] * test
        side |= dict(zip(members, sides, strict=True))
    return side


def _counts(groups: int, config: SplitConfig) -> tuple[int, int, int]:
    """Returns how many of a stratum's groups go to train, val and test; rounded, at least 1."""
    test = max(1, math.floor(groups * config.test_fraction + 0.5))
    val = max(1, math.floor(groups * config.val_fraction + 0.5)) if config.val_fraction else 0
    return groups - val - test, val, test


def _permuted_strata(table: pd.DataFrame, group: str, seed: int) -> dict[str, list[str]]:
    rows = table.groupby(group)
    if has_labels(table):
        kind = rows["label"].agg(lambda labels: labels.mode().iloc[0])
    else:
        kind = rows["condition"].agg(lambda conditions: " + ".join(sorted(set(conditions))))
    sizes = kind.value_counts()
    if sizes.min() < 3 and set(kind) != set(table["condition"]):
        kind[:] = ""
    generator = np.random.default_rng(seed)
    return {
        stratum: [str(name) for name in generator.permutation(sorted(kind.index[kind == stratum]))]
        for stratum in sorted(set(kind))
    }


def check_given_split(table: pd.DataFrame, path: epath.PathLike, config: SplitConfig) -> None:
    """Raises CohortError if a hand-made split contradicts the scheme or lacks a class."""
    if config.scheme not in ("auto", "fixed"):
        rule = f"has a split column, but split.scheme is {config.scheme}: remove one of them"
        raise file_error(path, rule)
    _check_trained(table, path)


def _check_trained(table: pd.DataFrame, path: epath.PathLike) -> None:
    """Raises CohortError unless each class has a recording in train."""
    trainable = table[table["split"] != "drug"]
    trained = set(trainable["label"][trainable["split"] == "train"])
    missing = trainable[~trainable["label"].isin(trained)].drop_duplicates("label")
    faults = [
        Fault(row.row, "split", row.split, f"class {row.label} has no recording in train")
        for row in iterate_rows(missing)
    ]
    if faults:
        raise CohortError(path, faults)


def warn_of_weaknesses(table: pd.DataFrame, group: str, coarse: Sequence[str]) -> None:
    """Warns of what is allowed but weakens the evidence; `coarse` is empty for a label cohort."""
    if coarse and NO_PAIN not in coarse:
        logging.warning(
            "no animals without pain (condition sham, naive or none, or days before induction): "
            "there will be no pain score and no drug test"
        )
    drug = table["split"] == "drug"
    trainable = table[~drug]
    classes = trainable["label"].unique()
    if len(classes) == 1:
        logging.warning(
            "all recordings to train on are of one class, %s: no accuracy can be estimated",
            classes[0],
        )
    if "test" not in set(table["split"]):
        logging.warning(
            "column split has no row with test: no recording is held out, so no accuracy can be "
            "estimated; write test for some animals"
        )
    animals = trainable.groupby("label")["animal"].nunique()
    few = animals[animals < FEW_ANIMALS]
    if len(few):
        logging.warning(
            "%d of %d classes have fewer than %d animals to train on (fewest: %s with %d): "
            "expect wide intervals, and parts of the report that cannot be estimated",
            *(len(few), len(animals), FEW_ANIMALS, few.idxmin(), few.min()),
        )
    shared = ", ".join(sorted(set(table["cage"][drug]) & set(trainable["cage"]) - {""}))
    if shared:
        logging.warning("drug animals share a cage with trainable ones: %s", shared)
    without = int((trainable["cage"] == "").sum())
    if group == "animal" and 0 < without < len(trainable):
        logging.warning(
            "cage is empty on %d trainable rows, so animals are split: cage mates may be on both "
            "sides",
            without,
        )
    groups = trainable.groupby("label")[group].unique()
    for name, only in groups[groups.map(len) == 1].items():
        logging.warning(
            "class %s is in one %s only (%s): anything else that is special there looks like the "
            "class; leave it out (--config.exclude), or report it",
            *(name, group, only[0]),
        )
