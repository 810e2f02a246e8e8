"""Seeded tables of predictions with a known answer, for the tests of analysis and report."""

import numpy as np
import pandas as pd

from mpjax.config import EvalConfig, StudyConfig
from mpjax.taxonomy import Taxonomy, default_taxonomy, fine_name

CONDITIONS = ("inflammatory", "neuropathic", "sham")
DAYS = (1, 3, 7, 14, 21)
TAXONOMY = default_taxonomy(fine_name(c, d) for c in CONDITIONS for d in DAYS)
ARMS = (("vehicle", np.nan), ("gabapentin", 30.0), ("gabapentin", 100.0))
_DEFAULTS = {
    "cage": "", "sex": "f", "drug": "", "route": "", "start_frame": 0, "start_s": 0.0, "fps": 25.0,
    "dose_mg_per_kg": np.nan, "minutes_post_dose": np.nan, "padded_frames": 0, "split": "test",
    "fold": -1, "label": -1, "condition": "", "day": 0,
}  # fmt: skip


def make_meta(taxonomy: Taxonomy = TAXONOMY, **changes) -> dict:
    return {
        "taxonomy": taxonomy.to_dict(), "group": "animal", "scheme": "fixed",
        "fingerprint": "0123456789abcdef", "exclude": [], "provenance": {}, **changes,
    }  # fmt: skip


def make_table(rows: list[dict], logits: np.ndarray) -> pd.DataFrame:
    """Completes rows (at least `animal` and `video`) with every other column."""
    frame = pd.DataFrame([_DEFAULTS | row for row in rows])
    frame["clip_id"] = [f"clip{i}" for i in range(len(rows))]
    exp = np.exp(logits - logits.max(1, keepdims=True))
    frame["logits"] = list(logits.astype(np.float32))
    frame["p"] = list((exp / exp.sum(1, keepdims=True)).astype(np.float32))
    return frame


def make_answers(label, predicted, animal, *, video=None, classes=3, **columns) -> pd.DataFrame:
    """A clip per entry, whose p is largest at `predicted`."""
    video = video if video is not None else range(len(label))
    rows = [
        {"label": int(y), "animal": f"m{a}", "video": f"v{v}", "day": 0}
        for y, a, v in zip(label, animal, video, strict=True)
    ]
    frame = make_table(rows, 3.0 * np.eye(classes)[np.asarray(predicted)])
    return frame.assign(**columns)


def make_study(*, seed=0, animals_per_condition=4, signal=2.5, drug=True, name="{}{}"):
    """A k-fold cohort of 3 conditions x 5 days, 2 recordings of 3 clips each, and a drug part.

    Gabapentin moves the treated neuropathic animals towards sham.
    """
    rng = np.random.default_rng(seed)
    rows, aim = [], []
    for c, condition in enumerate(CONDITIONS):
        for a in range(animals_per_condition):
            own = rng.normal(0, 1, len(TAXONOMY.fine))
            for d, day in enumerate(DAYS):
                target = signal * np.eye(15)[c * 5 + d] + 1.2 * np.repeat(np.eye(3)[c], 5) + own
                base = {"condition": condition, "day": day, "animal": name.format(condition[0], a)}
                base |= {"label": c * 5 + d, "fold": a, "sex": "mf"[a % 2]}
                _add(rows, aim, target, base, cage=f"cage{c}{a // 2}")
        for arm, (agent, dose) in enumerate(ARMS if drug else ()):
            for a in range(4):
                pain = 1.2 * np.repeat(np.eye(3)[c], 5)
                base = {"condition": condition, "day": 14, "animal": f"{condition[0]}drug{arm}{a}"}
                base |= {"split": "drug", "label": c * 5 + 3}
                _add(rows, aim, pain, base, cage=f"drug{c}{a}", at="pre")
                relief = arm * (condition == "neuropathic") * np.repeat([0.0, 0.0, 1.0], 5)
                given = {"drug": agent, "dose_mg_per_kg": dose, "minutes_post_dose": 60.0}
                _add(rows, aim, pain + relief, base | given, cage=f"drug{c}{a}", at="post")
    logits = np.array(aim) + rng.normal(0, 1, (len(aim), 15))
    provenance = {
        "cohort": "cohort.csv", "dataset fingerprint": "5d41402abc4b2a76",
        "projector": {"name": "i3d", "fingerprint": "b9719d911017c592"},
        "head l2 per fold": [0.01, 0.01, 0.1, 0.01], "seed": 0,
        "versions": {"mpjax": "0.1.0", "jax": "0.10.0"},
    }  # fmt: skip
    return make_table(rows, logits), make_meta(scheme="kfold", provenance=provenance)


def _add(rows, aim, target, base, *, cage, at="") -> None:
    for recording in range(2):
        video = f"{base['animal']}-d{base['day']}{at}-{recording}.mp4"
        for clip in range(3):
            rows.append({**base, "cage": cage, "video": video, "start_frame": clip * 16})
            aim.append(target)


def evaluate(read, *, demonstration=None, **settings):
    """Returns the metrics of predictions alone; `settings` are those of EvalConfig."""
    from mpjax.studies.evaluation import put_together  # loads all of the analysis

    config = StudyConfig(eval=EvalConfig(**settings))
    return put_together(config, read, demonstration=demonstration)
