"""A study of noise clips and a Video Swin of toy width: what tests of training train.

As a script, `python small_study.py OUT [dotted.name=value …]` trains in a process of its own.
"""

import ast
import sys
from pathlib import Path

import numpy as np
import small_dataset

from mpjax.config import StudyConfig, from_config_dict, to_config_dict
from mpjax.data.splits import Splits, write_splits
from mpjax.taxonomy import Taxonomy

CLIPS, TRAINED = 24, 16


def get_config(changes=()):
    """Returns a ConfigDict; `changes` are strings `dotted.name=value`."""
    config = to_config_dict(StudyConfig(name="small"))
    config.video.frames = small_dataset.FRAMES
    with config.projector.unlocked() as projector:
        projector.kind, projector.weights = "swin", "random"
        projector.size, projector.crops, projector.batch_size = 16, 1, 8
    config.projector.architecture.embed_dim = 8
    config.projector.architecture.depths = (1, 1)
    config.projector.architecture.num_heads = (2, 4)
    config.projector.architecture.window = (2, 2, 2)
    config.train.what = "all"
    config.train.epochs = 5.0
    config.train.batch_size = 8
    config.train.save_every = 2
    config.train.eval_every = 4
    config.train.log_every = 1
    config.train.optim.learning_rate = 1e-3
    config.train.optim.projector_scale = 1.0
    config.eval.bootstrap = 20
    for change in changes:
        name, value = change.split("=", 1)
        config.update_from_flattened_dict({name: ast.literal_eval(value)})
    return config


def study_config(*changes) -> StudyConfig:
    return from_config_dict(get_config(changes))


def split(i: int) -> str:
    """Two recordings of four clips for each of the splits that are not trained on."""
    return "train" if i < TRAINED else ("val", "test")[(i - TRAINED) // 4]


def noise(i: int) -> list[bytes]:
    pixels = np.random.default_rng(i).integers(0, 256, (small_dataset.FRAMES, 32, 48, 3), np.uint8)
    return small_dataset.encode_frames(pixels)


def write(workdir: Path) -> Path:
    """Writes a study's dataset into `workdir` and returns it."""
    small_dataset.write(workdir / "dataset", CLIPS, encode=noise, split=split)
    write_splits(
        workdir / "dataset",
        Splits(
            scheme="fixed",
            group="animal",
            taxonomy=Taxonomy(("x", "y", "z")),
            exclude=[],
            seed=0,
            cohort="cohort.csv",
            folds={f"v{i // 4}.mp4": -1 for i in range(CLIPS)},
        ),
    )
    return workdir


def main(workdir: str, *changes: str) -> None:
    from absl import flags

    from mpjax.studies import stages

    flags.FLAGS.mark_as_parsed()
    stages.train(study_config(*changes), workdir)
    print("ended")


if __name__ == "__main__":
    main(*sys.argv[1:])
