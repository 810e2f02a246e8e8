"""Pose files of each format, written here with a known content; real ones where they are there."""

import importlib
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_prep import cohort as cohorts
from data_prep import synthetic
from mpjax.config import SyntheticConfig
from mpjax.data import pose

NAMES = ("snout", "tail base")
NEEDS = "needs the extra pose: pip install 'mpjax[pose]'"


@pytest.fixture
def points():
    """Positions and likelihoods of two keypoints in four frames."""
    return np.random.default_rng(0).uniform(0.1, 99, (4, 2, 3)).round(3)


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason=NEEDS)


def deeplabcut_csv(path, individuals, *, frames=None, names=NAMES, coords="x,y,likelihood"):
    """Writes {individual: [frames, keypoints, 3]}; a single '' writes no row of individuals."""
    columns = [(i, n, c) for i in individuals for n in names for c in coords.split(",")]
    lines = [",".join(["scorer"] + ["DLC"] * len(columns))]
    if list(individuals) != [""]:
        lines.append(",".join(["individuals", *(i for i, _, _ in columns)]))
    lines.append(",".join(["bodyparts", *(n for _, n, _ in columns)]))
    lines.append(",".join(["coords", *(c for _, _, c in columns)]))
    values = np.concatenate([v.reshape(len(v), -1) for v in individuals.values()], axis=1)
    for frame, row in zip(frames or range(len(values)), values, strict=True):
        cells = ["" if np.isnan(value) else repr(float(value)) for value in row]
        lines.append(",".join([str(frame), *cells]))
    path.write_text("\n".join(lines) + "\n")
    return path


def deeplabcut_h5(path, h5py, values, *, kind=None):
    """Writes the layout of pandas' `to_hdf(format="table")`, which pickles the column names."""
    columns = [("DLC", n, c) for n in NAMES for c in ("x", "y", "likelihood")]
    width = len(columns)
    table = np.zeros(len(values), [("index", "<i8"), ("values_block_0", "<f8", (width,))])
    table["index"], table["values_block_0"] = np.arange(len(values)), values.reshape(-1, width)
    with h5py.File(path, "w") as file:
        made = file.create_dataset("df_with_missing/table", data=table)
        made.attrs["values_block_0_kind"] = np.bytes_(kind or pickle.dumps(columns, 0))
    return path


def sleap_analysis(path, h5py, tracks, names=NAMES):
    """Writes {track: [frames, keypoints, 3]} as SLEAP's analysis file does."""
    values = np.stack(list(tracks.values()))
    with h5py.File(path, "w") as file:
        file["tracks"] = values[..., :2].transpose(0, 3, 2, 1)
        file["point_scores"] = values[..., 2].transpose(0, 2, 1)
        file["node_names"] = [name.encode() for name in names]
        file["track_names"] = [name.encode() for name in tracks]
    return path


def sleap_slp(path, tracks, *, first=0):
    sio = pytest.importorskip("sleap_io", reason=NEEDS)
    skeleton, video = sio.Skeleton(list(NAMES)), sio.Video(filename="m.mp4", open_backend=False)
    named = {name: sio.Track(name) for name in tracks}
    frames = []
    for t in range(len(next(iter(tracks.values())))):
        instances = [
            sio.PredictedInstance.from_numpy(
                values[t, :, :2], skeleton=skeleton, point_scores=values[t, :, 2], score=1.0,
                track=named[name],
            )
            for name, values in tracks.items()
        ]  # fmt: skip
        frames.append(sio.LabeledFrame(video=video, frame_idx=first + t, instances=instances))
    labels = sio.Labels(frames, videos=[video], skeletons=[skeleton], tracks=list(named.values()))
    sio.save_slp(labels, str(path), embed=False)
    return path


def jabs(path, h5py, values):
    """Writes [frames, (mice,) 12, 3] as (y, x) and confidence."""
    with h5py.File(path, "w") as file:
        file["poseest/points"] = values[..., 1::-1].round().astype(np.uint16)
        file["poseest/confidence"] = values[..., 2].astype(np.float32)
    return path


def assert_read(read, values, *, tracker, names=NAMES, tolerance=0.0):
    np.testing.assert_allclose(read.points, values[..., :2], rtol=0, atol=tolerance)
    np.testing.assert_allclose(read.likelihood, values[..., 2], rtol=0, atol=1e-6)
    assert (read.tracker, read.names) == (tracker, names)


def test_a_deeplabcut_csv_is_read_with_its_missing_cells(tmp_path, points):
    points[1, 0] = np.nan
    read = pose.read_pose(deeplabcut_csv(tmp_path / "a.csv", {"": points}))
    assert_read(read, points, tracker="deeplabcut")


def test_a_point_with_one_missing_coordinate_is_missing_as_a_whole(tmp_path, points):
    points[2, 1, 0] = np.nan
    read = pose.read_pose(deeplabcut_csv(tmp_path / "a.csv", {"": points}))
    assert np.isnan(read.points[2, 1]).all()


