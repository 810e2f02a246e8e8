"""Hands a study on to other tools: `python -m mpjax.export --workdir=out/mine --out=out/export`.

Of a finished study (its predictions, its motifs, its heads), `--what` writes any of

  csv    predictions, motif bouts and usage per recording, as .csv and as .parquet
  boris  projects that BORIS opens, motifs.boris and classes.boris, and tables of their events
  nwb    a Neurodata Without Borders file per recording (pip install 'mpjax[nwb]')
  model  projector and heads as one file of StableHLO, with load.py, which needs only jax and
         flatbuffers (pip install 'mpjax[export]')

Motifs are those of the codebook of all animals that may be trained on.
"""

from typing import Any

from absl import flags

from mpjax import cli

_PASSED = ("what", "videos", "session_start", "species", "age", "weights")


def main() -> None:
    """Writes the formats that the flags name."""
    from mpjax.studies import export

    given = flags.FLAGS
    passed: dict[str, Any] = {name: given[name].value for name in _PASSED}
    export.run(given.workdir, given.out, **passed)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    flags.DEFINE_string("out", None, "Folder to write.", required=True)
    flags.DEFINE_list("what", ["csv", "boris"], "Any of csv, boris, nwb, model.")
    flags.DEFINE_string("videos", "", "Folder of the videos, where they have moved.")
    when = "nwb: start of recordings without a date, ISO 8601."
    flags.DEFINE_string("session_start", "", when)
    flags.DEFINE_string("species", "Mus musculus", "nwb: species, in Latin.")
    flags.DEFINE_string("age", "", "nwb: age of the animals, ISO 8601, e.g. P12W or P10W/P14W.")
    flags.DEFINE_string("weights", "", "The study's projector weights, if they moved.")
    cli.start_plain(main)
