"""Studies, datasets and videos in object stores, against emulators on loopback."""

import concurrent.futures
import errno
import importlib.util
import multiprocessing
import pickle

import emulators
import numpy as np
import pandas as pd
import pytest
import small_dataset
import video_files
from etils import epath

from data_prep import build, cohort
from data_prep.build import dataset as build_dataset
from mpjax import cli
from mpjax import config as configs
from mpjax.config import BuildConfig, VideoConfig
from mpjax.data import records
from mpjax.data.video import VideoError, probe, read_clips
from mpjax.io import files, stores
from mpjax.studies import stages
from mpjax.training import artifacts


@pytest.fixture(scope="module")
def s3():
    with emulators.s3() as counter:
        yield counter


@pytest.fixture(scope="module")
def gs():
    with emulators.gs():
        yield


@pytest.fixture
def folder(s3, request):
    """A folder of the bucket for one test alone."""
    return epath.Path(f"s3://lab/{request.node.originalname}")


# Ranges.


@pytest.fixture(scope="module")
def shards(s3, tmp_path_factory):
    """A dataset of 200 records, here and in the bucket."""
    local = small_dataset.write(
        tmp_path_factory.mktemp("shards") / "dataset",
        200,
        encode=lambda i: small_dataset.encode_small(i % 30),
    )
    stores.put_folder(local, "s3://lab/shards")
    return local, "s3://lab/shards"


def test_a_record_is_read_by_its_range_and_nothing_else_is_fetched(s3, shards):
    local, remote = shards
    here, there = records.RecordSource(local), records.RecordSource(remote)
    s3.clear()
    for i in (3, 117, 199):
        assert bytes(there[i]) == bytes(here[i])
    lengths = here.index["length"].to_numpy()
    assert s3.served == lengths[[3, 117, 199]].sum()
    assert s3.served < 0.02 * lengths.sum()
    assert [method for method, _ in s3.requests] == ["GET"] * 3


def test_opening_a_dataset_reads_its_manifest_and_index_and_lists_it_once(s3, shards):
    local, remote = shards
    s3.clear()
    records.RecordSource(remote)
    beside = sum((local / name).stat().st_size for name in ("index.parquet", "dataset.json"))
    assert s3.served < beside + 10_000  # of the listing
    assert not [path for _, path in s3.requests if "tfrecord" in path]


def test_a_shard_that_was_cut_in_the_store_is_refused(s3, shards, folder):
    local, _ = shards
    stores.put_folder(local, folder)
    shard = folder / "clips-test.tfrecord-00001-of-00002"
    shard.write_bytes((local / shard.name).read_bytes()[:-10])
    with pytest.raises(records.RecordError, match="bytes, but index.parquet ends at"):
        records.RecordSource(folder)
    shard.unlink()
    with pytest.raises(records.RecordError, match="shard is missing"):
        records.RecordSource(folder)


def test_threads_and_other_processes_read_the_same(shards):
    local, remote = shards
    here, there = records.RecordSource(local), records.RecordSource(remote)
    assert there[0]  # the store's loop runs before the process is started
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as processes:
        elsewhere = processes.submit(small_dataset.read_pickled, pickle.dumps(there))
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            read = list(threads.map(lambda i: bytes(there[i]), range(0, 200, 5)))
        assert elsewhere.result() == [bytes(here[i]) for i in (0, 50, 150)]
    assert read == [bytes(here[i]) for i in range(0, 200, 5)]


# Videos.


