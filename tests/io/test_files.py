import hashlib

import pandas as pd
import pytest

from mpjax.io import files, parquet


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    out = tmp_path / "deep" / "out"

    def fill(folder, fail=False):
        (folder / "a").write_text("1")
        if fail:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), files.write_folder_aside(out) as aside:
        fill(aside, fail=True)
    assert list(out.parent.iterdir()) == []
    out.mkdir()  # empty: taken
    with files.write_folder_aside(out) as aside:
        fill(aside)
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert (out / "a").read_text() == "1"
    with pytest.raises(FileExistsError, match="out: exists already"), files.write_folder_aside(out):
        pass
    with (
        pytest.raises(OSError, match="b: cannot be written"),
        files.write_folder_aside(out / "a" / "b"),
    ):
        pass


def test_sha256_is_that_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_a_table_is_made_again_if_it_is_of_something_else_or_damaged(tmp_path):
    made = []

    def make():
        made.append(len(made))
        return pd.DataFrame({"n": [len(made)]})

    def read(made_of):
        return parquet.read_or_make(tmp_path / "t.parquet", made_of, make)["n"].tolist()

    assert [read("a"), read("a"), read("b"), read("b")] == [[1], [1], [2], [2]]
    (tmp_path / "t.parquet").write_bytes(b"PAR1 cut")
    assert read("b") == [3]
