"""`division.json` beside the records: how the cohort's animals are divided, and into which classes.

The records name their split; folds can change without new records, so they stand here.
"""

import dataclasses
from typing import Any

from etils import epath

from mpjax.io import files
from mpjax.taxonomy import Taxonomy

FILE = "division.json"


@dataclasses.dataclass(frozen=True)
class Division:
    """How a cohort is divided.

    Attributes:
        scheme: fixed (splits train, val, test), or kfold or leave_one_group_out (every trainable
            recording is tested in turn, in the fold that `folds` names).
        group: animal or cage, whichever stays on one side as a whole.
        taxonomy: fine and coarse classes.
        exclude: fine classes left out.
        seed: of the random assignment; None where there was none.
        cohort: path of the csv, for the record.
        folds: fold of each recording (by its `video`), -1 for none.
    """

    scheme: str
    group: str
    taxonomy: Taxonomy
    exclude: list[str]
    seed: int | None
    cohort: str
    folds: dict[str, int]

    @property
    def fingerprint(self) -> str:
        """Hash of all of it: heads belong to one division."""
        return files.fingerprint(dataclasses.asdict(self))


def write(dataset: epath.PathLike, division: Division) -> None:
    """Writes `division.json` into the folder of a dataset."""
    values = dataclasses.asdict(division) | {"taxonomy": division.taxonomy.to_dict()}
    files.write_json(epath.Path(dataset) / FILE, values)


def read(dataset: epath.PathLike) -> Division:
    """Reads `division.json` of a dataset.

    Raises:
        ValueError: the file is missing or not one of ours.
    """
    path = epath.Path(dataset) / FILE
    if not path.exists():
        raise ValueError(f"{path}: no such file; run `python -m data_prep.build`")
    values: dict[str, Any] = files.read_json(path)
    expected = {field.name for field in dataclasses.fields(Division)}
    if set(values) != expected:
        raise ValueError(f"{path}: has {sorted(values)}, expected {sorted(expected)}; delete it")
    return Division(**(values | {"taxonomy": Taxonomy.from_dict(values["taxonomy"])}))
