"""What a compiled program moves and computes, read from its text (HLO)."""

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from mpjax.profiling import hlo

_DECLARED = re.compile(r'"cost_estimate":\{"flops":"(\d+)".*?"bytes_accessed":"(\d+)"')
_LABELS = re.compile(r"\bdim_labels=(\w+)_(\w+)->(\w+)")
_WINDOW = re.compile(r"\bwindow=\{([^}]*)\}")
_TILED = re.compile(r"\{([\d,]*):T\(([\d,]+)\)")
_CONTRACTED = re.compile(r"\blhs_contracting_dims=\{([\d,]*)\}")

# Operations that only name memory, or whose bytes are counted in what they call or start.
_WITHOUT_TRAFFIC = (
    *("parameter", "constant", "iota", "tuple", "get-tuple-element", "bitcast", "after-all"),
    *("while", "conditional", "call", "opt-barrier", "partition-id", "replica-id"),
)

_ALLOCATION = 'custom_call_target="AllocateBuffer"'  # on TPUs
_ENDS = ("-done", "-update")  # of asynchronous operations

# One FLOP per element, as XLA counts.
_ELEMENTWISE = (
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "negate", "abs", "sign"),
    *("and", "or", "xor", "not", "shift-left", "shift-right-logical", "compare", "select"),
    *("clamp", "convert", "floor", "round-nearest-even", "remainder", "is-finite"),
)


class Work(NamedTuple):
    """Work of operations on one device."""

    flops: int
    bytes_accessed: int  # read and written, of any memory


def memory_traffic(text: str) -> int:
    """Counts the bytes that a program reads from and writes to a device's main memory.

    The operands and results of each operation count once, for a sliced operand or an updated result
    only the slice, unless they are in another memory space, such as a TPU's VMEM. Partly filled
    tiles count whole. Blocks that a kernel fetches again are not counted again.
    """
    return sum(
        run.times * _moved(run, main=True)
        for run in hlo.executed(text)
        if not run.fused and not run.instruction.opcode.endswith(_ENDS)
    )


def work_of_repeats(text: str) -> Work:
    """Counts what loops do after the first run of their bodies, the only one that XLA counts.

    The rules are those of XLA's `HloCostAnalysis`, without the arithmetic of rare operations.
    """
    return _total(text, lambda run: run.times - 1)


def declared_work(text: str) -> Work:
    """Sums what kernels that XLA cannot analyse declare (Pallas: `CostEstimate`)."""
    return _total(text, lambda run: run.times if _declared(run.instruction) else 0)


def _total(text: str, weight: Callable[[hlo.Run], int]) -> Work:
    arithmetic = moved = 0
    for run in hlo.executed(text):
        if not (times := weight(run)):
            continue
        own = _declared(run.instruction)
        arithmetic += times * (own.flops if own else flops(run.instruction, run.types))
        if not run.fused:
            moved += times * (own.bytes_accessed if own else _moved(run, main=False))
    return Work(arithmetic, moved)


def _declared(one: hlo.Instruction) -> Work | None:
    found = _DECLARED.search(one.attributes) if one.opcode == "custom-call" else None
    return Work(int(found[1]), int(found[2])) if found else None


def flops(one: hlo.Instruction, types: Mapping[str, str]) -> int:
    """Counts the floating-point operations of an instruction as XLA does, except of rare ones.

    A fusion has none of its own. `types` holds those of the values of its computation.
    """
    if one.opcode in _ELEMENTWISE:
        return math.prod(_shape(one.type))
    if one.opcode == "reduce":
        return math.prod(_shape(types[one.operands[0]]))
    if one.opcode == "dot":
        contracted = _CONTRACTED.search(one.attributes)
        shape = _shape(types[one.operands[0]])
        axes = [int(axis) for axis in contracted[1].split(",") if axis] if contracted else []
        return 2 * math.prod(_shape(one.type)) * math.prod(shape[axis] for axis in axes)
    if one.opcode == "convolution":
        return _convolution_flops(one, types)
    return 0