@pytest.fixture(scope="module")
def film(s3, tmp_path_factory):
    """A video of 7 MB, its index at its end, here and in the bucket."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 240, 320, 3), np.uint8)
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    video_files.write_video(path, list(noise), codec_options=video_files.LOSSLESS)
    stores.put_file(path, "s3://lab/film.mp4")
    return path, "s3://lab/film.mp4"


def test_probing_a_video_fetches_its_ends_and_one_clip_little_more(s3, film):
    local, remote = film
    size = local.stat().st_size
    assert size > 6.9e6
    s3.clear()
    info = probe(remote)
    assert (info.frames, info.size_bytes) == (60, size)
    assert s3.served < 0.2 * size
    s3.clear()
    clips = read_clips(remote, config=VideoConfig(frames=4, stride=4, short_side=0))
    clip = next(clips)
    clips.close()
    assert s3.served < 0.7 * size  # probing, and the blocks of the first frames
    here = next(read_clips(local, config=VideoConfig(frames=4, stride=4, short_side=0)))
    np.testing.assert_array_equal(clip.frames, here.frames)


def test_what_is_wrong_with_a_video_in_a_store_is_told_as_of_a_file(film, folder):
    _, remote = film
    with pytest.raises(VideoError, match="no such file"):
        probe(folder / "absent.mp4")
    cut = folder / "cut.mp4"
    cut.write_bytes(epath.Path(remote).read_bytes()[:100_000])
    with pytest.raises(VideoError, match="cut off"):
        probe(cut)


# Building.

CLIPS = VideoConfig(frames=4, stride=4, short_side=24)
ONE = BuildConfig(workers=1, clips_per_shard=4)


@pytest.fixture(scope="module")
def cohorts(s3, tmp_path_factory):
    """A cohort here, and one in the bucket that names some videos by URL."""
    local = tmp_path_factory.mktemp("cohort")
    rows = []
    for i in range(4):
        frames = [np.roll(frame, i) for frame in video_files.levels(9)]
        video_files.write_video(local / f"v{i}.mp4", frames)
        rows.append(f"v{i}.mp4,m{i},{('sni', 'sham')[i % 2]},7")
    (local / "cohort.csv").write_text("\n".join(["video,animal,condition,day", *rows]) + "\n")
    stores.put_folder(local, "s3://lab/cohort")
    return local / "cohort.csv", "s3://lab/cohort/cohort.csv"


def read_cohort(path):
    return cohort.read_cohort(path, split=configs.SplitConfig(group="animal", scheme="kfold"))


def make(path, out):
    return build.build(read_cohort(path), out, clip_config=CLIPS, config=ONE)


def contents(directory):
    """Content of each file by name, but for what names the store."""
    differs = ("dataset.json", "division.json")
    return {
        path.name: path.read_bytes()
        for path in epath.Path(directory).iterdir()
        if path.name not in differs
    }


def test_a_dataset_built_in_a_store_has_the_bytes_of_a_local_one(s3, cohorts, folder, tmp_path):
    local, remote = cohorts
    make(local, tmp_path / "dataset")
    make(remote, folder / "dataset")
    assert contents(folder / "dataset") == contents(tmp_path / "dataset")
    assert sorted(path.name for path in folder.iterdir()) == [".video_hashes.json", "dataset"]
    s3.clear()
    make(remote, folder / "dataset")  # unchanged: no video is fetched
    assert not [path for method, path in s3.requests if method == "GET" and "mp4" in path]


def clips_of(source):
    """The pictures of each clip, by its id."""
    clips = [records.decode_example(source[i]) for i in range(len(source))]
    return {clip["clip_id"]: [bytes(frame) for frame in clip["frames"]] for clip in clips}


def test_videos_may_be_urls_in_a_local_table(cohorts, tmp_path):
    local, _ = cohorts
    table = pd.read_csv(local)
    table["video"] = "s3://lab/cohort/" + table["video"]
    table.to_csv(tmp_path / "urls.csv", index=False)
    make(tmp_path / "urls.csv", tmp_path / "urls")
    make(local, tmp_path / "files")
    there, here = records.RecordSource(tmp_path / "urls"), records.RecordSource(tmp_path / "files")
    assert clips_of(there) == {f"s3://lab/cohort/{k}": v for k, v in clips_of(here).items()}


def test_a_video_that_is_replaced_in_the_store_is_built_anew(cohorts, folder):
    local, _ = cohorts
    stores.put_folder(local.parent, folder / "cohort")
    first = make(folder / "cohort" / "cohort.csv", folder / "dataset")
    content = bytearray((folder / "cohort" / "v1.mp4").read_bytes())
    content[-1] ^= 1  # of the same length
    (folder / "cohort" / "v1.mp4").write_bytes(bytes(content))
    again = build_dataset._identity(
        read_cohort(folder / "cohort" / "cohort.csv"), folder / "dataset", CLIPS, ONE
    )
    assert files.fingerprint(again) != first["fingerprint"]


@pytest.mark.parametrize("killed_at", range(6))
def test_a_folder_killed_while_it_is_moved_is_whole_at_one_end(folder, monkeypatch, killed_at):
    source, target = folder / f"{killed_at}new", folder / f"{killed_at}old"
    for name in ("a", "sub/b", "mark"):
        (source / name).write_text(f"new {name}")
        (target / name).write_text(f"old {name}")
    real, done = stores.filesystem(folder), []

    class Killed(Exception):
        pass

    class Store:
        """Of which a copy or a removal is the last."""

        def __getattr__(self, name):
            def step(*args, **options):
                if len(done) == killed_at:
                    raise Killed
                done.append(name)
                return getattr(real, name)(*args, **options)

            return step if name in ("copy", "rm") else getattr(real, name)

    with monkeypatch.context() as patch:
        patch.setattr(stores, "filesystem", lambda _: Store())
        with pytest.raises(Killed):
            stores.move_folder(source, target, mark="mark")

    def whole(path):
        if not (path / "mark").exists():
            return False
        return all((path / name).exists() for name in ("a", "sub/b"))

    assert whole(source) or whole(target)
    if (target / "mark").exists() and done:
        assert (target / "a").read_text() == "new a"


# Writing.


def test_an_object_is_written_whole_or_stays_as_it_was(folder):
    path = folder / "file.txt"
    with files.write_aside(path) as aside:
        aside.write_text("first")

    def fail_half_way():
        with files.write_aside(path) as aside, aside.open("w") as out:
            out.write("half")
            out.write(str(1 / 0))

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert path.read_text() == "first"
    assert [each.name for each in folder.iterdir()] == ["file.txt"]


def test_a_checkpoint_of_a_head_comes_back_from_a_store(folder):
    head = {"final": {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.ones(3)}}
    for width in (1, 2):  # the second in place of the first
        head["final"]["bias"] = np.full(3, width)
        artifacts.save(folder / "heads", head, {"fingerprint": "x"})
    found = artifacts.restore(folder / "heads")
    np.testing.assert_array_equal(found["final"]["kernel"], head["final"]["kernel"])
    np.testing.assert_array_equal(found["final"]["bias"], [2, 2, 2])


# Refusals.


def test_an_absent_package_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    stores._prepare.cache_clear()
    try:
        for url, extra in (("s3://lab/x", "mpjax[s3]"), ("gs://lab/x", "mpjax[gcs]")):
            with pytest.raises(ImportError) as error:
                files.absolute(url)
            assert f"pip install '{extra}'" in str(error.value)
    finally:
        stores._prepare.cache_clear()


def test_a_url_of_no_store_and_one_without_a_bucket_are_refused():
    with pytest.raises(ValueError, match=r"ftp://: no such store; use gs://, s3:// or a local"):
        files.absolute("ftp://lab/x")
    with pytest.raises(ValueError, match="names no bucket"):
        files.absolute("s3://")


def test_a_bucket_that_is_not_there_is_named_and_not_made(s3):
    with pytest.raises(OSError, match=r"s3://absent/x/a.json: cannot be written .*bucket"):
        files.write_json("s3://absent/x/a.json", {})
    assert not stores.filesystem("s3://lab").exists("s3://absent")


def test_training_on_clips_is_refused_where_its_checkpoints_cannot_be_written(folder):
    config = configs.to_config_dict(configs.StudyConfig())
    config.train.what, config.split.scheme, config.synthetic.run = "all", "fixed", True
    with pytest.raises(artifacts.CheckpointError, match=r"local or gs:// --workdir"):
        stages.run(configs.from_config_dict(config), folder)
    assert not folder.exists()


def test_a_store_that_refuses_is_told_in_one_line(s3, monkeypatch, capsys):
    from absl import app

    def deny():
        from botocore.exceptions import NoCredentialsError

        raise NoCredentialsError

    monkeypatch.setattr(app, "run", lambda main, **_: main(["x"]))
    monkeypatch.setattr(app.flags, "DEFINE_bool", lambda *_: type("Off", (), {"value": False}))
    with pytest.raises(SystemExit, match="1"):
        cli.start_plain(deny)
    told = "error: the store refuses (NoCredentialsError: Unable to locate credentials)"
    assert told in capsys.readouterr().err


# Google's.


def test_a_dataset_is_built_and_replaced_in_gs(gs, cohorts):
    local, _ = cohorts
    stores.put_folder(local.parent, "gs://lab/cohort")
    out = epath.Path("gs://lab/built/dataset")
    first = make("gs://lab/cohort/cohort.csv", out)
    other = build.build(
        read_cohort("gs://lab/cohort/cohort.csv"),
        out,
        clip_config=VideoConfig(frames=4, stride=2, short_side=24),
        config=ONE,
    )
    assert sum(other["clips"].values()) > sum(first["clips"].values())
    assert len(records.RecordSource(out)) == sum(other["clips"].values())
    beside = [path.name for path in out.parent.iterdir()]
    assert sorted(beside) == [".video_hashes.json", "dataset"]


def test_an_empty_path_is_refused_and_not_taken_for_the_current_folder():
    with pytest.raises(ValueError, match="an empty path"):
        stores.ready("")


def test_a_full_disk_is_named_and_nothing_half_written_stays(tmp_path):
    def fill():
        with files.write_aside(tmp_path / "a.json") as aside:
            aside.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"no space left on the disk, so a\.json was not written"):
        fill()
    assert not list(tmp_path.iterdir())
