"""A seeded study with all that a report can show: a trial with baseline, doses, times, embeddings.

Gabapentin relieves neuropathic animals by dose, inflammatory ones less, and slows nobody. Every
cage of the trial holds an animal of each arm, so that the unit of its tests is the animal.
"""

import numpy as np
import pandas as pd
from prediction_tables import CONDITIONS, TAXONOMY, make_study, make_table

DOSES = (0.0, 10.0, 30.0, 100.0)  # mg/kg; 0: vehicle
MINUTES = (30.0, 90.0)
RELIEF = {"neuropathic": 2.4, "inflammatory": 0.6, "sham": 0.0}
ANIMALS = 5  # per condition and arm


def make_full_study(*, seed=0, doses=DOSES, name="{}{}"):
    """Returns (table, meta, demonstration) of 12 animals held out and 15 treated per dose."""
    rng = np.random.default_rng(seed)
    table, meta = make_study(seed=seed, drug=False, name=name, signal=1.8)
    rows, logits = [], []
    for c, condition in enumerate(CONDITIONS):
        for arm, dose in enumerate(doses):
            for a in range(ANIMALS):
                own = rng.normal(0, 0.3)
                animal = {
                    "condition": condition, "animal": name.format(f"{condition[0]}drug{arm}", a),
                    "cage": f"drug{c}{a}", "sex": "mf"[a % 2], "split": "drug",
                }  # fmt: skip
                for session in _sessions(c, dose):
                    pain = own + _pain(condition, dose, session)
                    _film(rng, rows, logits, animal | session, c, pain)
    treated = make_table(rows, np.array(logits))
    treated["clip_id"] = "drug" + treated["clip_id"]
    table = pd.concat([table, treated], ignore_index=True)
    _measure(rng, table)
    return table, meta, _demonstrate(rng, table[table["split"] == "test"])


def _sessions(condition, dose):
    given = {"drug": "gabapentin" if dose else "vehicle", "route": "i.p.", "day": 14,
             "dose_mg_per_kg": dose or np.nan}  # fmt: skip
    yield {"day": -1}
    yield {"day": 14, "label": condition * 5 + 3}
    for minutes in MINUTES:
        yield given | {"minutes_post_dose": minutes, "label": condition * 5 + 3}


def _pain(condition, dose, session):
    if condition == "sham" or session["day"] < 0:
        return -1.5
    relief = RELIEF[condition] * dose / (dose + 20) if session.get("drug") else 0.0
    return 1.5 - relief


def _film(rng, rows, logits, session, condition, pain):
    """Adds 2 recordings of 3 clips whose logits favour pain by `pain`."""
    kind = 0 if condition == 2 else condition
    when = f"d{session['day']}-{session.get('minutes_post_dose', 'before')}"
    for recording in range(2):
        for clip in range(3):
            video = f"{session['animal']}-{when}-{recording}.mp4"
            rows.append(session | {"video": video, "start_frame": 16 * clip})
            aim = np.repeat(np.where(np.arange(3) == kind, pain / 2, 0.0), 5)
            aim[10:] = -pain / 2
            logits.append(aim + rng.normal(0, 0.5, 15))


def _measure(rng, table):
    """Adds what only some files have: embeddings, motion, a head of the coarse classes."""
    logits = np.stack(table["logits"])
    mix = rng.normal(0, 1, (15, 8))
    embedding = logits @ mix + rng.normal(0, 1, (len(table), 8))
    table["embedding"] = list(embedding.astype(np.float32))
    table["motion"] = rng.lognormal(1.0, 0.2, len(table))
    p = np.stack(table["p"]).astype(float) + 0.05
    coarse = TAXONOMY.coarse_probabilities(p / p.sum(1, keepdims=True))
    table["p_coarse"] = list(coarse.astype(np.float32))


def _demonstrate(rng, test):
    """Predictions of one head under two splits; that by clips knows more than it should."""
    label = test["label"].to_numpy()
    wrong = rng.integers(0, 15, len(test))
    return test[["clip_id", "animal", "cage", "label"]].assign(
        predicted_by_animal_split=np.where(rng.random(len(test)) < 0.3, label, wrong),
        predicted_by_clip_split=np.where(rng.random(len(test)) < 0.7, label, wrong),
    )
