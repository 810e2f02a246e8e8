import json
import os
import subprocess
import sys

import pytest

from mpjax.profiling import costs, hlo, hlo_work
from mpjax.profiling.costs import Costs, Traffic

PROGRAM = """\
HloModule jit_step, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%cut (p: f32[8,100], i: s32[]) -> f32[1,100] {
  %p = f32[8,100]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %view = f32[8,100]{1,0} bitcast(%p)
  ROOT %row = f32[1,100]{1,0} dynamic-slice(%view, %i, %i), dynamic_slice_sizes={1,100}
}

%all-reduce-scatter.7 (q: f32[64]) -> f32[16] {
  %q = f32[64]{0} parameter(0)
  %summed = f32[64]{0:T(128)} all-reduce(%q), replica_groups=[2,4]<=[8], to_apply=%sum
  ROOT %part = f32[16]{0} slice(%summed), slice={[0:16]}
}

%begin (g: bf16[4,8]) -> bf16[8,8] {
  %g = bf16[4,8]{1,0} parameter(0)
  ROOT %g1 = bf16[8,8]{1,0} all-gather(%g), channel_id=7, \
replica_groups=mesh['data'=4,'model'=2] {'model'}, dimensions={0}
}

%end (h: bf16[4,8]) -> bf16[8,8] {
  %h = bf16[4,8]{1,0} parameter(0)
  ROOT %g2 = bf16[8,8]{1,0} all-gather(%h), channel_id=7, \
replica_groups=mesh['data'=4,'model'=2] {'model'}, dimensions={0}
}

%body (s: (s32[], f32[32])) -> (s32[], f32[32]) {
  %s = (s32[], f32[32]{0}) parameter(0)
  %n = s32[] get-tuple-element(%s), index=0
  %x = f32[32]{0} get-tuple-element(%s), index=1
  %moved = f32[32]{0} collective-permute(%x), source_target_pairs={{0,1},{1,0}}
  ROOT %next = (s32[], f32[32]{0}) tuple(%n, %moved)
}

%condition (s2: (s32[], f32[32])) -> pred[] {
  %s2 = (s32[], f32[32]{0}) parameter(0)
  ROOT %go = pred[] constant(true)
}

ENTRY %main (x0: f32[8,100], x1: bf16[10,20], i0: s32[], x2: f32[64]) -> f32[1,100] {
  %x0 = f32[8,100]{1,0} parameter(0)
  %x1 = bf16[10,20]{1,0:T(8,128)(2,1)} parameter(1)
  %i0 = s32[] parameter(2)
  %x2 = f32[64]{0} parameter(3)
  %both = (f32[8,100]{1,0:T(8,128)}, /*index=1*/bf16[10,20]{1,0:T(8,128)(2,1)S(1)}) \
all-reduce(%x0, %x1), replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%sum
  %ag = (bf16[10,20]{1,0}, bf16[80,20]{1,0}) all-gather-start(%x1), dimensions={0}
  %ag.done = bf16[80,20]{1,0} all-gather-done(%ag)
  %begun = bf16[8,8]{1,0} fusion(%x1), kind=kCustom, calls=%begin
  %ended = bf16[8,8]{1,0} fusion(%x1), kind=kCustom, calls=%end
  %rs = f32[16]{0} fusion(%x2), kind=kCustom, calls=%all-reduce-scatter.7
  %scattered = f32[8]{0} reduce-scatter(%x2), replica_groups=[1,8]<=[8], to_apply=%sum
  %a2a = ((f32[64]{0}), f32[64]{0}, u32[]) all-to-all-start(%x2), replica_groups={{0,1}}
  %a2a.done = f32[64]{0} all-to-all-done(%a2a)
  %w0 = (s32[], f32[32]{0}) tuple(%i0, %x2)
  %loop = (s32[], f32[32]{0}) while(%w0), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"5"}}
  ROOT %out = f32[1,100]{1,0} fusion(%x0, %i0), kind=kLoop, calls=%cut
}
"""

MEMORY = """\
HloModule small

%cut (p: f32[8,100], i: s32[]) -> f32[1,100] {
  %p = f32[8,100]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %view = f32[8,100]{1,0} bitcast(%p)
  ROOT %row = f32[1,100]{1,0} dynamic-slice(%view, %i, %i), dynamic_slice_sizes={1,100}
}

ENTRY %main (x: f32[8,100], i: s32[]) -> f32[1,100] {
  %x = f32[8,100]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %near = f32[8,100]{1,0:T(8,128)S(1)} negate(%x)
  %again = f32[8,100]{1,0:T(8,128)S(1)} negate(%near)
  ROOT %out = f32[1,100]{1,0} fusion(%x, %i), kind=kLoop, calls=%cut
}
"""


