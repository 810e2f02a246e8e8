"""A finished study of toy size: noisy videos whose brightness tells their class, a random Swin."""

from pathlib import Path

import numpy as np
import pandas as pd
from video_files import write_video

from mpjax import config as configs
from mpjax.analysis import predictions
from mpjax.studies import stages
from mpjax.studies.predictions import predict

ANIMALS = 4  # per condition
CLIPS, FRAMES = 3, 4  # per recording; frames per clip
GREY = {"sni": 60, "cfa": 110, "sham": 180}


def film(path, grey, *, seed=0, clips=CLIPS, size=(36, 52)):
    """Writes a recording of noise about a grey level, and returns its path."""
    rng = np.random.default_rng(seed)
    frames = rng.normal(grey, 25, (clips * FRAMES, *size, 3)).clip(0, 255).astype(np.uint8)
    return write_video(path, list(frames), codec_options={"qp": "18"})


def study_config():
    """Returns the settings: 3 folds, a projector that compiles in a second, motifs and no more."""
    config = configs.to_config_dict(configs.StudyConfig(name="small"))
    config.video.frames = config.video.stride = FRAMES
    config.video.short_side = 32
    config.split.scheme, config.split.folds, config.split.group = "kfold", 3, "animal"
    config.build.workers = 1
    with config.projector.unlocked() as projector:
        projector.kind, projector.weights = "swin", "random"
        projector.size, projector.crops, projector.batch_size = 32, 2, 4
    config.projector.architecture.embed_dim = 8
    config.projector.architecture.depths = (1, 1)
    config.projector.architecture.num_heads = (2, 4)
    config.projector.architecture.window = (2, 2, 2)
    config.head.l2 = (0.1,)
    config.motifs.candidates = (2,)
    config.motifs.exemplars = 1
    for part in ("saliency", "confounds", "baselines"):
        config[part].run = False
    config.baselines.random = False
    return configs.from_config_dict(config)


def write(folder: Path) -> Path:
    """Films, builds, embeds, trains and predicts; returns the folder of the study."""
    from data_prep import build
    from data_prep import cohort as cohorts

    rows = []
    for c, (condition, grey) in enumerate(GREY.items()):
        for a in range(ANIMALS):
            for day in (1, 7):
                name = f"{condition}{a}_d{day}.mp4"
                film(folder / name, grey + 10 * a + 3 * day, seed=100 * c + 10 * a + day)
                animal = {"animal": f"{condition}{a}", "condition": condition, "day": day}
                rows.append({"video": name, "drug": ""} | animal)
    for a, drug in enumerate(("vehicle", "gabapentin")):
        name = f"drug{a}.mp4"
        film(folder / name, GREY["sni"] + 20 * a, seed=1000 + a)
        row = {"video": name, "animal": f"drug{a}", "condition": "sni", "day": 7, "drug": drug}
        rows.append(row | {"dose_mg_per_kg": "30" if a else ""})
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    config, workdir = study_config(), folder / "study"
    cohort = cohorts.read_cohort(folder / "cohort.csv", split=config.split)
    build.build(cohort, workdir / "dataset", clip_config=config.video, config=config.build)
    stages.embed(config, workdir)
    stages.train(config, workdir)
    stages.explain(config, workdir)
    table, meta = predict(workdir)
    predictions.write_predictions(workdir / "predictions.parquet", table, meta)
    return workdir
