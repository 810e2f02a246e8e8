"""Hands a study on to other tools: `python -m mpjax.export --workdir=out/mine --out=out/export`.

Of a finished study (its predictions, its motifs, its heads), `--what` writes any of

  csv    predictions, motif bouts and usage per recording, as .csv and as .parquet
  boris  projects that BORIS opens, motifs.boris and classes.boris, and tables of their events
  nwb    a Neurodata Without Borders file per recording (pip install 'mpjax[nwb]')
  model  projector and heads as one file of StableHLO, with load.py, which needs only jax and
         flatbuffers (pip install 'mpjax[export]')

Motifs are those of the codebook of all animals that may be trained on.
"""

from absl import flags

from mpjax import cli


def main() -> None:
    """Runs the binary."""
    workdir = flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    out = flags.DEFINE_string("out", None, "Folder to write.", required=True)
    what = flags.DEFINE_list("what", ["csv", "boris"], "Any of csv, boris, nwb, model.")
    videos = flags.DEFINE_string("videos", "", "Folder of the videos, where they have moved.")
    start = flags.DEFINE_string(
        "session_start", "", "nwb: ISO 8601, of recordings whose date is not known."
    )
    species = flags.DEFINE_string("species", "Mus musculus", "nwb: in Latin.")
    age = flags.DEFINE_string("age", "", "nwb: of the animals, ISO 8601, e.g. P12W or P10W/P14W.")
    weights = flags.DEFINE_string("weights", "", "The study's projector weights, if they moved.")

    def run() -> None:
        from mpjax.studies import export

        export.run(
            workdir.value,
            out.value,
            what=what.value,
            videos=videos.value,
            session_start=start.value,
            species=species.value,
            age=age.value,
            weights=weights.value,
        )

    cli.start_plain(run)


if __name__ == "__main__":
    main()