def _convolution_flops(one: hlo.Instruction, types: Mapping[str, str]) -> int:
    """Counts a convolution's FLOPs; on TPUs every matrix product is one, its batch in the window.

    Products with padding or with the holes of a dilation do not count.
    """
    labels = _LABELS.search(one.attributes)
    if labels is None:
        raise ValueError(f"HLO: convolution {one.name} has no dim_labels")
    shapes = [_shape(types[name]) for name in one.operands[:2]] + [_shape(one.type)]
    sizes, _, results = (
        dict(zip(names, shape, strict=True))
        for names, shape in zip(labels.groups(), shapes, strict=True)
    )
    window = _WINDOW.search(one.attributes)
    options = dict(re.findall(r"(\w+)=(\S+)", window[1])) if window else {}
    groups = re.findall(r"\b(?:feature|batch)_group_count=(\d+)", one.attributes)
    pairs = 2 * results["f"] * sizes["f"] * sizes["b"] // math.prod(map(int, groups))
    for axis, size in enumerate(options["size"].split("x") if options else ()):
        own = {name: value.split("x")[axis] for name, value in options.items()}
        place = (
            int(own.get("stride", 1)) * np.arange(results[str(axis)])[:, None]
            + int(own.get("rhs_dilate", 1)) * np.arange(int(size))
            - int(own.get("pad", "0_0").split("_")[0])
        )
        dilation = int(own.get("lhs_dilate", 1))
        inside = (place >= 0) & (place <= (sizes[str(axis)] - 1) * dilation)
        pairs *= int((inside & (place % dilation == 0)).sum())
    return pairs


def _moved(run: hlo.Run, *, main: bool) -> int:
    """Returns the bytes that an operation reads and writes; with `main`, only in main memory."""
    one, types = run.instruction, run.types
    if one.opcode in _WITHOUT_TRAFFIC or _ALLOCATION in one.attributes:
        return 0
    total = _written(run, main=main)
    if one.opcode.endswith(_ENDS):  # has nothing left to read
        return total
    for i, name in enumerate(one.operands):
        whole = _size(types.get(name, ""), main=main)
        total += min(whole, _read(run.computations, [], one, i, whole))
    return total


def _written(run: hlo.Run, *, main: bool) -> int:
    """Returns how many bytes an operation writes."""
    one = run.instruction
    whole = _size(hlo.result_type(one), main=main)
    if one.opcode == "dynamic-update-slice":
        return min(whole, _size(run.types[one.operands[1]], main=False))
    if one.opcode != "fusion":
        return whole
    inner = {each.name: each for each in run.computations[hlo.called_by(one)[0]]}
    root = list(inner.values())[-1]
    roots, results = [root], [one.type]
    if root.opcode == "tuple":
        roots, results = [inner[name] for name in root.operands], hlo.elements_of(one.type)
    total = 0
    for made, result in zip(roots, results, strict=True):
        while made.opcode == "bitcast":
            made = inner[made.operands[0]]
        own = _size(result, main=main)
        if made.opcode == "dynamic-update-slice":
            own = min(own, _size(inner[made.operands[1]].type, main=False))
        total += own
    return total


def _read(
    computations: Mapping[str, list[hlo.Instruction]],
    around: list[hlo.Instruction],
    one: hlo.Instruction,
    i: int,
    whole: int,
) -> int:
    """Returns how many of the `whole` bytes of its operand `i` an operation reads.

    `around` are the operations that it is fused with.
    """
    if one.opcode in ("slice", "dynamic-slice", "slice-start", "gather"):
        return _size(hlo.result_type(one), main=False) if i == 0 else whole
    if one.opcode == "dynamic-update-slice" and i == 0:
        return 0
    name = one.name
    if one.opcode == "fusion":
        around = computations[hlo.called_by(one)[0]]
        name = next(
            inner.name
            for inner in around
            if inner.opcode == "parameter" and int(inner.argument) == i
        )
    elif one.opcode != "bitcast":
        return whole
    return sum(
        _read(computations, around, user, k, whole)
        for user in around
        for k, operand in enumerate(user.operands)
        if operand == name
    )


def _shape(type_: str) -> list[int]:
    return hlo.arrays_of(type_)[0][1]


def _size(type_: str, *, main: bool) -> int:
    """Returns the bytes that a type's arrays take; with `main`, only those in main memory."""
    return sum(
        math.ceil(math.prod(_tiled(shape, layout)) * bits / 8)
        for bits, shape, layout in hlo.arrays_of(type_)
        if not main or not re.search(r"S\(\d+\)", layout)
    )


def _tiled(shape: list[int], layout: str) -> list[int]:
    """Rounds the axes of an array up to whole tiles, major axes first."""
    found = _TILED.match(layout)
    if not found:
        return shape
    minor_to_major, tile = ([int(n) for n in part.split(",") if n] for part in found.groups())
    padded = [1] * (len(tile) - len(shape)) + [shape[axis] for axis in reversed(minor_to_major)]
    for i, size in enumerate(reversed(tile), start=1):
        padded[-i] = math.ceil(padded[-i] / size) * size
    return padded
