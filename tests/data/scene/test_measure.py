"""What recordings look like: the animal taken out, timers found, boxes in px of the original."""

import json

import audited_recordings
import cv2
import numpy as np
import pandas as pd
import pytest
import simplejpeg
import small_dataset

from mpjax import taxonomy as taxonomies
from mpjax.analysis.confounds import Settings, audit_confounds
from mpjax.config import ConfoundConfig
from mpjax.data import records, video_metadata
from mpjax.data.boxes import Box, scale_to_original
from mpjax.data.scene import frames as scene_frames
from mpjax.data.scene import measure as scenes
from mpjax.data.scene import overlays

SIDE, FRAMES, PER_RECORDING = 64, small_dataset.FRAMES, 4
CONFIG = ConfoundConfig(frames=24, clips=2)


def chamber(recording, *, light=1.0):
    """An uneven floor with walls, in a light of the recording's own."""
    rng = np.random.default_rng(7)
    floor = 60 + 8 * cv2.resize(rng.standard_normal((6, 6)), (SIDE, SIDE))
    floor[:4], floor[:, :4] = 110, 110
    own = np.random.default_rng(recording).uniform(0.93, 1.07)
    return floor * own * light


def place_of(recording, t, *, kind):
    """Where the animal is: `roams`, or sits left or right but for a twitch."""
    if kind == "roams":
        angle = 2 * np.pi * t / 24 + recording
        return SIDE / 2 + 18 * np.cos(angle), SIDE / 2 + 18 * np.sin(angle)
    return {"left": 18, "right": 46}[kind] + t % 2, 34


def film(recording, t, *, kind, light=1.0):
    frame = chamber(recording, light=light)
    x, y = place_of(recording, t, kind=kind)
    mouse = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(mouse, ((x, y), (14, 9), 30), 1, -1)
    frame = np.where(mouse, 150 * light, frame)
    noise = np.random.default_rng([recording, t]).normal(0, 1.5, frame.shape)
    return np.repeat(np.clip(frame + noise, 0, 255).astype(np.uint8)[..., None], 3, 2)


def write(folder, recordings, kind_of, *, light_of=lambda r: 1.0):
    def encode(i):
        recording, clip = divmod(i, PER_RECORDING)
        pictures = [
            film(recording, clip * FRAMES + t, kind=kind_of(recording), light=light_of(recording))
            for t in range(FRAMES)
        ]
        return [simplejpeg.encode_jpeg(p, quality=95) for p in pictures]

    shape = {"frames": FRAMES, "height": SIDE, "width": SIDE}
    return small_dataset.write(
        folder, recordings * PER_RECORDING, encode=encode, shape=lambda i: dict(shape)
    )


def measure(folder, recordings, kind_of, **options):
    write(folder, recordings, kind_of, **options)
    table = scenes.measure(folder, frames=CONFIG.frames, runs=CONFIG.clips)
    order = table["video"].str.extract(r"v(\d+)", expand=False).astype(int)
    return table.set_index(order).sort_index()


