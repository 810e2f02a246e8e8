"""Counts read off a program's text equal XLA's own, and count a loop as often as it runs."""

import functools

import jax
import jax.numpy as jnp
import pytest

from mpjax.profiling import costs, hlo, hlo_work

WIDTH, ROWS = 256, 512


def _network(weight, x, *, depth, loop):
    """Applies one layer again and again."""

    def layer(x):
        return jnp.maximum(x @ weight, 0)

    if loop:
        return jax.lax.fori_loop(0, depth, lambda _, x: layer(x), x)
    for _ in range(depth):
        x = layer(x)
    return x


@functools.cache
def _compiled(*, depth, loop):
    shapes = [jax.ShapeDtypeStruct((n, WIDTH), jnp.float32) for n in (WIDTH, ROWS)]
    return jax.jit(functools.partial(_network, depth=depth, loop=loop)).lower(*shapes).compile()


@pytest.mark.parametrize("depth", [6, 12])
def test_a_loop_costs_what_its_unrolled_twin_costs(depth):
    looped, unrolled = (
        costs.measure(_compiled(depth=depth, loop=loop), devices=1) for loop in (True, False)
    )
    by_xla = _compiled(depth=depth, loop=True).cost_analysis()
    assert by_xla["flops"] < 1.1 * unrolled.flops / depth
    assert looped.flops == pytest.approx(unrolled.flops, rel=1e-3)
    # The loop also copies what it begins with.
    copies = 4 * 4 * WIDTH * (WIDTH + ROWS)
    for name in ("bytes_accessed", "hbm_bytes"):
        assert 0 <= getattr(looped, name) - getattr(unrolled, name) < copies, name


def _xla_and_ours(f, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    compiled = jax.jit(f).lower(*arguments).compile()
    ours = sum(
        hlo_work.flops(run.instruction, run.types) for run in hlo.executed(compiled.as_text())
    )
    return compiled.cost_analysis()["flops"], ours


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "SAME", "window_strides": (2, 1)},
        {"padding": [(3, 0), (1, 2)], "window_strides": (1, 1), "lhs_dilation": (2, 3)},
        {"padding": "VALID", "window_strides": (1, 1), "rhs_dilation": (3, 1)},
    ],
)
def test_the_flops_of_a_convolution_are_those_that_xla_counts(options):
    convolve = functools.partial(
        jax.lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )
    xla, ours = _xla_and_ours(convolve, (2, 12, 10, 8), (3, 3, 8, 16))
    assert ours == pytest.approx(xla, rel=1e-3)


def test_the_flops_of_a_network_are_those_that_xla_counts():
    def loss(weight, x):
        return _network(weight, x, depth=3, loop=False).sum()

    xla, ours = _xla_and_ours(jax.grad(loss), (WIDTH, WIDTH), (ROWS, WIDTH))
    assert ours == pytest.approx(xla, rel=1e-3)


ON_A_TPU = """\
HloModule loop

%write (p: f32[9,56,130], u: f32[1,56,130], i: s32[]) -> f32[9,56,130] {
  %p = f32[9,56,130]{2,1,0:T(8,128)} parameter(0)
  %u = f32[1,56,130]{2,1,0:T(8,128)} parameter(1)
  %i = s32[]{:T(128)} parameter(2)
  ROOT %new = f32[9,56,130]{2,1,0:T(8,128)} dynamic-update-slice(%p, %u, %i, %i, %i)
}

%body (s: (s32[], f32[9,56,130], f32[1,56,130])) -> (s32[], f32[9,56,130], f32[1,56,130]) {
  %s = (s32[]{:T(128)}, f32[9,56,130]{2,1,0:T(8,128)}, f32[1,56,130]{2,1,0:T(8,128)S(1)}) \
parameter(0)
  %n = s32[]{:T(128)S(6)} get-tuple-element(%s), index=0
  %kept = f32[9,56,130]{2,1,0:T(8,128)} get-tuple-element(%s), index=1
  %x = f32[1,56,130]{2,1,0:T(8,128)S(1)} get-tuple-element(%s), index=2
  %kernel = f32[1,56,130]{2,1,0:T(8,128)S(1)} custom-call(%x), \
custom_call_target="tpu_custom_call", backend_config={"custom_call_config":{"cost_estimate":\
{"flops":"500","transcendentals":"7","bytes_accessed":"900","remote_bytes_transferred":"0"}}}
  %written = f32[9,56,130]{2,1,0:T(8,128)} fusion(%kept, %x, %n), kind=kLoop, calls=%write
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%n, %one)
  ROOT %all = (s32[]{:T(128)}, f32[9,56,130]{2,1,0:T(8,128)}, \
f32[1,56,130]{2,1,0:T(8,128)S(1)}) tuple(%next, %written, %kernel)
}

%condition (t: (s32[], f32[9,56,130], f32[1,56,130])) -> pred[] {
  %bound = s32[]{:T(128)} constant(9)
  %t = (s32[]{:T(128)}, f32[9,56,130]{2,1,0:T(8,128)}, f32[1,56,130]{2,1,0:T(8,128)S(1)}) \
parameter(0)
  %m = s32[]{:T(128)} get-tuple-element(%t), index=0
  ROOT %more = pred[]{:T(512)} compare(%m, %bound), direction=LT
}

ENTRY %main (x0: f32[1,56,130]) -> f32[9,56,130] {
  %x0 = f32[1,56,130]{2,1,0:T(8,128)S(1)} parameter(0)
  %zero = s32[]{:T(128)} constant(2)
  %start = s32[]{:T(128)} copy(%zero)
  %empty = f32[9,56,130]{2,1,0:T(8,128)} custom-call(), custom_call_target="AllocateBuffer"
  %state = (s32[]{:T(128)}, f32[9,56,130]{2,1,0:T(8,128)}, f32[1,56,130]{2,1,0:T(8,128)S(1)}) \
tuple(%start, %empty, %x0)
  %loop = (s32[]{:T(128)}, f32[9,56,130]{2,1,0:T(8,128)}, f32[1,56,130]{2,1,0:T(8,128)S(1)}) \
while(%state), condition=%condition, body=%body
  ROOT %out = f32[9,56,130]{2,1,0:T(8,128)} get-tuple-element(%loop), index=1
}
"""
TURNS = 7
SCALAR = 4 * 128  # a tile
SLICE = 4 * 56 * 256  # in whole tiles of 8 x 128


def test_a_loop_whose_turns_the_compiler_does_not_tell_turns_as_its_condition_says():
    times = {run.instruction.name: run.times for run in hlo.executed(ON_A_TPU)}
    assert (times["kernel"], times["state"]) == (TURNS, 1)


def test_a_kernel_does_what_it_declares_at_every_turn():
    assert hlo_work.declared_work(ON_A_TPU) == hlo_work.Work(TURNS * 500, TURNS * 900)
    repeats = hlo_work.work_of_repeats(ON_A_TPU)
    assert repeats.flops == (TURNS - 1) * (500 + 1)  # and the counter's
    # The kernel; of the array updated in place the slice alone, read and written; two scalars and
    # their sum, and the place of the update.
    assert repeats.bytes_accessed == (TURNS - 1) * (900 + 2 * SLICE + 4 * SCALAR)


def test_an_array_updated_in_place_is_written_where_it_changes_in_whole_tiles():
    copied = 2 * SCALAR  # the counter, before the loop
    assert hlo_work.memory_traffic(ON_A_TPU) == copied + TURNS * (SLICE + 2 * SCALAR)
