"""Reads a compiled program's text (HLO): what runs how often, and its collective operations."""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# Names in XLA's text; an asynchronous one counts at its "-start", not again at its "-done".
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.+)$")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
_CONDITION = re.compile(r"\bcondition=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_GROUPS = re.compile(r"\breplica_groups=(?:\{\{([\d,]+)\}|\[\d+,(\d+)\])")
_MESH_GROUPS = re.compile(r"\breplica_groups=mesh\[([^\]]*)\] \{([^}]*)\}")
_CHANNEL = re.compile(r"\bchannel_id=(\d+)")


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective operation, on one device."""

    kind: str  # of `COLLECTIVES`
    group: int  # number of devices that take part
    bytes: int  # of the whole array that each device starts from; for all-gather, ends with
    times: int  # how often it runs; more than 1 in a loop

    @property
    def sent_bytes(self) -> float:
        """Bytes that each device sends, at least.

        By ring algorithms, which are optimal: Patarasuk and Yuan, doi 10.1016/j.jpdc.2008.09.002.
        """
        others = (self.group - 1) / self.group
        factors = {"all-reduce": 2 * others, "collective-permute": 1}
        return self.bytes * factors.get(self.kind, others)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """An operation as written: `%name = type opcode(argument), attributes`."""

    name: str
    type: str
    opcode: str
    argument: str  # its operands; for a parameter its number, for a constant its value
    attributes: str

    @functools.cached_property
    def operands(self) -> tuple[str, ...]:
        """Names of its operands."""
        return tuple(re.findall(r"%([\w.\-]+)", self.argument))


class Run(NamedTuple):
    """An operation in the place where it runs."""

    instruction: Instruction
    times: int  # how often it runs; more than 1 in a loop
    types: Mapping[str, str]  # of the values of its computation, by their names
    fused: bool  # it is in a fusion, so that its values are in no memory
    scattering: bool  # it is in a computation that scatters its sum
    computations: Mapping[str, list[Instruction]]  # of the program, by their names


def collectives(text: str, devices: int) -> list[Collective]:
    """Lists the collective operations of a program, counted as by `executed`.

    An operation without a group takes part on all `devices`.
    """
    found, seen = [], set()
    for run in executed(text):
        instruction = run.instruction
        kind = instruction.opcode.removesuffix("-start")
        if kind not in COLLECTIVES:
            continue
        kind = "reduce-scatter" if run.scattering and kind == "all-reduce" else kind
        group = _group(instruction.attributes) or devices
        arrays = arrays_of(result_type(instruction))
        size = sum(math.ceil(math.prod(shape) * bits / 8) for bits, shape, _ in arrays)
        if instruction.opcode.startswith("reduce-scatter"):
            size *= group
        # On TPUs an operation's start, its end and what runs meanwhile are fusions that repeat it.
        # Operations that were combined share a channel, so shapes distinguish them.
        channel = _CHANNEL.search(instruction.attributes)
        shapes = re.sub(r"\{[^}]*\}", "", result_type(instruction))
        if channel and (channel[1], shapes) in seen:
            continue
        seen.add((channel[1], shapes) if channel else None)
        found.append(Collective(kind, group, size, run.times))
    return found


def executed(text: str) -> Iterator[Run]:
    """Yields every operation that runs.

    Operations in a loop run as often as the loop's known trip count, else once; every branch of a
    conditional runs. `text` is `compiled.as_text()`.
    """
    computations, entry = _parse(text)

    def walk(name: str, times: int, fused: bool) -> Iterator[Run]:
        instructions = computations.get(name, [])
        types = {one.name: one.type for one in instructions}
        # XLA writes a reduce-scatter on TPUs as an all-reduce fused with the slicing of its result.
        scattering = name.startswith("all-reduce-scatter")
        for one in instructions:
            yield Run(one, times, types, fused, scattering, computations)
            trips = _trips(computations, instructions, one) if one.opcode == "while" else 1
            for called in called_by(one):
                inside = fused or one.opcode not in ("while", "conditional", "call")
                yield from walk(called, times * trips, inside)

    return walk(entry, 1, False)


def _trips(
    computations: Mapping[str, list[Instruction]], around: list[Instruction], loop: Instruction
) -> int:
    """Returns the trip count of a loop, from the compiler or from the loop's condition."""
    known = _TRIPS.search(loop.attributes)
    if known:
        return int(known[1])
    # On TPUs: `counter < bound`, for a counter that begins with a constant and, as JAX writes all
    # of its loops, goes up by 1.
    outside = {one.name: one for one in around}
    name = _CONDITION.search(loop.attributes)
    condition = {one.name: one for one in computations[name[1]]} if name else {}
    test = list(condition.values())[-1]
    state = outside[loop.operands[0]]
    if test.opcode != "compare" or "direction=LT" not in test.attributes or state.opcode != "tuple":
        return 1
    counter, bound = (condition[operand] for operand in test.operands)
    index = re.search(r"\bindex=(\d+)", counter.attributes)
    if bound.opcode != "constant" or not index:
        return 1
    start = outside[state.operands[int(index[1])]]
    while start.opcode in ("copy", "copy-start", "copy-done", "bitcast"):
        start = outside[start.operands[0]]
    return int(bound.argument) - int(start.argument) if start.opcode == "constant" else 1


def called_by(instruction: Instruction) -> list[str]:
    """Names the computations that an operation runs."""
    called = _CALLED.findall(instruction.attributes)
    for names in _BRANCHES.findall(instruction.attributes):
        called += [name.strip().lstrip("%") for name in names.split(",")]
    return called


@functools.lru_cache(maxsize=1)
def _parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Returns the instructions of every computation by its name, and the name of the first."""
    computations: dict[str, list[Instruction]] = {}
    entry = current = ""
    for line in text.splitlines():
        if instruction := _INSTRUCTION.match(line):
            computations[current].append(_instruction(*instruction.groups()))
        elif computation := _COMPUTATION.match(line):
            current = computation[2]
            computations[current] = []
            entry = current if computation[1] else entry
    return computations, entry


def _instruction(name: str, text: str) -> Instruction:
    end = _balanced(text) if text.startswith("(") else text.index(" ")
    opcode, _, rest = text[end:].strip().partition("(")
    rest = "(" + rest
    end_of_argument = _balanced(rest)
    return Instruction(
        name, text[:end], opcode, rest[1 : end_of_argument - 1], rest[end_of_argument:]
    )


def _balanced(text: str) -> int:
    """Returns the end of the parentheses that `text` begins with."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return i + 1
    raise ValueError(f"HLO: a parenthesis is never closed: {text[:80]}")


def result_type(instruction: Instruction) -> str:
    """Returns the type of an operation's result.

    The type of an asynchronous start is (operands, results, ...), except for all-reduce.
    """
    if not instruction.opcode.endswith("-start") or instruction.opcode == "all-reduce-start":
        return instruction.type
    return elements_of(instruction.type)[1]


def elements_of(type_: str) -> list[str]:
    """Splits the type of a tuple."""
    parts, depth, start = [], 0, 1
    for i, character in enumerate(type_):
        depth += (character in "([{") - (character in ")]}")
        if (depth == 1 and character == ",") or depth == 0:
            parts.append(type_[start:i])
            start = i + 1
    return parts


def arrays_of(type_: str) -> list[tuple[int, list[int], str]]:
    """Lists the arrays of a type: bits per element, shape, and layout as written."""

    def bits(element: str) -> int:
        digits = re.search(r"\d+", element)
        return int(digits[0]) if digits else (8 if element == "pred" else 0)

    return [
        (bits(element), [int(n) for n in shape.split(",") if n], layout)
        for element, shape, layout in _ARRAY.findall(type_)
    ]


def _group(attributes: str) -> int | None:
    if mesh := _MESH_GROUPS.search(attributes):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", mesh[2]))
    groups = _GROUPS.search(attributes)
    if not groups:
        return None
    return len(groups[1].split(",")) if groups[1] else int(groups[2])