def grids(table):
    return np.stack(table["grid"])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Six animals that sit left, six that sit right, six that roam."""
    kinds = ["left"] * 6 + ["right"] * 6 + ["roams"] * 6
    return measure(tmp_path_factory.mktemp("mixed") / "data", 18, kinds.__getitem__)


def test_an_animal_that_roams_is_no_part_of_the_background(tmp_path):
    table = measure(tmp_path / "data", 6, lambda r: "roams")
    truth = [scenes._by_cells(chamber(r)) for r in range(6)]
    assert np.abs(grids(table) - np.stack([t.ravel() for t in truth])).max() < 4


def test_an_animal_that_sits_still_is_replaced_by_the_common_background(mixed):
    truth = np.stack([scenes._by_cells(chamber(r)).ravel() for r in range(18)])
    assert (mixed["ghost"][:12] > 0.01).all()
    assert mixed["is_clear"].all()
    assert np.abs(grids(mixed) - truth).max() < 5
    assert mixed["mouse_x"][:6].max() < 0.4 < 0.6 < mixed["mouse_x"][6:12].min()
    assert mixed["mouse_size"].between(0.01, 0.06).all()


def audit_of(table, kinds):
    """Gives the recordings of each kind to a condition and audits them, two days an animal."""
    number = np.arange(len(table))
    fine = taxonomies.sort_fine(f"{kind}@d{day}" for kind in set(kinds) for day in (1, 7))
    days = np.where(number % 2, 7, 1)
    made = {
        "condition": list(kinds), "day": days, "animal": [f"a{n // 2}" for n in number],
        "label": [fine.index(f"{k}@d{d}") for k, d in zip(kinds, days, strict=True)],
        "cage": "", "sex": "", "split": "test",
    }  # fmt: skip
    known = {k: v for k, v in audited_recordings.SAME.items() if k not in table}
    recordings = table.assign(**made, **known, bit_rate_kbps=80.0, bytes_per_frame=400.0)
    settings = Settings("animal", bootstrap=100, permutations=399)
    return audit_confounds(recordings, taxonomies.default_taxonomy(fine), settings)


def test_animals_that_freeze_by_condition_do_not_turn_the_background_red(tmp_path):
    kinds = ["left"] * 12 + ["right"] * 12 + ["roams"] * 12
    found = audit_of(measure(tmp_path / "data", 36, kinds.__getitem__), kinds)
    assert found["families"]["background"]["status"] == "green", found["sentences"]
    assert found["families"]["picture"]["status"] == "green", found["sentences"]
    assert found["families"]["mouse"]["above_chance"]  # where they sit does tell, apart


def test_brighter_light_by_condition_does(tmp_path):
    kinds = ["left"] * 12 + ["right"] * 12 + ["roams"] * 12
    table = measure(
        tmp_path / "data", 36, kinds.__getitem__, light_of=lambda r: 1.3 if r < 12 else 1.0
    )
    found = audit_of(table, kinds)
    assert found["families"]["picture"]["status"] == "red"
    assert "left recordings are brighter" in " ".join(found["sentences"])


def test_a_lone_recording_of_a_still_animal_is_not_taken_for_clear(tmp_path):
    table = measure(tmp_path / "data", 1, lambda r: "left")
    assert not table["is_clear"].any()
    assert np.isnan(grids(table)).all()


def test_frames_are_spread_over_the_whole_recording_and_bounded(tmp_path):
    source = records.RecordSource(write(tmp_path / "data", 2, lambda r: "roams"))
    rows = source.index[source.index["video"] == "v1.mp4"]
    sample = scene_frames.draw(source, rows, frames=9, runs=2)
    assert sample.spread.shape == (9, SIDE, SIDE, 3)
    assert sample.runs.shape == (2, FRAMES, SIDE, SIDE, 3)
    assert sample.starts.tolist() == [0, 0]  # of this small dataset
    first = film(1, 0, kind="roams").astype(int)
    assert np.abs(sample.spread[0].astype(int) - first).mean() < 3
    last = film(1, 4 * FRAMES - 1, kind="roams").astype(int)
    assert np.abs(sample.spread[-1].astype(int) - last).mean() < 3


def test_a_table_is_measured_once_and_again_for_other_settings(tmp_path, monkeypatch):
    dataset = write(tmp_path / "data", 3, lambda r: "roams")
    first = scenes.read_or_measure(dataset, tmp_path / scenes.FILE, CONFIG)
    with monkeypatch.context() as patched:
        patched.setattr(scenes, "measure", None)
        again = scenes.read_or_measure(dataset, tmp_path / scenes.FILE, CONFIG)
    pd.testing.assert_frame_equal(first, again)
    assert first["camera"].eq("").all()  # built without videos.parquet
    assert first["bit_rate_kbps"].isna().all()
    other = ConfoundConfig(frames=8, clips=1)
    smaller = scenes.read_or_measure(dataset, tmp_path / scenes.FILE, other)
    assert (smaller["looked_at"] < first["looked_at"]).all()


def test_what_the_files_tell_is_joined_and_a_foreign_table_refused(tmp_path):
    dataset = write(tmp_path / "data", 2, lambda r: "roams")
    row = dict.fromkeys(video_metadata.TEXT, "x") | dict.fromkeys(
        (*video_metadata.WHOLE, *video_metadata.REAL), 1
    )
    rows = [row | {"video": f"v{i}.mp4", "roi": "10:20:128:128", "camera": f"c{i}"} for i in (0, 1)]
    video_metadata.write(dataset, pd.DataFrame(rows))
    table = scenes.read_or_measure(dataset, tmp_path / scenes.FILE, CONFIG)
    assert table.set_index("video")["camera"].to_dict() == {"v0.mp4": "c0", "v1.mp4": "c1"}
    pd.DataFrame({"video": ["v0.mp4"]}).to_parquet(dataset / video_metadata.FILE)
    with pytest.raises(ValueError, match=r"videos.parquet: lacks .*camera.*build again"):
        video_metadata.read(dataset)


# Burned in


def write_digits(frames, *, every, at=(40, 50), size=96):
    """Frames of a floor with a clock that goes on every so many frames."""
    rng = np.random.default_rng(3)
    floor = np.clip(rng.normal(40, 1, (frames, size, size)), 0, 255).astype(np.uint8)
    for t, frame in enumerate(floor):
        text = f"{t // every:03d}"
        cv2.putText(frame, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 230, 1, cv2.LINE_AA)
    return np.repeat(floor[..., None], 3, 3)


def sample_of(frames, *, fps=25.0, length=16, runs=8):
    count = len(frames) // length
    starts = np.unique(np.linspace(0, count - 1, min(runs, count)).round().astype(int)) * length
    spread = frames[np.linspace(0, len(frames) - 1, min(48, len(frames))).round().astype(int)]
    rows = np.stack([frames[start : start + length] for start in starts])
    return scene_frames.Sample(spread, rows, starts, fps)


def test_a_clock_is_found_where_it_is_and_a_picture_without_one_has_none():
    (box,) = overlays.find_timers(sample_of(write_digits(160, every=5)))
    assert 38 <= box.x <= 42
    assert 36 <= box.y <= 42
    assert box.x + box.width in range(60, 70)
    assert overlays.find_timers(sample_of(write_digits(160, every=10**6))) == []


def test_timers_are_not_looked_for_where_frames_lie_far_apart():
    why = overlays.find_timers(sample_of(write_digits(64, every=5), fps=4.0))
    assert "no search for timers at 4 frames/s" in why


def test_a_caption_that_stands_still_is_found_and_a_mouse_is_none():
    frames = write_digits(60, every=10**6)

    for frame in frames:
        cv2.putText(
            frame, "MOUSE 17 A", (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (235, 235, 235), 1
        )
    (box,) = overlays.find_captions(frames)[:1]
    assert box.y < 20 <= box.y + box.height + 2
    roaming = np.stack([film(0, t, kind="roams") for t in range(24)])
    assert overlays.find_captions(roaming) == []
    assert overlays.find_timers(sample_of(roaming, length=8)) == []


def test_boxes_are_told_in_px_of_the_original_through_the_region_of_interest():
    box = scale_to_original(Box(10, 20, 30, 8), record=(100, 200), roi=Box(50, 60, 400, 200))
    assert str(box) == "68:98:64:20"


LUPE_CLOCK = (223, 216, 240, 224)  # px of 256: where the digits are, left, top, right, bottom


@pytest.mark.slow
def test_the_red_timers_of_the_lupe_clips_are_found_and_nothing_in_other_mice(shared):
    from video_files import read_frames

    from mpjax.data import video

    def look(path):
        frames = [f for _, (_, f) in zip(range(160), read_frames(path, short_side=256),
                                         strict=False)]  # fmt: skip
        fps = video.probe(path).fps
        return overlays.find_timers(sample_of(np.stack(frames), fps=fps))

    folder = shared / "data" / "mouse_video"
    found = {path.stem: look(path) for path in sorted((folder / "lupe").glob("*.mp4"))}
    assert len(found) == 11
    assert found.pop("licking_hindpaw_L") == []  # the one without a timer
    left, top, right, bottom = LUPE_CLOCK
    for name, boxes in found.items():
        assert len(boxes) == 1, name
        (box,) = boxes
        assert box.x <= left + 2, name
        assert box.y <= top, name
        assert box.x + box.width >= right, name
        assert box.y + box.height >= bottom, name
        assert box.width * box.height < 400, name
    assert look(folder / "vame_bottom_openfield.mp4") == []


def test_a_recording_tells_its_boxes_as_json(tmp_path):
    table = measure(tmp_path / "data", 2, lambda r: "roams")
    assert [json.loads(cell) for cell in table["timers"]] == [[], []]
