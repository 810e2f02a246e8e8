"""Scores new recordings with a finished study: `python -m mpjax.predict --model=DIR VIDEO --out=O`.

DIR is the study's folder (its --workdir). A VIDEO is a file or a folder of videos; several may be
given. --cohort names a table of them, with the columns video and, where wanted, roi and fps.
Nothing is trained: clips are cut as for the study, embedded by its projector, and classified by
all its heads, calibrated as there.

O gets clips.csv (a row per clip: probability of every class and group, pain, entropy,
disagreement of the heads, and whether the clip is unlike anything that the study was trained on),
bouts.csv (successive clips of one group), recordings.csv (means and spreads, share of unlike clips)
and provenance.json. A killed run continues at the recording where it stopped.

  mpjax predict --model=out/mine new/m31_d03.mp4 new/m32_d03.mp4 --out=out/new
  mpjax predict --model=out/mine new --out=out/new --roi=40:0:640:480

Classes are those of the study's own cohort: its conditions on its days, nothing else. A recording
of another strain, camera or condition gets probabilities too; the column `unlike` says how far to
trust them. For research only: no figure here says what an animal suffers from.
"""

from absl import flags

from mpjax import cli


def main(*words: str) -> int:
    """Scores the videos that words and flags name; returns the exit status."""
    from mpjax.studies import scoring, stages

    given = flags.FLAGS
    rows = stages.read_recordings(given.cohort) if given.cohort else []
    sources = scoring.find_sources(words, rows=rows, roi=given.roi)
    return scoring.run(given.model, sources, given.out, weights=given.weights)


if __name__ == "__main__":
    flags.DEFINE_string("model", None, "Folder of a finished study.", required=True)
    flags.DEFINE_string("out", None, "Folder of the tables.", required=True)
    flags.DEFINE_string("cohort", "", "Table of recordings: video, and roi and fps.")
    flags.DEFINE_string("roi", "", "Region of interest x:y:w:h in px, of all recordings.")
    flags.DEFINE_string("weights", "", "The study's projector weights, if they moved.")
    cli.start_plain(main, words=True)
