"""What a compiled program costs on a chip: memory, FLOPs, traffic, and the least time it takes."""

import dataclasses
from typing import Any

import jax

from mpjax.profiling import hlo, hlo_work

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """A generation of TPU, per chip."""

    hbm_bytes: float  # main memory
    flops: float  # peak of bfloat16 arithmetic, 1/s
    hbm_bandwidth: float  # of main memory, bytes/s
    # Over all links to other chips together, bytes/s. Only an axis that forms a ring uses all of
    # its links: on v5e and v6e, one of 16 chips.
    ici_bandwidth: float


# cloud.google.com/tpu/docs/v4, .../v5e, .../v5p and .../v6e, "System architecture"; the links'
# Gbit/s are divided by 8.
CHIPS = {
    "v4": Chip(32 * GIB, 275e12, 1200e9, 300e9),
    "v5e": Chip(16 * GIB, 197e12, 819e9, 200e9),
    "v5p": Chip(95 * GIB, 459e12, 2765e9, 600e9),
    "v6e": Chip(32 * GIB, 918e12, 1640e9, 400e9),
}


def chip_of(topology: str) -> Chip:
    """Returns the chip of a topology such as "v5e:4x4".

    Raises:
        ValueError: the chip is not in `CHIPS`.
    """
    generation = topology.partition(":")[0]
    if generation not in CHIPS:
        raise ValueError(
            f"topology {topology!r}: no data for chip {generation!r}; choose {', '.join(CHIPS)}, "
            "as in v5e:4x4"
        )
    return CHIPS[generation]


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Collective operations of one kind, per chip and run of the program."""

    count: float = 0.0
    bytes: float = 0.0  # of the whole arrays that are reduced, gathered or exchanged
    sent_bytes: float = 0.0  # see `hlo.Collective`


@dataclasses.dataclass(frozen=True)
class Costs:
    """What one run of a program takes, per chip."""

    arguments: float  # bytes of main memory, as the next three
    outputs: float  # those that reuse the memory of arguments do not count
    temporary: float
    code: float  # the program itself
    flops: float  # as the compiler counts them, with recomputation
    hbm_bytes: float  # read from and written to main memory, see `hlo_work.memory_traffic`
    bytes_accessed: float  # as the compiler counts them, in main and vector memory together
    collectives: dict[str, Traffic]  # by kind

    @property
    def memory(self) -> float:
        """Bytes of main memory that the program needs."""
        return self.arguments + self.outputs + self.temporary + self.code


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Lower bounds of a program's time, in seconds.

    Padding in the matrix units is not counted: an attention head of 32 features takes the time of
    128 there, so that attention takes up to four times its share of `compute`.
    """

    compute: float  # at the peak of bfloat16 arithmetic
    hbm: float  # at the full bandwidth of main memory
    ici: float  # at the full bandwidth of all links
    mfu: float  # upper bound of the model FLOPs utilisation, 0 to 1

    @property
    def seconds(self) -> float:
        """The largest of the bounds."""
        return max(self.compute, self.hbm, self.ici)

    @property
    def limit(self) -> str:
        """The resource that sets it."""
        return max(("compute", "hbm", "ici"), key=lambda name: getattr(self, name))


def measure(compiled: jax.stages.Compiled, *, devices: int) -> Costs:
    """Reads the costs of a compiled program that runs on `devices` devices.

    XLA counts a loop's body once; here it counts as often as it runs. For a Pallas kernel, which
    XLA cannot analyse, FLOPs and bytes accessed are those that it declares.
    """
    memory: Any = compiled.memory_analysis()
    counted: Any = compiled.cost_analysis()
    text = compiled.as_text() or ""
    repeats = hlo_work.work_of_repeats(text)
    collectives: dict[str, Traffic] = {}
    for one in hlo.collectives(text, devices):
        so_far = collectives.get(one.kind, Traffic())
        collectives[one.kind] = Traffic(
            so_far.count + one.times,
            so_far.bytes + one.times * one.bytes,
            so_far.sent_bytes + one.times * one.sent_bytes,
        )
    return Costs(
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporary=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        flops=counted["flops"] + repeats.flops,
        hbm_bytes=hlo_work.memory_traffic(text),
        bytes_accessed=counted["bytes accessed"] + repeats.bytes_accessed,
        collectives=collectives,
    )


