import pytest

from mpjax.analysis.predictions import read_predictions, write_predictions


@pytest.fixture
def check(tmp_path):
    """Puts a table of predictions through the file and back."""

    def through_file(table, meta):
        write_predictions(tmp_path / "p.parquet", table, meta)
        return read_predictions(tmp_path / "p.parquet")

    return through_file