def test_frames_that_a_csv_leaves_out_are_missing_and_the_others_in_their_place(tmp_path, points):
    read = pose.read_pose(deeplabcut_csv(tmp_path / "a.csv", {"": points}, frames=[2, 3, 6, 5]))
    assert len(read.points) == 7
    np.testing.assert_array_equal(read.points[[2, 3, 6, 5]], points[..., :2])
    assert np.isnan(read.points[[0, 1, 4]]).all()


def test_of_several_individuals_the_one_with_points_is_read(tmp_path, points):
    animals = {"mouse1": np.full_like(points, np.nan), "mouse2": points}
    read = pose.read_pose(deeplabcut_csv(tmp_path / "a.csv", animals))
    assert_read(read, points, tracker="deeplabcut")


def test_two_individuals_with_points_are_refused_by_name(tmp_path, points):
    path = deeplabcut_csv(tmp_path / "a.csv", {"mouse1": points, "mouse2": points})
    with pytest.raises(pose.PoseError, match=r"a\.csv: .*2 individuals, mouse1, mouse2; a rec"):
        pose.read_pose(path)


def test_a_deeplabcut_h5_equals_the_csv(tmp_path, points, h5py):
    points[1, 0] = np.nan
    assert_read(
        pose.read_pose(deeplabcut_h5(tmp_path / "a.h5", h5py, points)),
        points,
        tracker="deeplabcut",
    )


def test_a_pickle_in_an_h5_that_would_run_code_is_refused(tmp_path, points, h5py):
    harmful = b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    path = deeplabcut_h5(tmp_path / "a.h5", h5py, points, kind=harmful)
    with pytest.raises(pose.PoseError, match=r"a\.h5: .*os\.system is not plain text"):
        pose.read_pose(path)
    assert not (tmp_path / "ran").exists()


def test_a_sleap_analysis_file_is_read(tmp_path, points, h5py):
    points[0, 1] = np.nan
    path = sleap_analysis(tmp_path / "a.analysis.h5", h5py, {"mouse": points})
    assert_read(pose.read_pose(path), points, tracker="sleap")


def test_two_tracks_of_one_name_are_two_animals(tmp_path, points, h5py):
    tracks = {"mouse": points, "mouse ": points}
    path = sleap_analysis(tmp_path / "a.h5", h5py, tracks)
    with pytest.raises(pose.PoseError, match="2 individuals"):
        pose.read_pose(path)


def test_a_slp_file_is_read_and_its_frames_keep_their_place(tmp_path, points):
    read = pose.read_pose(sleap_slp(tmp_path / "a.slp", {"mouse": points}, first=2))
    assert np.isnan(read.points[:2]).all()
    np.testing.assert_allclose(read.points[2:], points[..., :2], rtol=1e-6)
    assert (read.tracker, read.names) == ("sleap", NAMES)


def test_a_slp_file_of_two_animals_is_refused(tmp_path, points):
    path = sleap_slp(tmp_path / "a.slp", {"left": points, "right": points})
    with pytest.raises(pose.PoseError, match="2 individuals, 0 .left., 1 .right."):
        pose.read_pose(path)