def roofline(costs: Costs, chip: Chip, *, model_flops: float) -> Roofline:
    """Bounds the time of a program from below.

    Source: Williams et al., doi 10.1145/1498765.1498785; MFU: arXiv 2204.02311, appendix B.
    Costs and the model's FLOPs, which are without recomputation, are per chip.
    """
    # A kernel declares only its matrix products, which may be less than its model needs.
    compute = max(costs.flops, model_flops) / chip.flops
    hbm = costs.hbm_bytes / chip.hbm_bandwidth
    ici = sum(one.sent_bytes for one in costs.collectives.values()) / chip.ici_bandwidth
    return Roofline(compute, hbm, ici, model_flops / (max(compute, hbm, ici) * chip.flops))


@dataclasses.dataclass(frozen=True)
class Report:
    """What a program costs on each chip of a topology."""

    program: str  # of `aot.PROGRAMS`
    topology: str  # see `aot.devices_of`
    mesh: dict[str, int]  # size of its axes
    fully_sharded: bool  # see `partitioning.shardings`
    clips: float  # per chip, in one run of the program
    model_flops: float  # per clip; see `aot.model_flops`
    costs: Costs
    seconds: float  # compile time

    @property
    def chip(self) -> Chip:
        """The chip that it runs on."""
        return chip_of(self.topology)

    @property
    def roofline(self) -> Roofline:
        """Lower bounds of the program's time."""
        return roofline(self.costs, self.chip, model_flops=self.clips * self.model_flops)

    @property
    def fits(self) -> bool:
        """Whether the chip's memory holds it all."""
        return self.costs.memory <= self.chip.hbm_bytes

    def to_json(self) -> dict[str, Any]:
        """Returns all figures, in bytes, seconds and FLOPs."""
        bounds = {"seconds": self.roofline.seconds, "limit": self.roofline.limit}
        return dataclasses.asdict(self) | {
            "fits": self.fits,
            "chip": dataclasses.asdict(self.chip),
            "roofline": dataclasses.asdict(self.roofline) | bounds,
        }

    def __str__(self) -> str:
        """Returns a summary of a few lines."""
        own, bounds = self.costs, self.roofline
        collectives = ", ".join(
            f"{one.count:.0f} {kind} of {one.bytes / 1e6:.1f} MB in total"
            for kind, one in sorted(own.collectives.items())
        )
        memory = (
            f"arguments {own.arguments / GIB:.2f}, outputs {own.outputs / GIB:.2f}, "
            f"temporary {own.temporary / GIB:.2f}, program {own.code / GIB:.2f}"
        )
        return "\n".join(
            (
                f"{self.program}, {self.topology}: mesh {self.mesh}"
                f"{', fully sharded' if self.fully_sharded else ''}, {self.clips:g} clips per "
                f"chip; compiled in {self.seconds:.0f} s. Per chip and step:",
                f"  HBM          {own.memory / GIB:.2f} of {self.chip.hbm_bytes / GIB:.0f} GiB "
                f"({'fits' if self.fits else 'DOES NOT FIT'}): {memory}",
                f"  arithmetic   {self.model_flops / 1e12:.3f} TFLOP per clip in the model, "
                f"{own.flops / self.clips / 1e12:.3f} as compiled",
                f"  HBM traffic  {own.hbm_bytes / 1e9:.1f} GB "
                f"({own.bytes_accessed / 1e9:.1f} GB accessed, vector memory included)",
                f"  collectives  {collectives or 'none'}",
                f"  roofline     {bounds.seconds * 1e3:.1f} ms, limited by {bounds.limit} (compute "
                f"{bounds.compute * 1e3:.1f}, HBM {bounds.hbm * 1e3:.1f}, ICI "
                f"{bounds.ici * 1e3:.1f} ms): at most {self.clips / bounds.seconds:.1f} clips/s "
                f"per chip and {bounds.mfu:.0%} MFU",
            )
        )
