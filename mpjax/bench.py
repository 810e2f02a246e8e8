"""Measures this machine: `python -m mpjax.bench --config=configs/demo.py --workdir=out/demo`.

How fast it reads records, decodes clips, projects them and trains on them, with the config's
projector, views and batches: where the devices wait for the loader, and which part of what they can
do they reach. Reads `WORKDIR/dataset`; without `--workdir`, random clips as large as the config's
serve. `--json=FILE` writes the figures too.

FLOPs are those that XLA counts in the program (`HloCostAnalysis`); the peak is that of large matrix
products, measured here on the same devices.
"""

import tempfile

from absl import flags
from etils import epath

from mpjax import cli, files
from mpjax.config import StudyConfig


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
    print(speed.format_table(measured))
    if json is not None:
        files.write_json(json, measured)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study; none: random clips.")
    flags.DEFINE_string("json", None, "File to write the figures to.")
    cli.start(lambda config: run(config, flags.FLAGS.workdir, flags.FLAGS.json))
