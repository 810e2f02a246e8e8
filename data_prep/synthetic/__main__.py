"""Generates a cohort with known truth: `python -m data_prep.synthetic --out=DIR`.

Effect sizes are fields of `SyntheticConfig`: `--config.synthetic.severity=0.5`,
`--config.synthetic.null=true`. With `--config.synthetic.task=behaviours`, each recording shows one
behaviour, its label, by animals that are in no pain cohort. `cohort.csv` names videos/ and pose/;
the truth is in labels/ (behaviour per frame), keypoints/ (exact positions, contact) and truth.json.
"""

from absl import flags

from data_prep.synthetic.cohort import generate
from mpjax import cli

if __name__ == "__main__":
    out = flags.DEFINE_string("out", None, "Folder to write the cohort to.", required=True)
    workers = flags.DEFINE_integer("workers", 0, "Processes; default: one per core.", lower_bound=0)
    cli.start(lambda config: print(generate(out.value, config.synthetic, workers=workers.value)))
