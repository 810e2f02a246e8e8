"""What `bench_machine` says of a machine, at toy size; no figure is held to a limit."""

import dataclasses
import json
import math

import bench_machine
import pytest

from mpjax.config import ArchitectureConfig, ProjectorConfig, StudyConfig, TrainConfig, VideoConfig

CONFIG = StudyConfig(
    video=VideoConfig(frames=4, short_side=24),
    projector=ProjectorConfig(
        kind="swin",
        weights="random",
        size=16,
        crops=2,
        batch_size=4,
        architecture=ArchitectureConfig(embed_dim=8, depths=(1,), num_heads=(2,), window=(2, 2, 2)),
    ),
    train=TrainConfig(what="all", batch_size=8),
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Small matrices and single timings: the figures are rough, their relations hold."""
    rough = {"SIDE": 64, "SECONDS": 0.0, "LEAST": 1, "PEAK_SECONDS": 0.001, "CLIPS": 16}
    for name, value in rough.items():
        monkeypatch.setattr(bench_machine, name, value)


def leaves(value, path=""):
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}")
    elif not isinstance(value, str):
        yield path, value


def assert_consistent(figures):
    for path, value in leaves(figures):
        assert 0 < value < math.inf, path
    for loader, program in (("decoded", "forward"), ("augmented", "train")):
        rate, step = figures[f"{loader}_per_s"], figures[program]
        assert figures[f"{program}_headroom"] == pytest.approx(rate / step["clips_per_s"])
        used = step["clips_per_s"] * step["flops_per_clip"]
        peak = figures["peak_flops"][figures["dtype"]]
        assert step["share_of_peak"] == pytest.approx(used / peak)


def test_the_figures_of_random_clips_are_positive_and_agree_with_each_other(tmp_path, capsys):
    bench_machine.run(CONFIG, json=tmp_path / "speed.json")
    figures = json.loads((tmp_path / "speed.json").read_text())
    assert_consistent(figures)
    assert figures["trained"] == "all"
    assert (figures["forward"]["batch_size"], figures["train"]["batch_size"]) == (4, 8)
    table = capsys.readouterr().out
    assert f"{figures['train']['clips_per_s']:,.1f} clips/s" in table
    assert "training step (all)" in table


def test_the_dataset_of_the_study_is_read_where_it_has_one(tmp_path):
    """Its frames count, not those of the config; a probe's step is that of the published way."""
    bench_machine.write_random_dataset(tmp_path / "dataset", CONFIG)
    config = dataclasses.replace(
        CONFIG, video=VideoConfig(frames=64), train=TrainConfig(what="probe", batch_size=8)
    )
    bench_machine.run(config, workdir=tmp_path, json=tmp_path / "speed.json")
    figures = json.loads((tmp_path / "speed.json").read_text())
    assert_consistent(figures)
    assert figures["trained"] == "head"
    assert figures["train"]["flops_per_clip"] < 1.1 * figures["forward"]["flops_per_clip"]


def test_without_a_dataset_the_message_says_what_to_run(tmp_path):
    with pytest.raises(
        ValueError, match=r"no finished dataset here .* `python -m data_prep.build`"
    ):
        bench_machine.run(CONFIG, workdir=tmp_path)
