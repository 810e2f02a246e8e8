"""Builds that fail: full disks, unreadable videos, kills, foreign folders."""

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from etils import epath

from data_prep.build import dataset as build
from mpjax.data import records
from tests.data_prep.build.test_build import CLIPS, CONFIG, content, read, run_build, write_cohort

FULL = "OSError: [Errno 28] No space left on device"
WRAPPED = "OSError: /d/spill: no space left on the disk, so 0.json was not written"


def test_a_disk_that_is_full_is_one_clear_error(tmp_path, monkeypatch):
    path = write_cohort(tmp_path / "cohort")

    def refuse(*_, **__):
        raise OSError(WRAPPED[9:])

    monkeypatch.setattr(build.pipeline, "gather", refuse)
    with pytest.raises(build.BuildError) as raised:
        run_build(path, tmp_path / "dataset")
    line = str(raised.value)
    assert line.startswith(f"{tmp_path}: cannot write the dataset ({WRAPPED[9:]}); ")
    assert not (tmp_path / "dataset").exists()


def fail_in_beam(tmp_path, monkeypatch, error):
    """Runs a Beam pipeline that raises `error` as Beam hands it on."""
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed")
    from data_prep.build import runner

    def fail(**_):
        raise error

    monkeypatch.setattr(runner.beam, "Pipeline", fail)
    runner.run([], epath.Path(tmp_path), CLIPS, options=[])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError(f"{FULL} [while running 'Decode']"), FULL[9:]),
        # As several processes hand it on: the cause first, what was raised of it at the end.
        (
            RuntimeError(f"Traceback\n{FULL}\n\nTraceback\n{WRAPPED} [while running 'Write']\n\n"),
            WRAPPED[9:],
        ),
        (
            RuntimeError("PermissionError: /d: cannot write here [while running 'Write']"),
            "/d: cannot write here",
        ),
        (OSError("/d/spill: no space left [while running 'Decode']"), "/d/spill: no space left"),
    ],
)
def test_beams_text_of_a_system_error_becomes_that_error(tmp_path, monkeypatch, error, reason):
    with pytest.raises(OSError, match=f"^{re.escape(reason)}$"):
        fail_in_beam(tmp_path, monkeypatch, error)


def test_beams_text_of_an_error_of_the_code_stays_one(tmp_path, monkeypatch):
    error = RuntimeError(f"{FULL}\n\nTraceback\nKeyError: 'shard' [while running 'Write']")
    with pytest.raises(RuntimeError, match="KeyError"):
        fail_in_beam(tmp_path, monkeypatch, error)


