import base64
import html as escaping
import re

import pytest

from mpjax.report import page as html
from mpjax.report.sections import saliency as section

LEVELS = [0.0, 0.5, 1.0]


def entry(value, low, high, n=6):
    return {"value": value, "ci95": [low, high], "n": n}


def make_saliency(better=(0.1, 0.05, 0.15), **changes):
    test = {"better": entry(*better), "share": entry(5 / 6, 0.5, 1.0), "area": 0.4}
    check = {
        name: dict.fromkeys(("deletion", "insertion"), test | {"random_area": 0.5})
        for name in ("gradients", "occlusion", "difference")
    }
    curve = {"deletion": [0.9, 0.3, 0.2], "insertion": [0.2, 0.8, 0.9]}
    band = {"mean": [0.9, 0.5, 0.2], "low": [0.9, 0.4, 0.2], "high": [0.9, 0.6, 0.2]}
    curves = {"levels": LEVELS, **dict.fromkeys(check, curve)}
    curves["random"] = dict.fromkeys(("deletion", "insertion"), band)
    clips = [
        {"kind": kind, "clip_id": f"c{i}", "animal": f"<m{i}>", "video": "v.mp4", "start_s": 1.5,
         "true": "sni", "predicted": name, "p": 0.9, "p_background": 0.4, "file": f"{i}.webp",
         "areas": {"occlusion": {"deletion": 0.4, "insertion": 0.6}},
         "neighbours": [{"clip_id": "n", "animal": "o", "video": "w.mp4", "start_s": 0.0,
                         "class": "sni@d7", "distance": 0.2}] * (1 + i)}
        for i, (kind, name) in enumerate(
            [("right", "sni"), ("wrong", "no_pain"), ("drawn", "sni")]
        )
    ]  # fmt: skip
    return {"classes": ["no_pain", "sni"], "pain": True, "check": check, "curves": curves,
            "clips": clips, "settings": {"random": 10}} | changes  # fmt: skip


def render(saliency, folder):
    template = html.make_environment().get_template("sections/saliency.html.j2")
    return template.render(
        metrics={} if saliency is None else {"saliency": saliency},
        figures=section.draw(saliency or {}),
        tables=section.tabulate(saliency or {}),
        saliency_answers=section.headline(saliency or {}),
        saliency_clips=section.show_clips(saliency or {}, folder),
    )


@pytest.fixture
def folder(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.webp").write_bytes(b"RIFF" + bytes([i]))
    return tmp_path


def test_the_section_holds_verdict_curves_and_the_pictures_of_the_shown_clips(folder):
    page = render(make_saliency(), folder)
    text = escaping.unescape(re.sub(r"<[^>]+>", " ", page))
    assert "The map shows what the model used." in text
    assert "in 5 of 6 clips the probability fell faster" in text
    assert "The maps show what the model used, not what hurts" in text
    assert page.count("<svg") == 2
    pictures = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    assert [base64.b64decode(each)[-1] for each in pictures] == [0, 1]
    assert "Nearest training clips, of other animals: sni@d7 (2)." in text
    assert "&lt;m0&gt;" in page
    assert "<m0>" not in page


@pytest.mark.parametrize(
    ("better", "verdict"),
    [
        ((0.1, -0.02, 0.2), "cannot be distinguished from random"),
        ((-0.1, -0.2, -0.05), "worse than random: do not use this map"),
    ],
)
def test_a_map_that_fails_the_check_is_called_so(better, verdict):
    assert verdict in section.headline(make_saliency(better))[0]


def test_without_an_interval_there_is_no_verdict():
    saliency = make_saliency()
    for tests in saliency["check"].values():
        for each in tests.values():
            each["better"] = {"value": 0.1, "n": 2, "ci95": None, "why": "a single animal"}
    assert "no verdict, because a single animal" in section.headline(saliency)[0]
    assert section.tabulate(saliency)["saliency_check"].rows[0]["note"] == "a single animal"


def test_what_was_not_explained_says_why_and_no_saliency_leaves_no_section(folder):
    page = render({"value": None, "why": "no held-out clip"}, folder)
    assert "Not shown: no held-out clip." in page
    assert render(None, folder).strip() == ""


def test_a_picture_that_is_gone_is_left_out(folder):
    (folder / "0.webp").unlink()
    assert render(make_saliency(), folder).count("<img") == 1
    assert render(make_saliency(), None).count("<img") == 0
