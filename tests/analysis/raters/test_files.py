import json

import pytest
import scripted_rater
from rating_study import make_key

from mpjax.analysis.raters import files


@pytest.fixture
def key(tmp_path):
    (tmp_path / "key.json").write_text(json.dumps(make_key()))
    return files.read_key(tmp_path / "key.json")


@pytest.fixture
def refused(tmp_path, key):
    """Returns what is said of a file of answers after a change to it."""

    def say(change, *, seal=True, text=None, **options):
        value = scripted_rater.answer(key, "R")
        change(value)
        value = files.seal(value) if seal else value
        path = tmp_path / "a.json"
        path.write_text(text(json.dumps(value)) if text else json.dumps(value))
        with pytest.raises(ValueError) as error:
            files.read_answers([path], key, **options)
        assert str(path) in str(error.value)
        return str(error.value)

    return say


def test_files_that_no_page_of_this_package_exported_are_refused_with_a_way_out(refused):
    def nothing(value):
        pass

    def improve(value):
        value["trials"][0]["confidence"] = 6 - value["trials"][0]["confidence"] % 5 - 1

    said = refused(improve, seal=False)
    assert "changed since it was exported" in said
    assert "export it again" in said
    assert "package other" in refused(lambda value: value.update(package="other"))
    assert "give the key of that package" in refused(lambda value: value.update(package="other"))
    assert "format 'mpjax.answers/9'" in refused(lambda v: v.update(format="mpjax.answers/9"))
    assert "not JSON" in refused(nothing, text=lambda text: text[:100])
    assert "no JSON object" in refused(nothing, text=lambda text: "[1]")
    assert "format None" in refused(nothing, text=lambda text: "{}")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"clip": "gone"}, "trial 1: clip 'gone'"),
        ({"fine": "asleep"}, "trial 1: fine 'asleep'"),
        ({"coarse": None}, "trial 1: coarse None"),
        ({"confidence": 6}, "trial 1: confidence 6"),
        ({"response_ms": -1}, "trial 1: response_ms -1"),
        ({"revised": "no"}, "trial 1: revised 'no'"),
    ],
)
def test_answers_outside_the_questions_are_refused(refused, change, why):
    assert why in refused(lambda value: value["trials"][0].update(change))


def test_a_clip_answered_twice_a_nameless_rater_and_no_trials_are_refused(refused):
    assert "trial 1: clip" in refused(lambda v: v["trials"].append(v["trials"][0]))
    assert "rater: must be a name" in refused(lambda v: v.update(rater=" "))
    assert "trials: must be a list" in refused(lambda v: v.update(trials={}))
    assert "sessions: must be a whole number" in refused(lambda v: v.update(sessions=None))


def test_incomplete_answers_are_refused_unless_allowed(refused):
    said = refused(lambda value: value.update(trials=value["trials"][:60]))
    assert "R has answered 60 of 75 clips" in said
    assert "--allow_incomplete" in said
    assert "leave it out" in refused(lambda v: v.update(trials=[]), allow_incomplete=True)


def test_the_same_rater_twice_is_refused_and_all_files_faults_are_told_at_once(key, tmp_path):
    paths = [
        scripted_rater.write(tmp_path / f"{i}.json", scripted_rater.answer(key, name))
        for i, name in enumerate(("Kim", "kim", "Lee"))
    ]
    paths[2].write_text("{")
    with pytest.raises(ValueError) as error:
        files.read_answers([*paths, tmp_path / "gone.json"], key)
    said = str(error.value).splitlines()
    assert len(said) == 3
    assert "1.json: rater 'kim' again" in said[0]
    assert "2.json: not JSON" in said[1]
    assert "gone.json: no such file" in said[2]
    with pytest.raises(ValueError, match="no answer files"):
        files.read_answers([], key)


def test_a_key_that_was_changed_or_is_another_file_is_refused(tmp_path):
    path = tmp_path / "key.json"
    changed = make_key()
    next(iter(changed["body"]["clips"].values()))["label"] = 14
    older = make_key() | {"format": "mpjax.rating_key/0"}
    for value, why in ((changed, "changed since it was made"), (older, "rating_key/0")):
        path.write_text(json.dumps(value))
        with pytest.raises(ValueError, match=why):
            files.read_key(path)
    with pytest.raises(FileNotFoundError, match="no such file; give the key"):
        files.read_key(tmp_path / "gone.json")
