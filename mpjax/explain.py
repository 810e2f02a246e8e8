"""Explains a study's model: `python -m mpjax.explain --config=demo --workdir=out/demo`.

Reads dataset, embeddings and heads; writes `WORKDIR/explain`: the codebooks of motifs and each
window's motif, a gallery of typical windows, saliency maps of single predictions, what the audit
of confounds needs (scenes of the recordings, embeddings of single frames and of empty chambers),
and what other methods need (pixels, a projector of random weights, B-SOiD). Each part is skipped
where it is unchanged, and left out by a switch (`--config.saliency.run=false`).
`python -m mpjax.eval` evaluates them.
"""

from absl import flags

from mpjax import cli
from mpjax.studies import stages

if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(lambda config: stages.explain(config, flags.FLAGS.workdir))
