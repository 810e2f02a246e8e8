import hashlib
import io
import json

import numpy as np
import pandas as pd
import pytest
import scripted_rater
from absl import app, flags
from PIL import Image
from rating_study import SHADES, make_study, picture

from mpjax import rate
from mpjax.analysis.raters import files
from mpjax.data import rating_clips, records
from mpjax.data.splits import read_splits
from mpjax.studies import rating
from mpjax.taxonomy import Taxonomy


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("rating") / "study")


@pytest.fixture(scope="module")
def package(study):
    """A package with examples: its folder and its key."""
    rating.make(study, study.parent / "pack", clips=30, examples=1)
    return study.parent / "pack", files.read_key(study.parent / "pack.key.json")


def told(folder):
    """Returns what the page is told, and all of its text."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    start = page.index(">", page.index('id="package"')) + 1
    return json.loads(page[start : page.index("</script>", start)]), page


def test_the_folder_tells_nothing_of_class_animal_recording_or_date(package, study):
    folder, key = package
    content = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    index = records.read_index(study / "dataset")
    secrets = set(index[["clip_id", "video", "animal", "cage"]].to_numpy().ravel())
    assert len(secrets) > 100
    everything = b"".join([*content.values(), *(str(path).encode() for path in content)])
    assert not [secret for secret in secrets if secret.encode() in everything]
    assert len({path.stat().st_mtime for path in [folder, *folder.rglob("*")]}) == 1
    page, _ = told(folder)
    assert [clip["name"] for clip in page["clips"]] == sorted(key.clips.index)
    assert all("label" not in clip for clip in page["clips"])
    assert not list(folder.rglob("*key*"))


def test_the_page_is_made_of_pixels_and_class_names_alone(tmp_path):
    """Who is filmed is shifted by 37 clips while pixels stay: the package's id alone differs."""
    pages, clips, labels = [], [], []
    for turn in (0, 37):
        study = make_study(tmp_path / f"study{turn}", turn=turn)
        rating.make(study, tmp_path / f"pack{turn}", clips=120)
        key = files.read_key(tmp_path / f"pack{turn}.key.json")
        pages.append(told(tmp_path / f"pack{turn}")[1].replace(key.package, "ID"))
        folder = tmp_path / f"pack{turn}" / "clips"
        clips.append({path.name: path.read_bytes() for path in folder.iterdir()})
        labels.append(key.clips["label"].to_dict())
    assert pages[0] == pages[1]
    assert clips[0] == clips[1]
    assert labels[0] != labels[1]


def test_pictures_hold_every_frame_and_no_metadata(package, study):
    folder, key = package
    page, _ = told(folder)
    index = records.read_index(study / "dataset").reset_index()
    for clip in page["clips"][:5]:
        content = (folder / clip["sheets"][0]).read_bytes()
        assert clip["name"] == hashlib.sha256(content).hexdigest()[:12]
        image = Image.open(io.BytesIO(content))
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert b"Exif" not in content
        sheet = np.asarray(image)
        true = key.clips.loc[clip["name"]]
        [i] = index["index"][index["clip_id"] == true["clip_id"]]
        assert (clip["frames"], clip["fps"]) == (len(SHADES), 8.0)
        for frame, expected in enumerate(picture(i)):
            x = frame % clip["columns"] * clip["cell"][0]
            y = frame // clip["columns"] * clip["cell"][1]
            shown = sheet[y : y + clip["height"], x : x + clip["width"]]
            assert np.abs(shown.astype(int) - expected).mean() < 3


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 30, 40), (100, 500, 700), (7, 16, 16)])
def test_long_and_large_clips_are_shrunk_and_go_on_several_sheets(frames, height, width):
    clip = np.zeros((frames, height, width, 3), np.uint8)
    clip += np.arange(frames, dtype=np.uint8)[:, None, None, None] * 2
    shown = rating_clips.encode(clip, fps=25.0, side=360, quality=90)
    assert min(shown.width, shown.height) == min(height, width, 360)
    seen = []
    for sheet in shown.sheets:
        image = np.asarray(Image.open(io.BytesIO(sheet)))
        assert max(image.shape) <= 4096
        for place in range(min(shown.per_sheet, frames - len(seen))):
            y, x = divmod(place, shown.columns)
            seen.append(image[y * shown.cell[1] + 5, x * shown.cell[0] + 5, 0])
    np.testing.assert_allclose(seen, np.arange(frames) * 2, atol=2)
    assert len(shown.sheets) == (2 if frames == 100 else 1)


