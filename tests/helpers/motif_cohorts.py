"""Cohorts of motif sequences with a known truth: who uses which motif how much."""

import numpy as np
import pandas as pd

from mpjax.analysis.motifs.codebook import Assigned, Codebook
from mpjax.analysis.stats.whitening import Space
from mpjax.taxonomy import default_taxonomy, fine_name

CONDITIONS, DAYS = ("inflammatory", "neuropathic", "sham"), (1, 7, 14)
TAXONOMY = default_taxonomy(fine_name(c, d) for c in CONDITIONS for d in DAYS)
MOTIFS = 8


def make_codebook(motifs=MOTIFS):
    """A codebook with nothing but its number of motifs and a curve of stability."""
    space = Space(np.zeros(2), np.ones(2), np.eye(2), np.ones(2), np.array([0.7, 0.3]))
    rows = [
        {"motifs": k, "adjusted_rand": s, "sd": 0.05, "draws": [s - 0.05, s + 0.05],
         "without_structure": 0.1, "corrected": (s - 0.1) / 0.9, "standard_error": 0.04}
        for k, s in ((4, 0.5), (motifs, 0.8), (2 * motifs, 0.4))
    ]  # fmt: skip
    meta = {
        "fingerprint": "0123456789abcdef", "config": {"gate": 0.99}, "stability": rows,
        "n": {"windows": 1000, "groups": 10, "sample": 1000},
        "chosen": {"by": "stability", "rule": "the most that are stable", "structure": True},
    }  # fmt: skip
    usage = np.full(motifs, 1 / motifs)
    return Codebook(space, np.zeros((motifs, 2)), np.ones(motifs), 1.0, usage, meta)


def make_cohort(
    *, seed=0, animals=6, windows=60, recordings=2, shift=None, drug_shift=None, drug=0,
    animal_sd=0.4, days=DAYS, conditions=CONDITIONS, cages=False, scheme="kfold", course=None,
):  # fmt: skip
    """Draws windows and the motif of each.

    Args:
        shift: per condition {motif: change of the log rate}.
        course: per condition {motif: change of the log rate from the first to the last day}.
        drug: animals per condition and arm (vehicle, gabapentin) of a drug part on the last day.
        drug_shift: {motif: change of the log rate} under gabapentin.
        cages: whether two animals share a cage and its random effect.

    Returns:
        The windows and what a codebook says of them.
    """
    rng = np.random.default_rng(seed)
    rows, motif = [], []
    base = np.linspace(1.5, 0, MOTIFS)

    def add(owner, condition, day, own, *, split, fold, given=("", np.nan, np.nan)):
        logits = base + own
        for each, change in (shift or {}).get(condition, {}).items():
            logits[each] += change
        for each, change in (course or {}).get(condition, {}).items():
            logits[each] += change * days.index(day) / max(len(days) - 1, 1)
        if given[0] not in ("", "vehicle"):
            for each, change in (drug_shift or {}).items():
                logits[each] += change
        p = np.exp(logits) / np.exp(logits).sum()
        label = TAXONOMY.fine.index(fine_name(condition, day))
        for take in range(recordings):
            video = f"{owner['animal']}-d{day}-{given[0]}{take}.mp4"
            motif.extend(rng.choice(MOTIFS, windows, p=p))
            rows.extend(
                {**owner, "video": video, "clip_id": f"{video}:{i}", "condition": condition,
                 "day": day, "drug": given[0], "dose_mg_per_kg": given[1],
                 "minutes_post_dose": given[2], "split": split, "fold": fold, "label": label,
                 "start_s": 0.5 * i, "seconds": 1.0}
                for i in range(windows)
            )  # fmt: skip

    for condition in conditions:
        shared = 0.0
        for number in range(animals + 2 * drug):
            if cages and number % 2 == 0:
                shared = rng.normal(0, animal_sd, MOTIFS)
            own = rng.normal(0, animal_sd, MOTIFS) + (shared if cages else 0)
            owner = {"animal": f"{condition[0]}{number}", "sex": "mf"[number % 2]}
            owner["cage"] = f"{condition[0]}cage{number // 2}" if cages else ""
            if number >= animals:
                arm = [("vehicle", np.nan, 60.0), ("gabapentin", 100.0, 60.0)][number % 2]
                add(owner, condition, days[-1], own, split="drug", fold=-1)
                add(owner, condition, days[-1], own, split="drug", fold=-1, given=arm)
                continue
            side = {"split": "test", "fold": number % 3}
            if scheme == "fixed":
                side = {"split": "test" if number % 3 == 0 else "train", "fold": -1}
            for day in days:
                add(owner, condition, day, own, **side)
    frame, motif = pd.DataFrame(rows), np.array(motif)
    distance = np.ones(len(motif), np.float32)
    return frame, Assigned(motif, distance, rng.random(len(motif)) < 0.01)


def make_labelled(*, seed=0, animals=6, labels=3, recordings=4, windows=40, effect=2.0):
    """Draws a label cohort: every animal shows every label; motif i comes with label i."""
    rng = np.random.default_rng(seed)
    rows, motif = [], []
    for number in range(animals):
        own = rng.normal(0, 0.4, MOTIFS)
        for label in range(labels):
            for take in range(recordings):
                logits = own + effect * (np.arange(MOTIFS) == label)
                motif.extend(rng.choice(MOTIFS, windows, p=np.exp(logits) / np.exp(logits).sum()))
                video = f"a{number}-{label}-{take}"
                rows.extend(
                    {"animal": f"a{number}", "cage": "", "sex": "", "video": video,
                     "clip_id": f"{video}:{i}", "condition": "", "day": 0, "drug": "",
                     "dose_mg_per_kg": np.nan, "minutes_post_dose": np.nan, "split": "test",
                     "fold": number % 3, "label": label, "start_s": float(i), "seconds": 1.0}
                    for i in range(windows)
                )  # fmt: skip
    motif = np.array(motif)
    return pd.DataFrame(rows), Assigned(motif, np.ones(len(motif)), np.zeros(len(motif), bool))
