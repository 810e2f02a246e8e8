"""What `mpjax.bench` tells of a machine, at toy size; no figure is held to a limit."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from mpjax import bench
from mpjax.config import ArchitectureConfig, ProjectorConfig, StudyConfig, TrainConfig, VideoConfig
from mpjax.data import records
from mpjax.profiling import aot
from mpjax.training import partitioning, speed

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

# Wide enough for matrix products to outweigh all else.
WIDE = dataclasses.replace(
    CONFIG,
    projector=dataclasses.replace(
        CONFIG.projector,
        size=32,
        frames=4,
        architecture=ArchitectureConfig(
            embed_dim=32, depths=(1, 1), num_heads=(1, 2), window=(2, 4, 4)
        ),
    ),
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Small matrices and single timings: the figures are rough, their relations hold."""
    monkeypatch.setattr(speed, "_SIDE", 64)
    monkeypatch.setattr(speed, "_SECONDS", 0.0)
    monkeypatch.setattr(speed, "_LEAST", 1)
    monkeypatch.setattr(speed, "_PEAK_SECONDS", 0.001)
    monkeypatch.setattr(speed, "_CLIPS", 16)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return speed.write_random_dataset(tmp_path_factory.mktemp("random") / "dataset", CONFIG)


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
    bench.run(CONFIG, json=tmp_path / "speed.json")
    figures = json.loads((tmp_path / "speed.json").read_text())
    assert list(figures) == [field.name for field in dataclasses.fields(speed.Speed)]
    assert_consistent(figures)
    assert figures["trained"] == "all"
    assert (figures["forward"]["batch_size"], figures["train"]["batch_size"]) == (4, 8)
    table = capsys.readouterr().out
    assert f"{figures['train']['clips_per_s']:,.1f} clips/s" in table
    assert "training step (all)" in table


def test_the_dataset_of_the_study_is_read_where_it_has_one(dataset, tmp_path):
    """Its frames count, not those of the config; a probe's step is that of the published way."""
    config = dataclasses.replace(
        CONFIG, video=VideoConfig(frames=64), train=TrainConfig(what="probe", batch_size=8)
    )
    bench.run(config, workdir=dataset.parent, json=tmp_path / "speed.json")
    figures = json.loads((tmp_path / "speed.json").read_text())
    assert_consistent(figures)
    assert figures["trained"] == "head"
    assert figures["train"]["flops_per_clip"] < 1.1 * figures["forward"]["flops_per_clip"]


def test_without_a_dataset_the_way_out_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"no finished dataset here .* `python -m data_prep.build`"
    ):
        bench.run(CONFIG, workdir=tmp_path)


def test_random_clips_differ_and_leave_room_for_the_views(dataset):
    source = records.RecordSource(dataset, labelled=True)
    assert len(source) >= CONFIG.train.batch_size
    first, second = (records.decode_example(source[i])["frames"] for i in (0, 1))
    assert len(first) == 4
    assert len({bytes(jpeg) for jpeg in [*first, *second]}) == 8
    shape = source.index.iloc[0]
    assert (shape["height"], shape["width"]) == (24, 32)


def test_a_step_of_training_needs_three_times_the_flops_of_a_projection():
    """Forward, and backward to the weights and to the inputs; the first layer has no inputs."""
    assert 2.5 < speed.count_flops("train", WIDE) / speed.count_flops("embed", WIDE) < 3.1


def test_flops_count_what_is_done_and_not_how():
    """Neither computing blocks twice, nor cutting the batch, nor the form changes them."""
    optim = dataclasses.replace(CONFIG.train.optim, accumulate=4)
    other = dataclasses.replace(
        CONFIG,
        train=dataclasses.replace(CONFIG.train, remat=True, optim=optim),
        projector=dataclasses.replace(CONFIG.projector, attention_impl="blocked"),
    )
    assert speed.count_flops("train", other) == speed.count_flops("train", CONFIG)


def test_flops_of_a_layer_are_two_per_weight_and_token():
    network = aot.abstract_projector(WIDE.projector, attention_impl="xla")
    tokens = {"patch": 2 * 8 * 8, "stage0": 2 * 8 * 8, "stage0_merging": 2 * 4 * 4}
    tokens["stage1"] = tokens["stage0_merging"]
    products = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(network.params):
        module = path[0].key
        if path[-1].key == "kernel":
            known = module if module in tokens else module.split("_")[0]
            products += 2 * tokens[known] * leaf.size
    assert products < speed.count_flops("embed", WIDE) < 1.5 * products


def test_the_peak_counts_the_products_of_all_devices(monkeypatch):
    """At a rate of one call per second, the FLOP/s are those of the call's products."""
    monkeypatch.setattr(speed, "_rate", lambda work: work())
    monkeypatch.setattr(speed, "_PEAK_SECONDS", 0.0)
    mesh = partitioning.make_mesh(CONFIG.mesh)
    assert speed.matrix_peak("float32", mesh) == 2 * 64**3 * mesh.size


def test_a_rate_is_the_median_of_calls_after_the_first(monkeypatch):
    clock = np.cumsum([0.0, 0.0, 1.0, 0.0, 4.0, 0.0, 2.0, 0.0])
    times = iter(clock.tolist())
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(speed, "_LEAST", 3)
    done = iter([1000, 8, 8, 8])
    assert speed._rate(lambda: next(done)) == 4.0
