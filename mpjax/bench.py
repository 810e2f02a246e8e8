"""Measures this machine: `python -m mpjax.bench --config=configs/demo.py --workdir=out/demo`.

How fast it reads records, decodes clips, projects them and trains on them, with the config's
projector, views and batches: where the devices wait for the loader, and which part of what they can
do they reach. Reads `WORKDIR/dataset`; without `--workdir`, random clips as large as the config's
serve. `--json=FILE` writes the figures too.

FLOPs are those that XLA counts in the program (`HloCostAnalysis`); the peak is that of large matrix
products, measured here on the same devices.
"""

import tempfile
from typing import Any

from absl import flags
from etils import epath

from mpjax import cli
from mpjax.config import StudyConfig
from mpjax.io import files


def run(
    config: StudyConfig,
    workdir: epath.PathLike | None = None,
    json: epath.PathLike | None = None,
) -> None:
    """Measures and prints.

    Args:
        config: of the study.
        workdir: its folder, which has the dataset; None: random clips.
        json: file to write the figures to as well.

    Raises:
        ValueError: see `speed.measure`.
    """
    from mpjax.training import speed

    if workdir is not None:
        measured = speed.measure(epath.Path(workdir) / "dataset", config)
    else:
        with tempfile.TemporaryDirectory() as folder:
            measured = speed.measure(speed.write_random_dataset(folder, config), config)
    print(format_table(measured))
    if json is not None:
        files.write_json(json, measured)


def format_table(speed: Any) -> str:
    """Returns the figures of a `training.speed.Speed` as lines of text."""

    def program(name: str, found: Any) -> tuple[str, str, str]:
        notes = (
            f"batch {found.batch_size}, {found.flops_per_clip / 1e9:.3g} GFLOP per clip, "
            f"{found.share_of_peak:.0%} of peak, {found.bytes_per_device / 1e6:,.0f} MB per device"
        )
        return name, f"{found.clips_per_s:,.1f} clips/s", notes

    rows = [
        ("records read", f"{speed.records_per_s:,.0f} /s", "at random places, checksums verified"),
        ("decoded, to embed", f"{speed.decoded_per_s:,.1f} clips/s", "views as configured"),
        ("decoded, to train", f"{speed.augmented_per_s:,.1f} clips/s", "augmented"),
        program(f"projector, {speed.dtype}", speed.forward),
        program(f"training step ({speed.trained})", speed.train),
        ("headroom, embedding", f"{speed.forward_headroom:,.2f} x", "decoded / projected"),
        ("headroom, training", f"{speed.train_headroom:,.2f} x", "below 1 the devices wait"),
    ]
    rows += [
        (f"peak, {dtype}", f"{flops / 1e9:,.1f} GFLOP/s", "products of large matrices")
        for dtype, flops in speed.peak_flops.items()
    ]
    lines = [f"{name:22s} {value:>16s}   {note}" for name, value, note in rows]
    return "\n".join([speed.devices, *lines])


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study; none: random clips.")
    flags.DEFINE_string("json", None, "File to write the figures to.")
    cli.start(lambda config: run(config, flags.FLAGS.workdir, flags.FLAGS.json))
