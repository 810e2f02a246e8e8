import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prediction_tables import make_answers, make_meta, make_study

from mpjax.analysis import predictions
from mpjax.analysis.predictions import count_leaks, read_predictions, write_predictions
from mpjax.taxonomy import Taxonomy

META = make_meta(Taxonomy(("a", "b", "c")))


@pytest.fixture
def table():
    return make_answers([0, 1, 2, 0], [0, 1, 1, 0], animal=[0, 0, 1, 1])


def test_a_table_comes_back_as_it_was_written(tmp_path):
    table, meta = make_study()
    write_predictions(tmp_path / "p.parquet", table, meta)
    read = read_predictions(tmp_path / "p.parquet")
    assert read.meta == meta
    assert read.taxonomy.to_dict() == meta["taxonomy"]
    np.testing.assert_array_equal(read.p.astype(np.float32), np.stack(table["p"]))
    for column in read.table.columns:
        np.testing.assert_array_equal(read.table[column].to_numpy(), table[column].to_numpy())


def test_embeddings_are_read_only_when_asked_for(tmp_path, table):
    embedding = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    write_predictions(tmp_path / "p.parquet", table.assign(embedding=list(embedding)), META)
    assert read_predictions(tmp_path / "p.parquet").embedding is None
    read = read_predictions(tmp_path / "p.parquet", embedding=True)
    assert read.embedding.dtype == np.float32
    np.testing.assert_array_equal(read.embedding, embedding)
    assert "embedding" not in read.table
    write_predictions(tmp_path / "p.parquet", table, META)
    assert read_predictions(tmp_path / "p.parquet", embedding=True).embedding is None


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(predictions, "_ROW_GROUP", 3)  # so that four rows take two


def test_embeddings_are_written_and_read_in_blocks_of_rows(tmp_path, table, small_blocks):
    path = tmp_path / "p.parquet"
    embedding = np.arange(32, dtype=np.float32).reshape(4, 8)
    write_predictions(path, table.assign(embedding=list(embedding)), META)
    assert pq.ParquetFile(path).num_row_groups == 2
    np.testing.assert_array_equal(read_predictions(path, embedding=True).embedding, embedding)
    pq.write_table(pq.read_table(path), path, row_group_size=4)  # as another tool would
    np.testing.assert_array_equal(read_predictions(path, embedding=True).embedding, embedding)


def test_reading_embeddings_takes_little_more_than_their_size(tmp_path, small_blocks):
    table = make_answers(*[[0, 1, 2, 0] * 50] * 2, animal=[0, 0, 1, 1] * 50)
    embedding = np.random.default_rng(0).random((200, 10_000), dtype=np.float32)
    path = tmp_path / "p.parquet"
    write_predictions(path, table.assign(embedding=list(embedding)), META)
    before, peak = pa.total_allocated_bytes(), []
    matrix = predictions._matrix

    def spy(*args, **kwargs):
        peak.append(pa.total_allocated_bytes() - before)
        return matrix(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "_matrix", spy)
        read = read_predictions(path, embedding=True)
    np.testing.assert_array_equal(read.embedding, embedding)
    assert max(peak) < embedding.nbytes / 4  # Arrow's, besides the array that is kept


_BAD_EMBEDDING = {
    "column embedding, row 3: 1 values for 2 features": [[0.0, 1.0]] * 3 + [[0.0]],
    "column embedding: 1 empty cell": [[0.0, 1.0]] * 3 + [None],
    r"column embedding: must be finite: 1 row\(s\), first row 3": [[0.0, 1.0]] * 3 + [[0.0, None]],
    r"column embedding: expected list<.*, got string": ["x"] * 4,
}


@pytest.mark.parametrize("message", _BAD_EMBEDDING)
def test_reading_checks_the_embeddings_another_tool_wrote(tmp_path, table, small_blocks, message):
    path = tmp_path / "p.parquet"
    write_predictions(path, table, META)
    cells = pa.array(_BAD_EMBEDDING[message])
    pq.write_table(pq.read_table(path).append_column("embedding", cells), path)
    with pytest.raises(ValueError, match=rf"p\.parquet: {message}"):
        read_predictions(path, embedding=True)


def test_optional_columns_come_back_where_they_were_written(tmp_path):
    table, meta = make_study()
    plain = tmp_path / "plain.parquet"
    write_predictions(plain, table, meta)
    assert read_predictions(plain).p_coarse is None
    assert "motion" not in read_predictions(plain).table
    rng = np.random.default_rng(0)
    p_coarse = rng.dirichlet(np.ones(3), len(table)).astype(np.float32)
    motion, brightness = rng.random(len(table)), 255 * rng.random(len(table))
    more = table.assign(motion=motion, brightness=brightness, p_coarse=list(p_coarse))
    write_predictions(tmp_path / "p.parquet", more, meta)
    read = read_predictions(tmp_path / "p.parquet")
    np.testing.assert_array_equal(read.p_coarse, p_coarse)
    np.testing.assert_array_equal(read.table["motion"], motion)
    np.testing.assert_array_equal(read.table["brightness"], brightness)


def _put(column, value, row=1):
    def change(table):
        cells = table[column].tolist()
        cells[row] = value
        return table.assign(**{column: cells})

    return change


