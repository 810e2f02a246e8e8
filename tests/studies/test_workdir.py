"""Every file name of a study has one owner, and its folder is no place for other output."""

import os
import re
from pathlib import Path

import pytest

from mpjax.studies.workdir import Workdir, check_output_folder

PACKAGE = Path(__file__).resolve().parents[2] / "mpjax"


def test_no_other_module_above_the_jax_half_joins_a_file_name_of_a_study():
    place = Workdir("w")
    names = {path.name for path in vars(place).values()} - {"w"}
    assert {"dataset", "heads", "metrics.json", "windows.parquet"} <= names
    joined = re.compile(rf"/ f?\"({'|'.join(map(re.escape, names))}|codebook-.*|still-.*)\"")
    modules = [*PACKAGE.glob("*.py"), *(PACKAGE / "interop").glob("*.py")]
    modules += [*(PACKAGE / "studies").glob("*.py"), *(PACKAGE / "report").rglob("*.py")]
    found = {path.name: joined.findall(path.read_text()) for path in modules}
    assert {name for name, each in found.items() if each} == {"workdir.py"}


def test_a_workdir_is_a_path_and_is_taken_as_it_is(tmp_path):
    place = Workdir(tmp_path)
    assert os.fspath(place) == str(place) == str(tmp_path)
    assert Workdir(place).heads == tmp_path / "heads"
    assert place.codebook("fold_1") == tmp_path / "explain" / "codebook-fold_1.npz"
    with pytest.raises(ValueError, match="an empty path"):
        Workdir("")


@pytest.mark.parametrize("name", ["dataset", "heads", ".report.json"])
def test_output_is_not_written_over_a_study(tmp_path, name):
    assert check_output_folder(tmp_path / "new") == tmp_path / "new"
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"holds a study.*--out=.*/tables"):
        check_output_folder(tmp_path)
