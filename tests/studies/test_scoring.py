"""New recordings through a finished study: the study's own answers, the same to the last bit."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import small_model
from etils import epath
from scipy.special import softmax

from mpjax.analysis import pain_score, predictions
from mpjax.analysis.classification import calibration
from mpjax.config import ProjectorConfig
from mpjax.data import clips, embeddings, records
from mpjax.data.splits import read_splits
from mpjax.embedding import recordings
from mpjax.heads import probe
from mpjax.studies import model as trained
from mpjax.studies import projector, scoring, stages
from mpjax.studies.scoring import Source
from mpjax.studies.workdir import Workdir
from mpjax.training import artifacts

NEW = ("a.mp4", "b.mp4", "c.mp4")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_model.write(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """Three recordings that the study never saw; the second is longer."""
    folder = tmp_path_factory.mktemp("new")
    for i, name in enumerate(NEW):
        small_model.film(folder / name, 70 + 40 * i, seed=50 + i, clips=3 + 4 * (i == 1))
    return folder


@pytest.fixture(scope="module")
def scored(study, new, tmp_path_factory):
    """The tables of a run of its own: it loads the study and compiles by itself."""
    out = tmp_path_factory.mktemp("scored") / "out"
    assert scoring.run(study, scoring.find_sources([str(new)]), out) == 0
    return out


@pytest.fixture(scope="module")
def model(study):
    """The study, loaded once, and what embeds by its projector."""
    loaded = trained.load(study)
    return loaded, recordings.Embedder(loaded.projector, loaded.views, loaded.batch_size)


def rows_of(path, video):
    """Returns the lines of a csv that are of one recording, without its folder."""
    lines = path.read_text().splitlines()
    mine = [line.split(",", 1) for line in lines[1:]]
    return [rest for name, rest in mine if name.endswith(video)]


def score(model, sources, out):
    """Scores and writes as the binary does; returns its exit status."""
    scores = scoring.score(*model, sources, out / scoring.CACHE)
    scoring.write(scores, epath.Path(out))
    return int(bool(scores.provenance["failures"]))


def tables(out):
    return {name: out / f"{name}.csv" for name in ("clips", "bouts", "recordings")}


def test_rows_do_not_change_with_company_order_name_or_repetition(
    model, study, new, scored, tmp_path
):
    copy = tmp_path / "copy of b.mp4"
    shutil.copy(new / "b.mp4", copy)
    words = [str(new / name) for name in ("c.mp4", "b.mp4", "c.mp4")]
    for out, sources in (
        (tmp_path / "alone", scoring.find_sources([str(new / "b.mp4")])),
        (tmp_path / "others", scoring.find_sources([*words, str(copy)])),
    ):
        assert score(model, sources, out) == 0
        for name, path in tables(out).items():
            expected = rows_of(scored / f"{name}.csv", "b.mp4")
            assert expected
            found = rows_of(path, "b.mp4")
            assert found == expected * (len(found) // len(expected))
    recorded = pd.read_csv(tmp_path / "others" / "recordings.csv")["video"]
    assert list(recorded) == [words[0], words[1], str(copy)]


def test_a_video_of_the_study_gets_what_its_fold_head_and_the_mean_over_heads_gave(
    model, study, tmp_path
):
    name = "cfa1_d7.mp4"
    out = tmp_path / "out"
    source = Source(name, str(study.parent / name))
    assert score(model, [source], out) == 0
    read = predictions.read_predictions(study / "predictions.parquet", embedding=True)
    mine = (read.table["video"] == name).to_numpy()
    fold = f"fold_{read_splits(study / 'dataset').folds[name]}"
    (cached,) = (out / scoring.CACHE).glob("*.parquet")
    embedded = embeddings.read(cached)
    clip = np.repeat(np.arange(small_model.CLIPS), 2)
    heads = artifacts.restore(study / "heads")
    names, log_p = probe.predict_by_every_head(heads, embedded.embedding, clip)
    assert names == ("fold_0", "fold_1", "fold_2", "final")
    np.testing.assert_allclose(np.exp(log_p[names.index(fold)]), read.p[mine], atol=1e-5)

    temperature = calibration.calibrate(read).meta["value"]
    assert temperature is not None
    by_hand = []
    for head in (heads[each] for each in names):
        scaled = (embedded.embedding - head["scaler"]["mean"]) / head["scaler"]["std"]
        linear = head["params"]["linear"]
        p_view = softmax(scaled @ linear["kernel"] + linear["bias"], axis=1)
        p = p_view.reshape(small_model.CLIPS, 2, -1).mean(axis=1)
        by_hand.append(softmax(np.log(p) / temperature, axis=1))
    table = pd.read_csv(out / "clips.csv")
    found = table[[f"p[{each}]" for each in read.taxonomy.fine]].to_numpy()
    np.testing.assert_allclose(found, np.mean(by_hand, axis=0), atol=1e-5)
    note = json.loads((out / "provenance.json").read_text())
    assert note["recordings"][0]["of_the_study"]
    assert any("belong to the study itself" in each for each in note["notes"])


def test_the_final_heads_score_is_the_one_that_the_drug_test_uses(model, study, tmp_path):
    name = "drug1.mp4"
    assert score(model, [Source(name, str(study.parent / name))], tmp_path) == 0
    read = predictions.read_predictions(study / "predictions.parquet")
    p = calibration.calibrate(read).p[(read.table["video"] == name).to_numpy()]
    expected = pain_score.pain_score(read.taxonomy, p).mean()
    row = pd.read_csv(tmp_path / "recordings.csv").iloc[0]
    np.testing.assert_allclose(row["pain_score_final_head"], expected, atol=1e-3)
    assert row["pain_lowest_head"] < row["pain"] < row["pain_highest_head"]


def test_tables_fit_together(scored):
    table = {name: pd.read_csv(path) for name, path in tables(scored).items()}
    clips_of = table["clips"].groupby("video", sort=False)
    assert clips_of.size().tolist() == [3, 7, 3] == table["recordings"]["clips"].tolist()
    assert table["bouts"].groupby("video", sort=False)["clips"].sum().tolist() == [3, 7, 3]
    np.testing.assert_allclose(table["recordings"]["pain"], clips_of["pain"].mean(), rtol=1e-4)
    fine = [c for c in table["clips"] if c.startswith("p[") and "@" in c]
    coarse = [f"p_group[{name}]" for name in ("cfa", "sni", "no_pain")]
    for columns in (fine, coarse):
        np.testing.assert_allclose(table["clips"][columns].sum(axis=1), 1, atol=1e-4)
    no_pain = table["clips"]["p_group[no_pain]"]
    np.testing.assert_allclose(table["clips"]["pain"], 1 - no_pain, atol=1e-5)
    assert table["clips"]["end_s"].iloc[0] == pytest.approx(small_model.FRAMES / 25)
    words = (scored / "provenance.json").read_text()
    assert "the study's own cohort" in words
    assert "diagnos" not in words


def test_what_is_unlike_the_study_is_flagged_and_what_is_like_it_is_not(model, study, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (12, 36, 52, 3), np.uint8)
    frames[:, ::2], frames[:, :, ::3] = 255, 0
    odd = small_model.write_video(tmp_path / "odd.mp4", list(frames), codec_options={"qp": "18"})
    own = study.parent / "sham2_d1.mp4"
    out = tmp_path / "out"
    sources = [Source("odd", str(odd)), Source("own", str(own))]
    assert score(model, sources, out) == 0
    table = pd.read_csv(out / "clips.csv")
    beyond = (table["distance"] > table["gate"]) | (table["off_plane"] > table["off_plane_gate"])
    assert (beyond == table["unlike"].astype(bool)).all()
    assert pd.read_csv(out / "recordings.csv")["unlike"].tolist() == [1, 0]
    notes = json.loads((out / "provenance.json").read_text())["notes"]
    assert any(note.startswith("odd: most of it is unlike the study's") for note in notes)


def test_without_motifs_or_with_those_of_other_embeddings_the_gate_is_said_to_be_absent(
    model, study, new, tmp_path
):
    shutil.copytree(study, tmp_path / "study")
    windows = tmp_path / "study" / "explain" / "windows.parquet"
    table = pd.read_parquet(windows)
    table["distance[final]"] *= 1.1
    table.to_parquet(windows)
    book, why = trained._read_codebook(Workdir(tmp_path / "study"))
    assert book is None
    assert "motifs are of other embeddings" in why
    shutil.rmtree(tmp_path / "study" / "explain")
    loaded = dataclasses.replace(
        model[0], codebook=None, no_codebook=trained._read_codebook(Workdir(tmp_path / "study"))[1]
    )
    score((loaded, model[1]), [Source("a", str(new / "a.mp4"))], tmp_path / "out")
    assert "unlike" not in pd.read_csv(tmp_path / "out" / "clips.csv")
    notes = json.loads((tmp_path / "out" / "provenance.json").read_text())["notes"]
    assert any("the study has no motifs" in note for note in notes)


def test_an_unreadable_video_is_named_and_the_others_are_scored(
    model, study, new, tmp_path, capsys
):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes((new / "b.mp4").read_bytes()[:900])
    words = [str(new / "a.mp4"), str(bad), str(tmp_path / "gone.mp4")]
    assert score(model, scoring.find_sources(words), tmp_path / "out") == 1
    assert len(pd.read_csv(tmp_path / "out" / "recordings.csv")) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if "unreadable" in line]
    assert [str(bad) in told[0], "gone.mp4" in told[1]] == [True, True]
    with pytest.raises(ValueError, match=r"none of the recordings can be read:\n  .*bad\.mp4"):
        score(model, scoring.find_sources([str(bad)]), tmp_path / "none")
    assert not (tmp_path / "none" / "clips.csv").exists()


def test_a_killed_run_goes_on_at_the_recording_where_it_stopped(
    model, study, new, scored, tmp_path, monkeypatch
):
    whole = recordings.Embedder.embed
    done = []

    def dies_at_the_second(self, encoded):
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return whole(self, encoded)

    sources = scoring.find_sources([str(new)])
    monkeypatch.setattr(recordings.Embedder, "embed", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        score(model, sources, tmp_path)
    assert not (tmp_path / "clips.csv").exists()

    def counted(self, encoded):
        done.append(1)
        return whole(self, encoded)

    monkeypatch.setattr(recordings.Embedder, "embed", counted)
    assert score(model, sources, tmp_path) == 0
    assert len(done) == len(NEW)
    for name, path in tables(tmp_path).items():
        assert path.read_bytes() == (scored / f"{name}.csv").read_bytes()


def test_clips_are_read_as_they_are_embedded_however_long_the_recording(model):
    embedder = recordings.Embedder(model[0].projector, model[0].views, batch_size=2)
    pixels = np.zeros((small_model.FRAMES, 32, 46, 3), np.uint8)
    jpegs = [clips.simplejpeg.encode_jpeg(frame) for frame in pixels]
    blank = dict.fromkeys(records.BYTES_FEATURES, "") | dict.fromkeys(records.INT_FEATURES, 0)
    blank |= dict.fromkeys(records.FLOAT_FEATURES, 0.0)
    drawn = []

    def endless():
        for i in range(10_000):
            drawn.append(i)
            yield blank, records.encode_example(blank, jpegs)

    batches = embedder._batches(endless(), [])
    for number in range(1, 4):
        assert next(batches).shape == (2, small_model.FRAMES, 32, 32, 3)
        assert len(drawn) == number  # two crops each


def test_a_region_of_interest_comes_from_a_table_or_from_the_flag(model, study, new, tmp_path):
    csv = tmp_path / "new.csv"
    text = f"video;roi;strain\n{new}/a.mp4;0:0:40:30;C57BL/6\n{new}/c.mp4;;\n"
    csv.write_text(text)
    sources = scoring.find_sources([], rows=stages.read_recordings(csv), roi="2:2:30:30")
    assert [source.roi for source in sources] == ["0:0:40:30", "2:2:30:30"]
    assert score(model, sources[:1], tmp_path / "out") == 0
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())["recordings"]
    assert told[0]["roi"] == "0:0:40:30"
    csv.write_text(text.replace("0:0:40:30", "0:0:40").replace("c.mp4", "gone.mp4"))
    with pytest.raises(ValueError, match=r"2 faults\n  row 2, column roi.*\n  row 3, column video"):
        stages.read_recordings(csv)
    with pytest.raises(ValueError, match="give video files, folders of them, or --cohort"):
        scoring.find_sources([])
    with pytest.raises(FileNotFoundError, match="holds no video"):
        scoring.find_sources([str(study / "heads")])


def test_another_projector_is_refused_by_fingerprint(study, tmp_path):
    shutil.copytree(study, tmp_path / "study")
    note = tmp_path / "study" / "projector.json"
    told = json.loads(note.read_text())
    assert told["projector"]["weights"] == "random"
    note.write_text(json.dumps(told | {"projector": told["projector"] | {"seed": 1}}))
    with pytest.raises(ValueError, match=r"its heads were trained on embeddings of the projector"):
        trained.load(tmp_path / "study")
    note.write_text(json.dumps(told | {"projector": {"weights": "kinetics400"}}))
    with pytest.raises(ValueError, match=r"kinetics400 gives .* name the study's own with --wei"):
        trained.load(tmp_path / "study")


def test_an_unfinished_study_is_refused_with_the_stage_to_run(study, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder; give that of a finished study"):
        trained.load(tmp_path / "gone")
    shutil.copytree(study, tmp_path / "study")
    table, meta = pd.read_parquet(study / "predictions.parquet"), {}
    read = predictions.read_predictions(study / "predictions.parquet")
    meta = read.meta | {"fingerprint": "of other heads"}
    predictions.write_predictions(tmp_path / "study" / "predictions.parquet", table, meta)
    with pytest.raises(ValueError, match=r"of other heads.*run `python -m mpjax\.eval`"):
        trained.load(tmp_path / "study")
    (tmp_path / "study" / "predictions.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"`python -m mpjax\.eval`, the last stage"):
        trained.load(tmp_path / "study")


def test_a_study_from_before_projectors_were_noted_takes_the_packaged_one(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        projector, "projector_of", lambda config, *_: asked.append(config.projector)
    )
    with pytest.raises(AttributeError):
        projector.recall_projector(Workdir(tmp_path), "x")
    assert asked == [ProjectorConfig()]


def test_tables_are_not_written_over_a_study_nor_over_what_predict_did_not_write(
    study, new, tmp_path
):
    sources = scoring.find_sources([str(new / "a.mp4")])
    before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="holds a study"):
        scoring.run(study, sources, study)
    assert {p: p.read_bytes() for p in study.rglob("*") if p.is_file()} == before
    (tmp_path / "clips.csv").write_text("precious")
    with pytest.raises(ValueError, match=r"holds clips\.csv, which .* has not written"):
        scoring.run(study, sources, tmp_path)
    assert (tmp_path / "clips.csv").read_text() == "precious"
    with pytest.raises(ValueError, match="empty path"):
        scoring.run(study, sources, "")
    with pytest.raises(NotADirectoryError, match="needs a folder"):
        scoring.run(study, sources, tmp_path / "clips.csv")