_BAD = {
    "column day: missing": lambda t: t.drop(columns="day"),
    "column mood: unknown": lambda t: t.assign(mood=1),
    "column day: expected int64, got string": lambda t: t.assign(day="monday"),
    "column sex: 1 empty cell": _put("sex", None),
    r"column logits: must be finite: 1 row\(s\), first row 1 \(clip 'clip1'": _put(
        "logits", [0.0, np.nan, 0.0]
    ),
    "column p: must be finite": _put("p", [np.inf, 0.0, 0.0]),
    "column p: must sum to 1.*0.5": _put("p", [0.25, 0.25, 0.0]),
    "column p: must not be negative": _put("p", [1.5, -0.5, 0.0]),
    "column p, row 1: None is not a 1-D array": _put("p", None),
    "column p, row 1: 2 values for 3 classes": _put("p", [0.5, 0.5]),
    r"column label: must lie in -1..2.*\b3\)": _put("label", 3),
    "column fps: must be finite": _put("fps", np.nan),
    "column split: must be one of": _put("split", "holdout"),
    "column clip_id: must be unique.*'clip0'": _put("clip_id", "clip0"),
    "column animal: empty in 1 row": _put("animal", ""),
    r"1 animal\(s\) on two sides, first 'm0': test and train": _put("split", "train"),
    "on two sides, first 'm0': test and drug": _put("split", "drug"),
    r"on two sides, first 'm0': test and test \(fold 2\)": _put("fold", 2),
    "column video: 'v0' belongs to more than one animal": lambda t: t.assign(video="v0"),
    "no rows": lambda t: t.iloc[:0],
    "column motion: must be finite": lambda t: t.assign(motion=[0.0, 1.0, np.nan, 1.0]),
    "column p_coarse, row 0: 2 values for 0 coarse classes": lambda t: t.assign(
        p_coarse=[[0.5, 0.5]] * 4
    ),
    "column embedding, row 1: 2 values for 3 features": lambda t: t.assign(
        embedding=[[0.0, 1.0, 2.0], [0.0, 1.0]] * 2
    ),
    "column embedding: must be finite": lambda t: t.assign(embedding=[[0.0, np.nan]] * 4),
}


@pytest.mark.parametrize("message", _BAD)
def test_a_bad_table_is_refused_by_name_and_nothing_is_written(tmp_path, table, message):
    path = tmp_path / "p.parquet"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match=message) as error:
        write_predictions(path, _BAD[message](table), META)
    assert str(path) in str(error.value)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_all_faults_of_the_values_are_told_at_once(tmp_path, table):
    bad = _put("label", 9)(_put("clip_id", "clip0")(_put("split", "train")(table)))
    with pytest.raises(ValueError, match=r"label.*clip_id.*two sides"):
        write_predictions(tmp_path / "p.parquet", bad, META)


def test_probabilities_of_the_coarse_head_are_checked_like_those_of_the_fine_one(tmp_path):
    table, meta = make_study(drug=False)
    bad = table.assign(p_coarse=[[0.5, 0.5, 0.5]] + [[0.0, 0.0, 1.0]] * (len(table) - 1))
    with pytest.raises(ValueError, match=r"column p_coarse: must sum to 1: 1 row\(s\).*1\.5"):
        write_predictions(tmp_path / "p.parquet", bad, meta)


def test_a_condition_that_is_not_that_of_the_label_is_refused(tmp_path):
    table, meta = make_study(drug=False)
    bad = _put("condition", "mystery", row=7)(table)
    with pytest.raises(ValueError, match=r"1 row\(s\) contradict.*row 7: 'mystery' on day 3, but"):
        write_predictions(tmp_path / "p.parquet", bad, meta)
    unlabelled = _put("label", -1, row=7)(bad)  # left out of the classes, so it may be unknown
    write_predictions(tmp_path / "p.parquet", unlabelled, meta)


def test_a_cage_on_two_sides_is_refused_only_where_cages_are_the_group(tmp_path, table):
    caged = table.assign(cage="c1", split=["test", "test", "train", "train"])
    write_predictions(tmp_path / "p.parquet", caged, META)
    with pytest.raises(ValueError, match=r"1 cage\(s\) on two sides, first 'c1'"):
        write_predictions(tmp_path / "p.parquet", caged, META | {"group": "cage"})


def test_a_treated_cage_mate_is_no_leak_but_a_treated_test_animal_is(table):
    caged = table.assign(cage="c1", split=["test", "test", "drug", "drug"])
    assert count_leaks(caged, "cage") == 0
    assert count_leaks(caged.assign(animal="m0"), "animal") == 1


def test_cross_validated_rows_need_their_fold(tmp_path, table):
    with pytest.raises(ValueError, match="scheme kfold needs a fold in 4 test row"):
        write_predictions(tmp_path / "p.parquet", table, META | {"scheme": "kfold"})


def test_meta_without_a_known_group_is_refused(tmp_path, table):
    with pytest.raises(ValueError, match=r"meta.group is 'litter'"):
        write_predictions(tmp_path / "p.parquet", table, META | {"group": "litter"})


def test_reading_checks_what_another_tool_wrote(tmp_path, table):
    path = tmp_path / "p.parquet"
    write_predictions(path, table, META)
    stored = pq.read_table(path)
    label = stored.schema.get_field_index("label")
    pq.write_table(stored.set_column(label, "label", pa.array([0, 7, 0, 0])), path)
    with pytest.raises(ValueError, match=r"p.parquet.*label must|p.parquet.*label: must"):
        read_predictions(path)


def test_a_file_that_is_no_predictions_file_is_named(tmp_path):
    path = tmp_path / "p.parquet"
    with pytest.raises(FileNotFoundError, match=r"p\.parquet"):
        read_predictions(path)
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match=r"p\.parquet: not a readable Parquet"):
        read_predictions(path)
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(ValueError, match=r"p\.parquet: no 'mpjax' entry"):
        read_predictions(path)
