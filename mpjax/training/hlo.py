"""Reads a compiled program's text (HLO): its collective operations, and its traffic with memory."""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping

# Of XLA's text; "-start" begins an asynchronous operation, whose "-done" is not counted again.
COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)

_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.+)$")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_GROUPS = re.compile(r"\breplica_groups=(?:\{\{([\d,]+)\}|\[\d+,(\d+)\])")
_MESH_GROUPS = re.compile(r"\breplica_groups=mesh\[([^\]]*)\] \{([^}]*)\}")
_CHANNEL = re.compile(r"\bchannel_id=(\d+)")

# Operations that only name memory, or whose bytes are those of what they call or have begun.
_WITHOUT_TRAFFIC = (
    *("parameter", "constant", "iota", "tuple", "get-tuple-element", "bitcast", "after-all"),
    *("while", "conditional", "call", "opt-barrier", "partition-id", "replica-id"),
)


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective operation, on one device.

    Attributes:
        kind: of `COLLECTIVES`.
        group: devices that take part together.
        bytes: of the whole array: what each device ends with (all-gather) or starts from (others).
        times: how often it runs; more than 1 in a loop.
    """

    kind: str
    group: int
    bytes: int
    times: int

    @property
    def sent_bytes(self) -> float:
        """Bytes that each device sends, once, at least.

        Ring algorithms, which are optimal: Patarasuk and Yuan, doi 10.1016/j.jpdc.2008.09.002.
        """
        others = (self.group - 1) / self.group
        return self.bytes * {"all-reduce": 2 * others, "collective-permute": 1}.get(
            self.kind, others
        )


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    parameter: int | None  # its number, where it is one


def collectives(text: str, devices: int) -> list[Collective]:
    """Lists the collective operations of a program.

    A loop's operations count as often as it runs where the compiler knows that number, else once;
    every branch of a conditional counts.

    Args:
        text: `compiled.as_text()`, of one device of many.
        devices: of the program: the group of an operation that names none.
    """
    found = []
    seen = set()
    for instruction, times, scattering, _ in _executed(text):
        kind = instruction.opcode.removesuffix("-start")
        if kind not in COLLECTIVES:
            continue
        # On TPUs an operation's start, end and what runs meanwhile are fusions that repeat it.
        channel = _CHANNEL.search(instruction.attributes)
        if channel and channel[1] in seen:
            continue
        seen.add(channel[1] if channel else None)
        kind = "reduce-scatter" if scattering and kind == "all-reduce" else kind
        group = _group(instruction.attributes) or devices
        size = _size(_result(instruction))
        if instruction.opcode.startswith("reduce-scatter"):
            size *= group
        found.append(Collective(kind, group, size, times))
    return found


def memory_traffic(text: str) -> int:
    """Counts the bytes that a program reads from and writes to a device's main memory.

    Each operation's operands and results count once, of a sliced operand the slices alone, unless
    they lie in another memory space, such as a TPU's VMEM. A kernel's blocks that are fetched again
    are not counted again.

    Args:
        text: `compiled.as_text()`.
    """
    computations, _ = _parse(text)
    total = 0
    for one, times, _, types in _executed(text):
        if types is None or one.opcode in _WITHOUT_TRAFFIC:
            continue
        if one.opcode.endswith(("-done", "-update")):
            continue
        total += times * _size(_result(one), main=True)
        for i, name in enumerate(one.operands):
            whole = _size(types.get(name, ""), main=True)
            total += times * min(whole, _read(computations, [], one, i, whole))
    return total


def _read(
    computations: Mapping[str, list[_Instruction]],
    around: list[_Instruction],
    one: _Instruction,
    i: int,
    whole: int,
) -> int:
    """Returns how many bytes an operation reads of its operand `i`, which has `whole`.

    Args:
        computations: of the program.
        around: the operations among which `one` is, if it is fused with them.
        one: the operation.
        i: number of the operand.
        whole: its bytes.
    """
    if one.opcode in ("slice", "dynamic-slice", "slice-start", "gather"):
        return _size(_result(one)) if i == 0 else whole
    if one.opcode == "dynamic-update-slice" and i == 0:
        return 0
    name = one.name
    if one.opcode == "fusion":
        around = computations[_called(one)[0]]
        name = next(inner.name for inner in around if inner.parameter == i)
    elif one.opcode != "bitcast":
        return whole
    return sum(
        _read(computations, around, user, k, whole)
        for user in around
        for k, operand in enumerate(user.operands)
        if operand == name
    )


def _executed(
    text: str,
) -> Iterator[tuple[_Instruction, int, bool, Mapping[str, str] | None]]:
    """Yields each instruction that runs, how often, whether within what scatters its sum, and the
    types of its computation's values; None within a fusion, whose values are in no memory.
    """
    computations, entry = _parse(text)

    def walk(name: str, times: int, fused: bool) -> Iterator[tuple]:
        instructions = computations.get(name, [])
        types = None if fused else {one.name: one.type for one in instructions}
        # XLA writes a reduce-scatter on TPUs as an all-reduce fused with the slicing of its result.
        scattering = name.startswith("all-reduce-scatter")
        for one in instructions:
            yield one, times, scattering, types
            for called in _called(one):
                inside = fused or one.opcode not in ("while", "conditional", "call")
                yield from walk(called, times * _trips(one), inside)

    return walk(entry, 1, False)


def _trips(instruction: _Instruction) -> int:
    known = _TRIPS.search(instruction.attributes) if instruction.opcode == "while" else None
    return int(known[1]) if known else 1


def _called(instruction: _Instruction) -> list[str]:
    called = _CALLED.findall(instruction.attributes)
    for names in _BRANCHES.findall(instruction.attributes):
        called += [name.strip().lstrip("%") for name in names.split(",")]
    return called


@functools.lru_cache(maxsize=1)
def _parse(text: str) -> tuple[dict[str, list[_Instruction]], str]:
    """Returns the instructions of every computation by its name, and the name of the first."""
    computations: dict[str, list[_Instruction]] = {}
    entry = current = ""
    for line in text.splitlines():
        if instruction := _INSTRUCTION.match(line):
            computations[current].append(_instruction(*instruction.groups()))
        elif computation := _COMPUTATION.match(line):
            current = computation[2]
            computations[current] = []
            entry = current if computation[1] else entry
    return computations, entry


def _instruction(name: str, text: str) -> _Instruction:
    end = _balanced(text) if text.startswith("(") else text.index(" ")
    opcode, _, rest = text[end:].strip().partition("(")
    rest = "(" + rest
    end_of_operands = _balanced(rest)
    operands = tuple(re.findall(r"%([\w.\-]+)", rest[:end_of_operands]))
    number = int(rest[1 : end_of_operands - 1]) if opcode == "parameter" else None
    return _Instruction(name, text[:end], opcode, operands, rest[end_of_operands:], number)


def _balanced(text: str) -> int:
    """Returns where the parenthesis that `text` begins with has closed."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return i + 1
    raise ValueError(f"HLO: a parenthesis is never closed: {text[:80]}")


def _result(instruction: _Instruction) -> str:
    """Returns the type of what an operation makes; one that is only begun also lists its operands.

    An asynchronous operation's type is (operands, results, ...), but for all-reduce.
    """
    if not instruction.opcode.endswith("-start") or instruction.opcode == "all-reduce-start":
        return instruction.type
    return _elements(instruction.type)[1]


def _elements(type_: str) -> list[str]:
    """Splits a tuple's type."""
    parts, depth, start = [], 0, 1
    for i, character in enumerate(type_):
        depth += (character in "([{") - (character in ")]}")
        if (depth == 1 and character == ",") or depth == 0:
            parts.append(type_[start:i])
            start = i + 1
    return parts


def _size(type_: str, *, main: bool = False) -> int:
    """Returns the bytes of all arrays in a type; with `main`, of those in main memory alone."""
    total = 0
    for element, shape, layout in _ARRAY.findall(type_):
        if main and re.search(r"S\(\d+\)", layout):
            continue
        count = math.prod(int(n) for n in shape.split(",") if n)
        total += math.ceil(count * _bits(element) / 8)
    return total


def _bits(element: str) -> int:
    digits = re.search(r"\d+", element)
    return int(digits[0]) if digits else (8 if element == "pred" else 0)


def _group(attributes: str) -> int | None:
    if mesh := _MESH_GROUPS.search(attributes):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", mesh[2]))
    groups = _GROUPS.search(attributes)
    if not groups:
        return None
    return len(groups[1].split(",")) if groups[1] else int(groups[2])