def test_a_disk_that_is_full_at_the_end_is_the_same_error_and_the_build_resumes(
    tmp_path, monkeypatch
):
    path = write_cohort(tmp_path / "cohort")

    def refuse(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(build.records, "index_bytes", refuse)
        with pytest.raises(build.BuildError, match="cannot write the dataset .*No space left"):
            run_build(path, tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()
    run_build(path, tmp_path / "dataset")
    run_build(path, tmp_path / "clean")
    assert content(tmp_path / "dataset") == content(tmp_path / "clean")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_workers_raise_is_one_line(tmp_path, workers):
    path = write_cohort(tmp_path / "cohort")
    # Two files would have one name: an OSError within the workers that root meets as well.
    code = (
        "import sys; from data_prep.build import dataset as build; from mpjax.io import files\n"
        "import pathlib\n"
        "cohort = build.cohorts.read_cohort(sys.argv[1])\n"
        "config = build.BuildConfig(workers=int(sys.argv[3]))\n"
        "stamp = files.fingerprint(build._identity(cohort, build.epath.Path(sys.argv[2]), "
        "build.VideoConfig(), config))\n"
        "spill = pathlib.Path(sys.argv[2]).parent / f'.d.{stamp}.part' / 'spill'\n"
        "(spill / '000000.tfrecord').mkdir(parents=True)\n"
        "try: build.build(cohort, sys.argv[2], config=config)\n"
        "except build.BuildError as error: sys.exit(f'error: {error}')\n"
    )
    words = [sys.executable, "-c", code, str(path), str(tmp_path / "d"), str(workers)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert re.search(r"cannot write the dataset \(.*000000\.tfrecord is a directory\);", lines[0])
    assert "Traceback" not in done.stderr


def test_unreadable_videos_are_listed_and_the_rest_is_built(tmp_path):
    path = write_cohort(tmp_path / "cohort")
    (tmp_path / "cohort" / "v1.mp4").write_bytes(b"")
    whole = (tmp_path / "cohort" / "v2.mp4").read_bytes()
    (tmp_path / "cohort" / "v2.mp4").write_bytes(whole[: len(whole) // 2])
    manifest = run_build(path, tmp_path / "dataset")
    assert [failure["video"] for failure in manifest["failures"]] == ["v1.mp4", "v2.mp4"]
    listed = (tmp_path / "dataset" / build.FAILURES_FILE).read_text().splitlines()
    assert listed[0] == "video,reason"
    assert len(listed) == 3
    assert set(records.RecordSource(tmp_path / "dataset").index["video"]) == {
        f"v{i}.mp4" for i in (0, 3, 4, 5)
    }


def test_a_video_without_read_permission_is_listed_too(tmp_path, monkeypatch):
    path = write_cohort(tmp_path / "cohort")
    kind = type(epath.Path(tmp_path))
    opened = kind.open

    def refuse(self, *args, **kwargs):
        if self.name == "v3.mp4":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(kind, "open", refuse)
    hashes = build._video_hashes(read(path).table["path"], epath.Path(tmp_path / "cache.json"))
    assert [h.startswith("unreadable") for h in hashes] == [False] * 3 + [True] + [False] * 2


def test_failures_are_tried_again_unless_they_are_allowed(tmp_path, capfd):
    path = write_cohort(tmp_path / "cohort")
    (tmp_path / "cohort" / "v1.mp4").write_bytes(b"")
    run_build(path, tmp_path / "dataset")
    run_build(path, tmp_path / "dataset")
    assert "unchanged" not in capfd.readouterr().err
    allowed = dataclasses.replace(CONFIG, allow_failures=True)
    assert run_build(path, tmp_path / "dataset", config=allowed)["failures"]
    assert "unchanged" in capfd.readouterr().err


def test_a_build_killed_between_its_last_two_renames_is_found_whole(tmp_path, capfd):
    path = write_cohort(tmp_path / "cohort")
    stamp = run_build(path, tmp_path / "d")["fingerprint"]
    (tmp_path / "d").rename(tmp_path / f".d.{stamp}.part")
    (tmp_path / ".d.old").mkdir()
    (tmp_path / ".d.e.0123456789abcdef.part").mkdir()  # of another dataset, `d.e`
    run_build(path, tmp_path / "d")
    assert "unchanged" in capfd.readouterr().err
    assert not (tmp_path / ".d.old").exists()
    assert (tmp_path / ".d.e.0123456789abcdef.part").exists()


def test_nothing_is_built_when_no_video_can_be_read(tmp_path):
    path = write_cohort(tmp_path / "cohort")
    for video in (tmp_path / "cohort").glob("*.mp4"):
        video.write_bytes(b"not a video")
    with pytest.raises(build.BuildError, match="no video could be read"):
        run_build(path, tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()


def test_a_folder_with_other_files_is_not_overwritten(tmp_path):
    path = write_cohort(tmp_path / "cohort")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "thesis.docx").write_text("precious")
    with pytest.raises(build.BuildError, match="holds other files"):
        run_build(path, tmp_path / "dataset")
    assert (tmp_path / "dataset" / "thesis.docx").read_text() == "precious"


def test_unwritable_output_is_one_clear_error(tmp_path):
    path = write_cohort(tmp_path / "cohort")
    (tmp_path / "file").write_text("")
    with pytest.raises(build.BuildError, match="cannot be written"):
        run_build(path, tmp_path / "file" / "dataset")


def command(path, out, *flags):
    return [
        *(sys.executable, "-m", "data_prep.build", f"--cohort={path}", f"--out={out}"),
        *("--config.video.frames=4", "--config.video.stride=4", "--config.video.short_side=32"),
        *("--config.split.scheme=kfold", "--config.build.workers=2", *flags),
    ]


@pytest.mark.slow
def test_exit_status_tells_of_failures_unless_they_are_allowed(tmp_path):
    path = write_cohort(tmp_path / "cohort")
    (tmp_path / "cohort" / "v1.mp4").write_bytes(b"\0" * 100)
    strict = subprocess.run(command(path, tmp_path / "d"), capture_output=True, text=True)
    assert strict.returncode == 1
    assert "1 video(s) could not be read" in strict.stdout
    assert "v1.mp4" in strict.stdout
    allowed = command(path, tmp_path / "d", "--allow_failures")
    assert subprocess.run(allowed, capture_output=True).returncode == 0


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_that_is_accepted_and_resumes(tmp_path):
    path = write_cohort(tmp_path / "cohort", animals=8, frames=400)
    out = tmp_path / "d"
    process = subprocess.Popen(command(path, out), stderr=subprocess.DEVNULL)
    spill = None
    while process.poll() is None and not (spill := list(tmp_path.glob(".d.*.part/spill/*.json"))):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert spill, "killed too late to test anything"
    with pytest.raises(records.RecordError, match="no finished dataset"):
        records.RecordSource(out)
    stamp = spill[0].stat().st_mtime_ns
    again = subprocess.Popen(command(path, out), stderr=subprocess.DEVNULL)
    reused = set()
    while again.poll() is None:
        with contextlib.suppress(FileNotFoundError):  # gone once the build has ended
            reused.add(spill[0].stat().st_mtime_ns)
    assert again.returncode == 0
    assert reused <= {stamp}
    clean = subprocess.run(command(path, tmp_path / "clean"), stderr=subprocess.DEVNULL)
    assert clean.returncode == 0
    assert content(tmp_path / "clean") == content(out)
    assert not list(tmp_path.glob(".d.*.part"))


@pytest.mark.slow
def test_ctrl_c_ends_a_build_at_once_and_in_one_line(tmp_path):
    path = write_cohort(tmp_path / "cohort", animals=8, frames=2000)
    process = subprocess.Popen(
        command(path, tmp_path / "d"), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not list(tmp_path.glob(".d.*.part/spill/.*.part")):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    last = err.replace("\r", "\n").strip().split("\n")[-1]
    assert last == "interrupted"
    assert "Traceback" not in err
    assert not (tmp_path / "d").exists()


@pytest.mark.slow
def test_a_killed_worker_is_one_error_and_the_build_resumes_without_its_remains(tmp_path):
    path = write_cohort(tmp_path / "cohort", animals=8, frames=2000)
    out = tmp_path / "d"
    process = subprocess.Popen(command(path, out), stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(tmp_path.glob(".d.*.part/spill/.*.part")):
        time.sleep(0.005)
    found = ["pgrep", "-P", str(process.pid), "-f", "spawn_main"]
    workers = subprocess.run(found, capture_output=True, text=True).stdout.split()
    os.kill(int(workers[0]), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: a worker process was killed, as happens when memory runs out" in err
    assert "Traceback" not in err
    assert not out.exists()
    next(tmp_path.glob(".d.*.part")).joinpath(".clips-test.x.part").write_text("half a shard")
    for target in (out, tmp_path / "clean"):
        subprocess.run(command(path, target), stderr=subprocess.DEVNULL, check=True)
    assert content(out) == content(tmp_path / "clean")
