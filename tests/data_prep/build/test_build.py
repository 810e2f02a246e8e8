import dataclasses
import hashlib
import os
import shutil
import sys

import numpy as np
import pytest
from video_files import LOSSLESS, write_video

from data_prep import cohort
from data_prep.build import dataset as build
from mpjax.config import BuildConfig, SplitConfig, VideoConfig
from mpjax.data import clips, records, video_metadata
from mpjax.data.splits import read_splits

CLIPS = VideoConfig(frames=4, stride=4, short_side=32)
CONFIG = BuildConfig(clips_per_shard=6, workers=1)


def write_cohort(folder, *, animals=6, frames=13):
    """Two conditions; each animal on one day; every picture shows its animal's gray level."""
    folder.mkdir(exist_ok=True)
    rows = ["video,animal,condition,day"]
    for i in range(animals):
        pictures = [np.full((32, 48, 3), (20 + 30 * i + t) % 256, np.uint8) for t in range(frames)]
        write_video(folder / f"v{i}.mp4", pictures)
        rows.append(f"v{i}.mp4,a{i},{'none' if i % 2 else 'neuropathic'},{7 if i % 2 else 3}")
    path = folder / "cohort.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def read(path):
    return cohort.read_cohort(path, split=SplitConfig(scheme="kfold", folds=3))


def run_build(path, out, *, config=CONFIG):
    return build.build(read(path), out, clip_config=CLIPS, config=config)