@pytest.mark.parametrize("scheme", ["fixed", "kfold"])
@pytest.mark.parametrize("group", ["animal", "cage"])
def test_the_draw_is_balanced_over_classes_and_spread_over_animals(tmp_path, scheme, group):
    study = make_study(tmp_path / "study", animals=8, scheme=scheme, group=group)
    index = records.read_index(study / "dataset")
    splits = read_splits(study / "dataset")
    drawn = rating_clips.choose(index, splits, number=65, examples=1, seed=3)
    rated, examples = drawn.rated, drawn.examples
    assert np.bincount(rated["label"]).tolist() == [4] * 15
    assert np.bincount(examples["label"]).tolist() == [1] * 15
    assert (drawn.wanted, drawn.short, drawn.short_examples) == (4, {}, {})
    assert set(rated["split"]) == {"test"}
    assert set(rated[group]).isdisjoint(examples[group])
    assert set(examples["split"]) == {"train" if scheme == "fixed" else "test"}
    free = index[(index["split"] == "test") & ~index[group].isin(examples[group])]
    assert set(rated[group]) == set(free[group])  # every one that can be
    uses = rated.groupby([rated["label"] // 5, group]).size()
    assert (uses.groupby("label").max() - uses.groupby("label").min()).max() <= 1
    assert rated.groupby("label")["video"].nunique().min() >= min(4, free["video"].nunique() // 15)
    again = rating_clips.choose(index, splits, number=65, examples=1, seed=3)
    pd.testing.assert_frame_equal(rated, again.rated)
    other = rating_clips.choose(index, splits, number=65, examples=1, seed=4)
    assert set(other.rated["clip_id"]) != set(rated["clip_id"])


def test_a_class_with_too_few_clips_and_examples_that_cannot_be_spared_are_told(tmp_path, capsys):
    study = make_study(tmp_path / "study", animals=2)
    rating.make(study, tmp_path / "pack", clips=75, examples=1)
    out = capsys.readouterr().out
    assert "clips       60, 5 per class, of 6 animals" in out
    assert "fewer clips than requested; the animals allow: inflammatory@d1 4" in out
    assert "fewer examples than requested" in out  # two animals of a condition: both are rated
    key = files.read_key(tmp_path / "pack.key.json")
    assert set(key.body["short"].values()) == {4}


def test_the_same_seed_gives_the_same_bytes(study, tmp_path):
    for name in ("a", "b"):
        rating.make(study, tmp_path / name, clips=15, seed=5)
    assert (tmp_path / "a.key.json").read_bytes() == (tmp_path / "b.key.json").read_bytes()
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_make_refuses_what_it_cannot_do(study, package, tmp_path):
    with pytest.raises(FileExistsError, match=r"pack: exists already.*another --out"):
        rating.make(study, package[0])
    with pytest.raises(ValueError, match="14 clips of 15 classes"):
        rating.make(study, tmp_path / "few", clips=14)
    with pytest.raises(ValueError, match="no finished dataset"):
        rating.make(tmp_path, tmp_path / "none")
    assert not list(tmp_path.iterdir())


def test_names_of_classes_are_shown_as_text_and_never_run(tmp_path):
    hostile = [f"</script><script>alert({i})</script>" for i in range(15)]
    study = make_study(tmp_path / "study", taxonomy=Taxonomy(tuple(hostile)))
    rating.make(study, tmp_path / "pack", clips=15, examples=1)
    read, page = told(tmp_path / "pack")
    assert read["fine"] == hostile
    assert "<script>alert" not in page


def test_the_score_is_written_for_the_report_with_every_method_named(study, package, capsys):
    folder, key = package
    paths = [
        scripted_rater.write(
            study.parent / f"r{i}.json", scripted_rater.answer(key, f"R{i}", seed=i)
        )
        for i in range(2)
    ]
    other = f"bsoid={study / 'predictions.parquet'}"
    key_path = folder.with_name("pack.key.json")
    rating.score(key_path, paths, workdir=study, against=[other], bootstrap=200)
    figures = json.loads((study / "raters.json").read_text())
    assert list(figures["against"]) == ["model", "bsoid"]
    assert figures["against"]["model"] == figures["against"]["bsoid"]
    # What B-SOiD left in the study is compared with unasked.
    (study / "explain").mkdir(exist_ok=True)
    beside = study / "explain" / "bsoid.parquet"
    beside.write_bytes((study / "predictions.parquet").read_bytes())
    rating.score(key_path, paths, workdir=study, bootstrap=200)
    beside.unlink()
    found = json.loads((study / "raters.json").read_text())["against"]
    assert found["B-SOiD"] == found["model"]
    printed = capsys.readouterr().out
    accuracy = figures["pooled"]["fine"]["accuracy"]["value"]
    assert f"{100 * accuracy:.1f} %" in printed
    assert "raters.json" in printed
    for wrong, why in (("bsoid", "must be NAME=FILE"), ("model=x", "already")):
        with pytest.raises(ValueError, match=why):
            rating.score(key_path, paths, workdir=study, against=[wrong])
    rating.score(key_path, paths, out=study.parent / "alone.json", bootstrap=200)
    assert json.loads((study.parent / "alone.json").read_text())["against"] == {}


def test_other_words_are_told_the_usage(monkeypatch):
    started = {}
    monkeypatch.setattr(rate.cli, "start_plain", lambda run, words: started.update(run=run))
    holder = flags.FlagValues()
    monkeypatch.setattr(rate, "flags", _Flags(holder))
    rate.main()
    holder(["rate"])
    for words in ((), ("make",), ("score", "a.json"), ("list",)):
        with pytest.raises(app.UsageError, match="write `make"):
            started["run"](*words)


class _Flags:
    """Defines flags in a holder of its own, so that the binary can be started in a test."""

    def __init__(self, holder):
        self.holder = holder

    def __getattr__(self, name):
        def define(*args, **kwargs):
            return getattr(flags, name)(*args, flag_values=self.holder, **kwargs)

        return define
