"""A linear probe on cached embeddings against the published way, the projector run in every epoch.

Run:   python -m mpjax.study --config=rodent_clips --config.cohort=COHORT_CSV \
           --config.exclude="()" --workdir=out/rodents
       python tests/benchmarks/bench_probe.py --workdir=out/rodents [--steps=17] [--projector=swin]
Task:  heads for the clips of that study (267 with no class excluded), 30 epochs.
How:   cached: on all views of `embeddings.parquet`, (a) what the study does, the heads of all folds
       with their regularisation chosen by nested cross-validation, and (b) one head trained by
       AdamW as published; each from its first call on, compilation included.
       published: `config.train.what = "head"`, batches of 16 clips read, decoded and augmented
       anew, the frozen projector run on them, one step of AdamW. --steps of them are timed after
       the compilation and a first step; the time of 30 epochs is EXTRAPOLATED from them.
       Both by the clock and by the processor, as other work on the machine slows the clock.
       What embedding all clips costs once, the first pass, is in neither.
"""

import argparse
import dataclasses
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from mpjax.config import ProjectorConfig, StudyConfig, SweepConfig, from_config_dict
from mpjax.data import embeddings, pipeline, records
from mpjax.data.splits import read_splits
from mpjax.heads import probe, sweep
from mpjax.models import projector as projectors
from mpjax.training import compiled_steps, partitioning

EPOCHS = 30.0
CONFIG = Path(__file__).resolve().parents[2] / "configs" / "rodent_clips.py"


def study_config() -> StudyConfig:
    spec = importlib.util.spec_from_file_location(CONFIG.stem, CONFIG)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = from_config_dict(module.get_config())
    return dataclasses.replace(
        config, train=dataclasses.replace(config.train, what="head", epochs=EPOCHS)
    )


def timed(work: Callable[[], object]) -> np.ndarray:
    """Returns seconds by the clock and of the processor."""
    started = np.array([time.perf_counter(), time.process_time()])
    work()
    return np.array([time.perf_counter(), time.process_time()]) - started


def cached(workdir: Path, config: StudyConfig) -> dict[str, np.ndarray]:
    embedded = embeddings.read(workdir / "embeddings.parquet")
    splits = read_splits(workdir / "dataset")
    views, clips = len(embedded.table), embedded.table["clip_id"].nunique()
    print(f"  {views} views of {clips} clips, {embedded.embedding.shape[1]} numbers each")

    def adamw() -> None:
        rows = probe.training_rows(embedded, splits)[0]
        one = SweepConfig(
            learning_rates=(3e-4,),
            weight_decays=(0.05,),
            seeds=(0,),
            epochs=EPOCHS,
            batch_size=config.train.batch_size,
        )
        sweep.sweep(rows, rows, len(splits.taxonomy.fine), one)

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "heads"
        return {
            "all heads of the study": timed(
                lambda: probe.train(embedded, splits, config.head, out)
            ),
            "one head by AdamW": timed(adamw),
        }


def published(workdir: Path, config: StudyConfig, steps: int) -> tuple[np.ndarray, int]:
    """Returns the time of `steps` steps, and how many steps 30 epochs have."""
    source = records.RecordSource(workdir / "dataset", labelled=True)
    chosen = config.projector
    projector = projectors.load_projector(chosen.weights, kind=chosen.kind)
    classes = len(read_splits(workdir / "dataset").taxonomy.fine)
    total = round(EPOCHS * len(source) / config.train.batch_size)
    task = compiled_steps.make_task(
        config.train,
        projector,
        class_weight=np.ones(classes, np.float32),
        total_steps=total,
        steps_per_epoch=len(source) / config.train.batch_size,
    )
    mesh = partitioning.make_mesh(config.mesh)
    weights = jax.device_get(compiled_steps.trainable(projector.params))
    lowest, highest = config.train.augment.scale
    batches = iter(
        pipeline.train_batches(
            source,
            batch_size=config.train.batch_size,
            size=chosen.size,
            frames=chosen.frames,
            seed=config.train.seed,
            scale=(lowest, highest),
        )
    )
    with jax.set_mesh(mesh):
        abstract, abstract_frozen = compiled_steps.layout(task, mesh, weights, fully_sharded=False)
        frozen = compiled_steps.place_frozen(task, abstract_frozen, weights)
        state = compiled_steps.make_state(task, abstract, weights)
        train = compiled_steps.train_program(task, mesh, abstract, abstract_frozen)
        key = jax.random.key(0)

        def take(count: int) -> None:
            nonlocal state
            for _ in range(count):
                batch = next(batches)
                del batch["position"]
                state, metrics = train(state, frozen, partitioning.to_global(mesh, batch), key)
            jax.block_until_ready(metrics)

        take(1)
        return timed(lambda: take(steps)), total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=17)
    parser.add_argument("--projector", choices=["i3d", "swin"], default="i3d")
    arguments = parser.parse_args()
    config = study_config()
    if arguments.projector == "swin":  # Swin-T; random weights take as long as others
        swin = ProjectorConfig(kind="swin", weights="random")
        config = dataclasses.replace(config, projector=swin)
    print(f"cached embeddings, {EPOCHS:g} epochs where there are epochs")
    ours = cached(arguments.workdir, config)
    for name, (clock, processor) in ours.items():
        print(f"  {name}: {clock:.2f} s ({processor:.2f} s of processor)", flush=True)
    taken, total = published(arguments.workdir, config, arguments.steps)
    clock, processor = taken * total / arguments.steps
    print(f"published way, {arguments.projector}: {arguments.steps} steps took {taken[0]:.1f} s")
    print(f"  {total} steps, EXTRAPOLATED: {clock:,.0f} s ({processor:,.0f} s of processor)")
    for name, seconds in ours.items():
        ratio = taken * total / arguments.steps / seconds
        print(f"  {ratio[0]:,.0f} x {name} ({ratio[1]:,.0f} x the processor time)")


if __name__ == "__main__":
    main()
