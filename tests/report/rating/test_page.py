import json
from unittest.mock import ANY

import pytest
from rating_browser import Rater, needs_browser
from rating_study import SHADES, make_study

from mpjax.analysis.raters import files
from mpjax.studies import rating
from mpjax.taxonomy import Taxonomy

pytest.importorskip("selenium")
pytestmark = needs_browser
ENTER, BACKSPACE, RIGHT = "\ue007", "\ue003", "\ue014"
NAME = "Zoë K. 山"
FINE = {"small": [], "pale": [], "wide": 0}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package of 15 clips with examples, its folder and its key."""
    folder = tmp_path_factory.mktemp("rating")
    study = make_study(folder / "study")
    rating.make(study, folder / "pack", clips=15, examples=1)
    return folder / "pack", files.read_key(folder / "pack.key.json"), study


@pytest.fixture(scope="module")
def one_file(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    rating.make(package[2], folder / "pack", clips=15, one_file=True)
    assert [path.name for path in (folder / "pack").iterdir()] == ["index.html"]
    return folder / "pack"


@pytest.fixture(scope="module")
def rater(tmp_path_factory):
    """A browser for what needs no kill."""
    browser = Rater(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def keys_of(fine, coarse, confidence):
    """Returns what is typed for an answer in 3 groups, 3 conditions and 5 days."""
    return f"{coarse + 1}{fine // 5 + 1}{fine % 5 + 1}{confidence}"


def plan(key, number, clip):
    """Returns (fine, coarse, confidence) of a trial: right in some trials, wrong in others."""
    true = int(key.clips.loc[clip, "label"])
    fine = true if number % 3 else (true + 4) % 15
    coarse = key.taxonomy.fine_to_coarse[true] if number % 2 else 0
    return fine, coarse, 1 + number % 5


@pytest.mark.slow
def test_what_is_typed_is_what_is_scored_through_reload_kill_and_undo(package, tmp_path):
    folder, key, study = package
    rater = Rater(tmp_path / "profile")
    rater.open(folder)
    rater.tab_to("#rater")
    rater.keys(NAME, ENTER)
    rater.until("return !document.getElementById('examples').hidden && examplePlayer.clip")
    assert rater.js("return document.querySelectorAll('.example').length") == 15
    rater.tab_to("#examples-done")
    rater.keys(ENTER)
    planned = {}

    def go_to(last):
        while True:
            clip, number = rater.shown()
            planned[clip] = plan(key, number, clip)
            if number == last:
                return clip
            rater.answer(keys_of(*planned[clip]))

    clip = go_to(6)
    rater.answer(keys_of(*planned[clip])[:2], save=False)
    rater.driver.refresh()  # within a trial, two of four questions answered
    rater.until("return !document.getElementById('start').hidden")
    rater.tab_to("#kept-list button")
    assert "5 of 15" in rater.js("return document.activeElement.textContent")
    rater.keys(ENTER)
    assert rater.shown() == [clip, 6]
    rater.answer(keys_of(*planned[clip])[2:])

    go_to(8)
    rater.keys(BACKSPACE)  # nothing chosen yet: back to clip 7, whose choices are still set
    clip, number = rater.shown()
    assert number == 7
    planned[clip] = (3, 1, 5)
    rater.keys(*[BACKSPACE] * 4)
    rater.answer(keys_of(*planned[clip]))

    go_to(11)
    assert rater.complaints() == []
    rater.kill()
    rater = Rater(tmp_path / "profile")
    rater.open(folder)
    rater.tab_to("#kept-list button")
    assert "10 of 15" in rater.js("return document.activeElement.textContent")
    rater.keys(ENTER)
    clip = go_to(15)
    rater.answer(keys_of(*planned[clip]))

    rater.until("return !document.getElementById('end').hidden")
    rater.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    rater.tab_to("#export")
    rater.keys(ENTER)
    exported = tmp_path / rater.js("return session.fileName")
    rater.until("return session.exported")
    for _ in range(100):
        if exported.exists():
            break
        rater.until("return new Promise((done) => setTimeout(() => done(true), 50))")
    assert rater.complaints() == []
    rater.close()

    rating.score(tmp_path_key(folder), [exported], workdir=study)
    [read] = files.read_answers([exported], key)
    trials = read.trials.set_index("clip")
    chosen = trials[["fine", "coarse", "confidence"]].apply(tuple, axis=1).to_dict()
    assert chosen == planned
    assert (read.rater, read.undone, read.sessions) == (NAME, 1, 3)
    assert trials["revised"].sum() == 1
    assert (trials["response_ms"] > 0).all()
    figures = json.loads((study / "raters.json").read_text())
    label = key.clips["label"]
    right = [fine == label[clip] for clip, (fine, _, _) in planned.items()]
    assert figures["pooled"]["fine"]["accuracy"]["value"] == pytest.approx(sum(right) / 15)
    confusion = figures["raters"][0]["fine"]["confusion"]
    for clip, (fine, _, _) in planned.items():
        assert confusion[label[clip]][fine] > 0
    assert sum(map(sum, confusion)) == 15


def tmp_path_key(folder):
    return folder.with_name(f"{folder.name}.key.json")


def test_every_frame_is_shown_exactly_and_reduced_motion_plays_nothing_by_itself(rater, one_file):
    reduced = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    rater.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": reduced})
    rater.open(one_file)
    rater.tab_to("#rater")
    rater.keys("frames", ENTER)
    rater.shown()
    seen = []
    for _ in range(len(SHADES) + 1):
        seen.append(
            rater.js(
                "const c = player.canvas;"
                "return c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[0]"
            )
        )
        rater.keys(RIGHT)
    assert seen == pytest.approx([*SHADES, SHADES[0]], abs=3)  # JPEG
    rater.keys(" ")
    rater.until("return player.playing && player.frame === 3")
    rater.keys(" ")
    assert not rater.js("return player.playing")
    rater.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    rater.driver.refresh()
    rater.tab_to("#kept-list button")
    rater.keys(ENTER)
    rater.shown()
    assert rater.js("return player.playing")  # where motion is not reduced, it plays


@pytest.mark.parametrize("size", [(1200, 800), (768, 1024), (1024, 768)])
def test_controls_are_large_named_and_in_view_and_texts_have_contrast(rater, package, size):
    rater.resize(*size)
    rater.open(package[0])
    rater.js("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert rater.measure() == FINE | {"tall": ANY}
    rater.tab_to("#rater")
    rater.keys(f"size {size}", ENTER)
    rater.until("return !document.getElementById('examples').hidden && examplePlayer.clip")
    assert rater.measure() == FINE | {"tall": ANY}
    rater.tab_to("#examples-done")
    rater.keys(ENTER)
    rater.shown()
    rater.keys("12")
    assert rater.measure() == FINE | {"tall": 0}
    tree = rater.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    names = {}
    for node in tree:
        if not node["ignored"]:
            names.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value"))
    for role in ("button", "slider", "image", "group", "progressbar", "heading"):
        assert names[role], role
        assert all(names[role]), (role, names[role])
    assert {"Play", "Pause"} & set(names["button"])
    assert "Which group?" in names["group"]
    rater.tab_to("#pause")
    rater.keys(ENTER)
    assert rater.measure() == FINE | {"tall": 0}


def test_where_nothing_can_be_kept_the_page_says_so_and_goes_on_from_a_file(
    rater, package, tmp_path
):
    folder, key, _ = package
    blocked = (
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }});"
        "Object.defineProperty(window, 'indexedDB', {get() { throw new Error('no'); }});"
    )
    script = rater.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": blocked}
    )
    rater.open(folder)
    rater.tab_to("#rater")
    rater.keys("nowhere", ENTER)
    rater.tab_to("#examples-done")
    rater.keys(ENTER)
    rater.shown()
    rater.answer("1234")
    assert "keeps nothing" in rater.js("return document.getElementById('alarm').innerText")
    rater.tab_to("#pause")
    rater.keys(ENTER)
    text = rater.js("return document.getElementById('text').value")
    file = tmp_path / "answers.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="nowhere has answered 1 of 15 clips"):
        files.read_answers([file], key)
    rater.js("session = null")  # lets the page go without asking
    rater.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    rater.open(folder)
    changed = tmp_path / "changed.json"
    changed.write_text(text.replace('"confidence": 4', '"confidence": 5'), encoding="utf-8")
    choose = rater.driver.find_element("id", "resume")
    choose.send_keys(str(changed))
    rater.until("return document.getElementById('alarm').innerText.includes('was changed')")
    choose.send_keys(str(file))
    assert rater.shown()[1] == 2
    assert rater.js("return session.rater") == "nowhere"


def test_a_lost_folder_of_clips_is_reported_and_no_answer_can_be_given(rater, package, tmp_path):
    (tmp_path / "alone").mkdir()
    page = (package[0] / "index.html").read_text(encoding="utf-8")
    (tmp_path / "alone" / "index.html").write_text(page.replace(package[1].package, "other"))
    rater.open(tmp_path / "alone")
    rater.tab_to("#rater")
    rater.keys("lost", ENTER)
    rater.tab_to("#examples-done")
    rater.keys(ENTER)
    rater.until("return player.root.classList.contains('failed')")
    assert "must be in the same folder as index.html" in rater.js(
        "return player.find('wait').textContent"
    )
    rater.keys("1234", ENTER)
    assert rater.js("return session.trials.length") == 0
    rater.complaints()


def test_labels_without_days_are_one_question_with_keys(rater, tmp_path):
    taxonomy = Taxonomy(tuple(f"behaviour {i:02d}" for i in range(15)))
    study = make_study(tmp_path / "study", taxonomy=taxonomy)
    rating.make(study, tmp_path / "pack", clips=15)
    rater.open(tmp_path / "pack")
    rater.tab_to("#rater")
    rater.keys("labels", ENTER)
    rater.shown()
    rater.answer("b3")  # after 9 come a, b, …
    assert rater.js("return [session.trials[0].fine, session.trials[0].coarse]") == [
        "behaviour 10",
        None,
    ]