def test_collectives_count_once_with_the_bytes_of_the_whole_array():
    found = {}
    for one in hlo.collectives(PROGRAM, devices=8):
        found.setdefault(one.kind, []).append((one.group, one.bytes, one.times))
    assert found == {
        "all-reduce": [(4, 4 * 800 + 2 * 200, 1)],
        "all-gather": [(8, 2 * 1600, 1), (2, 2 * 64, 1)],
        "reduce-scatter": [(4, 4 * 64, 1), (8, 4 * 64, 1)],
        "all-to-all": [(2, 4 * 64, 1)],
        "collective-permute": [(8, 4 * 32, 5)],
    }


def test_a_ring_sends_twice_for_a_sum_and_once_for_its_halves():
    def sent(kind):
        return hlo.Collective(kind, group=4, bytes=1000, times=1).sent_bytes

    assert sent("all-reduce") == sent("reduce-scatter") + sent("all-gather") == 1500
    assert sent("collective-permute") == 1000


def test_memory_traffic_leaves_out_vector_memory_and_what_a_slice_skips():
    read_x, row, index = 3200, 400, 4
    # The fusion uses its index twice, but no operand is read more than whole.
    assert hlo_work.memory_traffic(MEMORY) == read_x + (row + index + row)


def make_costs(**changes):
    values = {
        "arguments": 1e9,
        "outputs": 0.0,
        "temporary": 2e9,
        "code": 0.0,
        "flops": 400e12,
        "hbm_bytes": 1e12,
        "bytes_accessed": 2e12,
        "collectives": {"all-reduce": Traffic(2, 1e9, 2e9)},
    }
    return Costs(**(values | changes))


CHIP = costs.Chip(hbm_bytes=16e9, flops=200e12, hbm_bandwidth=1e12, ici_bandwidth=1e9)


@pytest.mark.parametrize(
    ("changes", "seconds", "limit"),
    [({}, 2.0, "compute"), ({"hbm_bytes": 5e12}, 5.0, "hbm"), ({"flops": 1.0}, 2.0, "ici")],
)
def test_the_slowest_resource_sets_the_time_and_the_mfu(changes, seconds, limit):
    bounds = costs.roofline(make_costs(**changes), CHIP, model_flops=100e12)
    assert (bounds.seconds, bounds.limit) == (seconds, limit)
    assert bounds.mfu == 100 / (200 * seconds)


def test_what_is_computed_again_costs_time_but_is_no_mfu():
    once = costs.roofline(make_costs(flops=400e12), CHIP, model_flops=400e12)
    again = costs.roofline(make_costs(flops=800e12), CHIP, model_flops=400e12)
    assert once.mfu == 1
    assert again.mfu == 0.5


def test_a_program_takes_at_least_the_time_of_its_model():
    declared_less = make_costs(flops=100e12, hbm_bytes=0.0, collectives={})
    assert costs.roofline(declared_less, CHIP, model_flops=400e12).mfu == 1


def test_an_unknown_chip_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="v9.*choose v4, v5e, v5p, v6e"):
        costs.chip_of("v9:2x2")


ONE_CHANNEL = """HloModule m, is_scheduled=true

ENTRY %main (a: f32[8,4], b: f32[4,8]) -> f32[4,8] {
  %a = f32[8,4]{1,0} parameter(0)
  %b = f32[4,8]{1,0} parameter(1)
  %first = f32[8,4]{1,0} all-reduce(%a), channel_id=1, replica_groups={{0,1}}, to_apply=%sum
  %again = f32[8,4]{0,1} all-reduce(%a), channel_id=1, replica_groups={{0,1}}, to_apply=%sum
  ROOT %other = f32[4,8]{1,0} all-reduce(%b), channel_id=1, replica_groups={{0,1}}, to_apply=%sum
}
"""


def test_what_was_combined_under_one_channel_counts_by_its_shapes():
    assert [one.bytes for one in hlo.collectives(ONE_CHANNEL, 2)] == [128, 128]


ON_CPUS = """
import dataclasses, json
import jax
from mpjax import config as c
from mpjax.profiling import aot, costs
from mpjax.training import partitioning

architecture = c.ArchitectureConfig(embed_dim=32, depths=(2,), num_heads=(2,), window=(2, 4, 4))
config = c.StudyConfig(
    video=c.VideoConfig(frames=4),
    projector=c.ProjectorConfig(
        kind="swin", weights="random", size=32, batch_size=8, architecture=architecture
    ),
    train=c.TrainConfig(what="all", batch_size=8),
)
sharded = dataclasses.replace(config, mesh=c.MeshConfig(fully_sharded=True))

def figures(name, config, devices, *, scan=False):
    mesh = partitioning.make_mesh(config.mesh, jax.devices()[:devices])
    seen = aot.compile_costs(name, config, mesh, attention_impl="xla", scan=scan)
    return dataclasses.asdict(seen)

def deeper(depth):
    changed = dataclasses.replace(architecture, depths=(depth,))
    projector = dataclasses.replace(config.projector, architecture=changed)
    return dataclasses.replace(config, projector=projector)
"""