def content(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    path = write_cohort(folder / "cohort")
    run_build(path, folder / "dataset")
    return path, folder / "dataset"


def test_every_clip_of_every_recording_is_there_with_its_own_metadata(built):
    dataset = built[1]
    source = records.RecordSource(dataset)
    assert len(source) == 6 * 3
    fine = read_splits(dataset).taxonomy.fine
    seen = []
    for i in range(len(source)):
        example = records.decode_example(source[i])
        animal = int(example["animal"][1:])
        name = "none@d7" if animal % 2 else "neuropathic@d3"
        assert fine[example["label"]] == name
        level = clips.decode_frames(example["frames"])[0].mean()
        assert level == pytest.approx(20 + 30 * animal + example["start_frame"], abs=4)
        seen.append((example["video"], example["start_frame"]))
    assert sorted(seen) == [(f"v{a}.mp4", s) for a in range(6) for s in (0, 4, 8)]


def test_shards_are_sorted_by_clip_id_and_chosen_by_its_hash(built):
    index = records.read_index(built[1])
    shards = tuple(sorted(records.read_manifest(built[1])["shards"]))
    assert len(shards) == 3
    from data_prep.build.pipeline import shard_of

    for shard, rows in index.groupby("shard"):
        assert rows["clip_id"].is_monotonic_increasing
        assert all(shard_of(clip_id, shards) == shard for clip_id in rows["clip_id"])


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_number_of_workers(built, tmp_path):
    path, dataset = built
    run_build(path, tmp_path / "dataset", config=BuildConfig(clips_per_shard=6, workers=2))
    assert content(tmp_path / "dataset") == content(dataset)


@pytest.mark.slow
def test_beam_writes_the_same_bytes_and_failures(tmp_path):
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed")
    path = write_cohort(tmp_path / "cohort")
    (tmp_path / "cohort" / "v1.mp4").write_bytes(b"not a video")
    run_build(path, tmp_path / "dataset")
    runner = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
    out = tmp_path / "beams"
    build.build(read(path), out, clip_config=CLIPS, config=CONFIG, beam_options=[runner])
    assert content(out) == content(tmp_path / "dataset")
    assert (out / build.FAILURES_FILE).read_text().count("v1.mp4") >= 1


def test_beams_options_without_beam_are_refused_before_any_work(tmp_path, monkeypatch):
    path = write_cohort(tmp_path / "cohort")
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "data_prep.build.runner", raising=False)
    monkeypatch.delattr("data_prep.build.runner", raising=False)
    with pytest.raises(ImportError, match="apache_beam"):
        build.build(read(path), tmp_path / "d", beam_options=["--runner=FlinkRunner"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["cohort"]


def test_tfds_opens_the_metadata_and_agrees_on_the_counts(built):
    import tensorflow_datasets as tfds

    info = tfds.builder_from_directory(str(built[1])).info
    assert info.splits["test"].num_examples == 18
    assert info.splits["test"].num_shards == 3
    assert set(info.features) == {*records.METADATA, "frames"}
    names = {f"clips-test.tfrecord-{i:05d}-of-00003" for i in range(3)}
    assert {os.path.basename(name) for name in info.splits["test"].filenames} == names


def test_tensorflow_reads_equal_content_where_it_is_installed(built):
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    shards = sorted(str(path) for path in built[1].glob("*.tfrecord-*"))
    theirs = {bytes(record.numpy()) for record in tf.data.TFRecordDataset(shards)}
    source = records.RecordSource(built[1])
    assert theirs == {source[i] for i in range(len(source))}


def test_an_unchanged_cohort_is_not_built_again(tmp_path, capfd):
    path = write_cohort(tmp_path / "cohort")
    run_build(path, tmp_path / "dataset")
    before = content(tmp_path / "dataset")
    (tmp_path / "dataset" / "mark").touch()
    run_build(path, tmp_path / "dataset")
    assert "unchanged" in capfd.readouterr().err
    assert (tmp_path / "dataset" / "mark").exists()
    video = tmp_path / "cohort" / "v0.mp4"
    write_video(video, [np.full((32, 48, 3), 200, np.uint8)] * 13)
    run_build(path, tmp_path / "dataset")
    assert not (tmp_path / "dataset" / "mark").exists()
    assert content(tmp_path / "dataset") != before


@pytest.mark.parametrize("harm", ["index", "shard", "cut", "failures", "features", "manifest"])
def test_a_dataset_that_has_lost_a_part_is_built_again(tmp_path, capfd, harm):
    path, out = write_cohort(tmp_path / "cohort"), tmp_path / "dataset"
    run_build(path, out)
    before = content(out)
    shard = max(out.glob("*.tfrecord-*"), key=lambda file: file.stat().st_size)
    names = {"index": records.INDEX_FILE, "failures": build.FAILURES_FILE, "shard": shard.name}
    if harm == "cut":
        shard.write_bytes(shard.read_bytes()[:-5])
    elif harm == "manifest":
        (out / records.MANIFEST_FILE).write_text('{"format": "mpja')
    elif harm == "features":
        (out / "features.json").write_text("")
    else:
        (out / names[harm]).unlink()
    run_build(path, out)
    lines = [line for line in capfd.readouterr().err.splitlines() if str(out) in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"dataset {out}: damaged, built again (")
    assert content(out) == before


def test_a_damaged_manifest_is_reported_with_a_way_out_that_a_build_follows(built, tmp_path):
    damaged = tmp_path / "dataset"
    shutil.copytree(built[1], damaged)
    (damaged / records.MANIFEST_FILE).write_text("{")
    with pytest.raises(records.RecordError, match=r"dataset\.json: damaged, not JSON; run"):
        records.read_manifest(damaged)
    run_build(built[0], damaged)
    assert content(damaged) == content(built[1])


def test_a_dataset_that_has_lost_its_manifest_is_not_overwritten_but_reported(built, tmp_path):
    lost = tmp_path / "dataset"
    shutil.copytree(built[1], lost)
    (lost / records.MANIFEST_FILE).unlink()
    with pytest.raises(build.BuildError, match=r"delete this one, .* lost its dataset\.json"):
        run_build(built[0], lost)
    assert (lost / records.INDEX_FILE).exists()


def test_a_recording_shorter_than_a_clip_repeats_its_last_frame_and_says_so(tmp_path):
    path = write_cohort(tmp_path / "cohort", frames=3)
    run_build(path, tmp_path / "dataset")
    source = records.RecordSource(tmp_path / "dataset")
    assert len(source) == 6
    assert source.index["padded_frames"].tolist() == [1] * 6
    frames = clips.decode_frames(records.decode_example(source[0])["frames"])
    assert frames.shape[0] == 4
    np.testing.assert_array_equal(frames[2], frames[3])


# What the files tell, and masks


def test_each_recordings_file_is_described_beside_the_records(built):
    table = video_metadata.read(built[1]).set_index("video")
    assert len(table) == 6
    row = table.loc["v0.mp4"]
    assert (row["codec"], row["width"], row["height"], row["fps"]) == ("h264", 48, 32, 25.0)
    assert row["encoder"].startswith("Lavf")
    size = (built[0].parent / "v0.mp4").stat().st_size
    assert row["size_bytes"] == size
    assert row["bytes_per_frame"] == pytest.approx(size / 13)
    assert row["bit_rate_kbps"] == pytest.approx(size * 8e-3 / (13 / 25))


def test_dates_and_cameras_follow_the_cohort_without_a_new_build(tmp_path, capfd):
    path = write_cohort(tmp_path / "cohort")
    run_build(path, tmp_path / "dataset")
    stamp = records.read_manifest(tmp_path / "dataset")["fingerprint"]
    lines = path.read_text().splitlines()
    lines = [f"{lines[0]},date,camera"] + [f"{line},2026-03-0{1 + i},c{i % 2}" for i, line in
                                           enumerate(lines[1:])]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    run_build(path, tmp_path / "dataset")
    assert "unchanged" in capfd.readouterr().err
    assert records.read_manifest(tmp_path / "dataset")["fingerprint"] == stamp
    table = video_metadata.read(tmp_path / "dataset").set_index("video")
    assert table["date"]["v3.mp4"] == "2026-03-04"
    assert table["camera"].tolist() == ["c0", "c1"] * 3


def test_a_dataset_of_an_older_version_gets_the_table_without_a_new_build(tmp_path):
    path = write_cohort(tmp_path / "cohort")
    run_build(path, tmp_path / "dataset")
    before = content(tmp_path / "dataset")
    (tmp_path / "dataset" / video_metadata.FILE).unlink()
    assert video_metadata.read(tmp_path / "dataset") is None
    run_build(path, tmp_path / "dataset")
    assert content(tmp_path / "dataset") == before


def test_what_is_masked_is_uniform_in_the_records_and_a_mask_makes_another_dataset(tmp_path):
    folder = tmp_path / "cohort"
    path = write_cohort(folder)
    rng = np.random.default_rng(0)
    pictures = [np.full((64, 96, 3), 90, np.uint8) for _ in range(13)]
    for picture in pictures:
        picture[40:56, 60:90] = rng.integers(0, 256, (16, 30, 3), np.uint8)  # a restless counter
    for i in range(6):
        # Lossless: a codec smears a few px around the counter, which only a larger box hides.
        write_video(folder / f"v{i}.mp4", pictures, codec_options=LOSSLESS)
    masked = dataclasses.replace(CLIPS, mask=("60:40:30:16",))
    plain = build.build(read(path), tmp_path / "plain", clip_config=CLIPS, config=CONFIG)
    other = build.build(read(path), tmp_path / "masked", clip_config=masked, config=CONFIG)
    assert plain["fingerprint"] != other["fingerprint"]
    assert "mask" not in plain["video"]
    assert other["video"]["mask"] == ["60:40:30:16"]
    assert video_metadata.read(tmp_path / "masked")["mask_boxes"].eq(1).all()
    source = records.RecordSource(tmp_path / "masked")
    for i in range(len(source)):
        frames = clips.decode_frames(records.decode_example(source[i])["frames"])
        box = frames[:, 20:28, 30:45]  # half of the original's size
        assert box.max() <= 6  # JPEG's ringing at the edge of the black
        assert np.ptp(box.astype(int), axis=0).max() <= 2
        assert frames[:, :12, :24].min() > 80
    with pytest.raises(ValueError, match=r"config.video.mask: box '60:40'"):
        build.build(
            read(path), tmp_path / "bad", clip_config=dataclasses.replace(CLIPS, mask=("60:40",))
        )
