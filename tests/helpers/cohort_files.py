"""Writes small cohort tables for the tests of their checks and their division."""

import pandas as pd
import pytest

from data_prep import cohort as cohorts

HEADER = "video,animal,condition,day"
BASE = f"{HEADER}\na.mp4,m1,sni,7\nb.mp4,m2,sham,7\n"


def write(folder, text, *, videos=True, name="cohort.csv", encoding="utf-8"):
    """Writes a csv, and an empty file for each `*.mp4` it names."""
    path = folder / name
    path.write_bytes(text.encode(encoding))
    if videos:
        for cell in text.replace(";", ",").replace("\t", ",").replace("\n", ",").split(","):
            if cell.strip().endswith(".mp4"):
                (folder / cell.strip()).touch()
    return path


def make_rows(conditions=("cfa", "sham", "sni"), animals=6, days=(1, 7), per_cage=0):
    """Returns rows of a plain cohort, every animal on every day."""
    rows = []
    for condition in conditions:
        for i in range(animals):
            for day in days:
                row = {"video": f"{condition}{i}d{day}.mp4", "animal": f"{condition}{i}"}
                row |= {"condition": condition, "day": str(day)}
                if per_cage:
                    row["cage"] = f"{condition}-{i // per_cage}"
                rows.append(row)
    return rows


def write_rows(folder, rows, **options):
    """Writes rows (dicts; a missing cell is empty) as a csv."""
    return write(folder, pd.DataFrame(rows).fillna("").to_csv(index=False), **options)


def faults_of(path, **options):
    """Returns the faults for which `read_cohort` refuses the table."""
    with pytest.raises(cohorts.CohortError) as error:
        cohorts.read_cohort(path, **options)
    assert str(path.name) in str(error.value)
    return error.value.faults