SCALING = """
params = aot.abstract_projector(config.projector, attention_impl="xla").params
head = 32 * 15 + 15
print(json.dumps({
    "params": 4 * (sum(x.size for x in jax.tree.leaves(params)) + head),
    "biases": 4 * 2 * 2 * 32**2,  # of 2 blocks, 2 heads and windows of 32 tokens
    "four": figures("train", config, 4),
    "eight": figures("train", config, 8),
    "sharded": figures("train", sharded, 8),
    "embed": figures("embed", config, 8),
    "model": {name: aot.model_flops(name, config) for name in ("train", "eval")},
}))
"""

DEPTH = """
cut = dataclasses.replace(deeper(6), mesh=sharded.mesh)
print(json.dumps([
    figures("train", deeper(6), 8, scan=False),
    figures("train", deeper(6), 8, scan=True),
    figures("train", cut, 8, scan=True),
]))
"""


def run_on_cpus(script):
    """Runs a script in a process with 8 virtual devices; returns what it prints as JSON."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    }
    command = [sys.executable, "-c", ON_CPUS + script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def scaling():
    return run_on_cpus(SCALING)


@pytest.mark.slow
def test_data_parallel_chips_sum_the_gradient_of_every_parameter_once(scaling):
    seen = scaling["eight"]["collectives"]
    assert set(seen) == {"all-reduce"}
    # Biases may be summed before their gradient is that of the smaller table.
    most = scaling["params"] + scaling["biases"] + 8  # and the loss and the right answers
    assert scaling["params"] < seen["all-reduce"]["bytes"] <= most


@pytest.mark.slow
def test_twice_the_chips_do_half_the_work_each_and_sum_the_same_bytes(scaling):
    four, eight = scaling["four"], scaling["eight"]
    assert four["collectives"]["all-reduce"]["bytes"] == eight["collectives"]["all-reduce"]["bytes"]
    assert 0.5 < eight["flops"] / four["flops"] < 0.51  # each runs the optimiser whole


@pytest.mark.slow
def test_fully_sharded_chips_hold_a_part_and_gather_each_weight_once(scaling):
    whole, part = scaling["eight"], scaling["sharded"]
    cut = 4 * 2 * 2 * 32 * 128  # bytes of the MLPs' kernels; all else is too small to be cut
    assert whole["arguments"] - part["arguments"] == 3 * cut * 7 / 8  # with two moments
    assert part["collectives"]["all-gather"]["bytes"] == cut
    assert part["flops"] <= whole["flops"]


@pytest.mark.slow
def test_embedding_gathers_the_embeddings_and_two_statistics_of_the_pixels_alone(scaling):
    assert {kind: one["bytes"] for kind, one in scaling["embed"]["collectives"].items()} == {
        "all-gather": 8 * (32 + 2) * 4
    }


@pytest.mark.slow
def test_the_models_own_flops_are_those_of_one_clip(scaling):
    model = scaling["model"]
    assert 2.5 < model["train"] / model["eval"] < 3.1  # backward is twice the forward pass
    assert 0.9 < scaling["eight"]["flops"] / model["train"] < 1.1


@pytest.fixture(scope="module")
def depth():
    return run_on_cpus(DEPTH)


@pytest.mark.slow
def test_a_stage_as_a_loop_computes_and_sums_what_its_blocks_do(depth):
    unrolled, looped, _ = depth
    assert looped["arguments"] == unrolled["arguments"]
    summed = [one["collectives"]["all-reduce"]["bytes"] for one in (looped, unrolled)]
    assert summed[0] == pytest.approx(summed[1], rel=0.02)
    # What lies between matrix products is computed again in the backward pass, the logits too.
    assert 1 < looped["flops"] / unrolled["flops"] < 1.2


@pytest.mark.slow
def test_fully_sharded_a_loop_gathers_its_weights_before_it_starts(depth):
    _, looped, part = depth
    cut = 4 * 6 * 2 * 32 * 128  # bytes of the MLPs' kernels of 6 blocks
    assert part["collectives"]["all-gather"]["bytes"] == cut
    summed = [one["collectives"]["all-reduce"]["bytes"] for one in (part, looped)]
    assert summed[0] == pytest.approx(summed[1], rel=0.01)
    assert set(part["collectives"]) == {"all-gather", "all-reduce"}