@pytest.mark.parametrize("mice", [0, 1, 2])
def test_jabs_points_are_turned_to_x_y_and_what_is_not_there_is_missing(tmp_path, h5py, mice):
    values = np.random.default_rng(1).uniform(1, 99, (5, 12, 3)).round()
    values[..., 2] = 0.5
    written = values if not mice else np.zeros((5, mice, 12, 3))
    if mice:
        written[:, 0] = values
    written[(3, 0, 4) if mice else (3, 4)] = 0
    read = pose.read_pose(jabs(tmp_path / "a_pose_est.h5", h5py, written))
    values[3, 4] = [np.nan, np.nan, 0]
    assert_read(read, values, tracker="jabs", names=read.names)
    assert read.names[0] == "nose"
    assert len(read.names) == 12


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "a.csv",
            "video,animal\n1,2\n",
            "first rows of a DeepLabCut csv begin with scorer, bodyparts, coords",
        ),
        ("a.csv", "", "these begin with nothing"),
        ("a.csv", "scorer,D,D\nbodyparts,a,a\ncoords,x,z\n0,1,2\n", "coordinates z"),
        ("a.csv", "scorer,D,D\nbodyparts,a,a\ncoords,x,x\n0,1,2\n", "a body part twice"),
        ("a.csv", "scorer,D,D\nbodyparts,a,a\ncoords,x,y\nimg07.png,1,2\n", "training frames"),
        ("a.csv", "scorer,D,D\nbodyparts,a,a\ncoords,x,y\n0,1,2\n0,1,2\n", "number the frames"),
        ("a.csv", "scorer,D,D\nbodyparts,a,a\ncoords,x,y\n0,,\n", "no point"),
        ("a.csv", "scorer,D,D\nbodyparts,a,a\ncoords,x,y\n", "not a frame number"),
        ("a.mat", "x", "not a pose file by its name; expected DeepLabCut"),
        ("a.h5", "x", "not a readable HDF5 file"),
        ("a.slp", "x", "sleap-io cannot read it"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_what_was_expected(tmp_path, name, content, told):
    if name.endswith("h5"):
        pytest.importorskip("h5py", reason=NEEDS)
    if name.endswith("slp"):
        pytest.importorskip("sleap_io", reason=NEEDS)
    (tmp_path / name).write_text(content)
    with pytest.raises(pose.PoseError, match=rf"{name}: .*{told}"):
        pose.read_pose(tmp_path / name)


def test_an_hdf5_file_of_something_else_says_what_it_holds(tmp_path, h5py):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["spikes"] = [1, 2]
    with pytest.raises(pose.PoseError, match="holds spikes; expected DeepLabCut"):
        pose.read_pose(tmp_path / "a.h5")


def test_an_absent_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(pose.PoseError, match=r"x\.csv: no such file"):
        pose.read_pose(tmp_path / "x.csv")
    with pytest.raises(pose.PoseError, match="is a directory"):
        pose.read_pose(tmp_path)


@pytest.mark.parametrize("name", ["a.h5", "a.slp"])
def test_without_the_extra_the_error_says_what_to_install(tmp_path, monkeypatch, name):
    (tmp_path / name).write_text("x")

    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ImportError, match=r"pip install 'mpjax\[pose\]'"):
        pose.read_pose(tmp_path / name)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A synthetic cohort of three recordings of a second."""
    config = SyntheticConfig(
        animals_per_condition=1, animals_per_arm=0, days=(7,), seconds=1.0, size=64
    )
    path = synthetic.generate(tmp_path_factory.mktemp("cohort"), config, workers=1)
    return cohorts.read_cohort(path).table


def test_the_poses_of_a_cohort_come_with_the_frame_rate_of_their_videos(cohort):
    poses = pose.read_poses(cohort)
    assert list(poses) == list(cohort["video"])
    for read in poses.values():
        assert read.points.shape == (25, 6, 2)
        assert read.fps == 25.0
        assert np.isfinite(read.points).all()
    given = pose.read_poses(cohort.assign(fps=30.0))
    assert {read.fps for read in given.values()} == {30.0}


def test_a_pose_of_other_length_than_its_video_is_refused_with_both(cohort, tmp_path):
    def cut(frames):
        lines = Path(cohort["pose"][1]).read_text().splitlines()[: 3 + frames]
        (tmp_path / "cut.csv").write_text("\n".join(lines))
        return cohort.assign(pose=[cohort["pose"][0], str(tmp_path / "cut.csv"), ""])

    pose.read_poses(cut(23)[:2])
    with pytest.raises(pose.PoseError) as error:
        pose.read_poses(cut(22))
    assert "cut.csv: 22 frames, but its video" in str(error.value)
    assert "has 25" in str(error.value)
    assert f"{cohort['video'][2]}: column pose is empty" in str(error.value)


def test_real_files_of_one_recording_agree(shared):
    pytest.importorskip("sleap_io", reason=NEEDS)
    folder = shared / "data" / "pose"
    from_csv = pose.read_pose(folder / "bsoid_raw_clip1DLC.csv")
    from_h5 = pose.read_pose(folder / "bsoid_raw_clip1DLC.h5")
    np.testing.assert_allclose(from_csv.points, from_h5.points, rtol=1e-12)
    assert from_csv.names == from_h5.names
    assert from_csv.points.shape == (7200, 6, 2)
    slp = pose.read_pose(folder / "deepof_testDLC_sleap.slp")
    analysis = pose.read_pose(folder / "deepof_testDLC_sleap.analysis.h5")
    np.testing.assert_allclose(slp.points, analysis.points, rtol=1e-6)
    np.testing.assert_allclose(slp.likelihood, analysis.likelihood, rtol=1e-6)
    assert slp.names == analysis.names


@pytest.mark.parametrize(
    ("name", "shape", "tracker"),
    [
        ("pose/deepof_square_arenaDLC.h5", (451, 14), "deeplabcut"),
        ("pose/deepof_testDLC_single.csv", (97, 14), "deeplabcut"),
        ("pose/epm_bsoid_Video1DLC.csv", (9486, 6), "deeplabcut"),
        ("pose/jabs_sample_pose_est_v2.h5", (1800, 12), "jabs"),
        ("mouse_video/dlc_openfield_m3v1.h5", (2330, 4), "deeplabcut"),
        ("mouse_video/vame_bottom_openfield.csv", (750, 6), "deeplabcut"),
    ],
)
def test_real_files_of_every_tracker_are_read(shared, name, shape, tracker):
    pytest.importorskip("h5py", reason=NEEDS)
    read = pose.read_pose(shared / "data" / name)
    assert read.points.shape == (*shape, 2)
    assert read.likelihood.shape == shape
    assert read.tracker == tracker
    assert np.isfinite(read.points).mean() > 0.9


def test_real_poses_have_as_many_frames_as_their_videos(shared):
    pytest.importorskip("h5py", reason=NEEDS)
    folder = shared / "data" / "mouse_video"
    table = pd.DataFrame(
        {
            "video": ["m3v1"],
            "path": [str(folder / "dlc_openfield_m3v1.mp4")],
            "pose": [str(folder / "dlc_openfield_m3v1.h5")],
            "fps": [0.0],
        }
    )
    assert pose.read_poses(table)["m3v1"].fps == pytest.approx(30, abs=1)
