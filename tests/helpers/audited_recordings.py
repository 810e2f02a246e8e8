"""A cohort's recordings as the audit of confounds reads them, drawn in a moment without videos."""

import cv2
import numpy as np
import pandas as pd

from mpjax import taxonomy as taxonomies

CONDITIONS = ("inflammatory", "neuropathic", "none")
NUMBERS = {
    "brightness": (120.0, 5.0), "spread": (0.3, 0.02), "contrast": (0.9, 0.05),
    "sharpness": (0.1, 0.01), "redness": (0.0, 1.0), "blueness": (0.0, 1.0),
    "gradient_x": (0.0, 0.1), "gradient_y": (0.0, 0.1), "texture": (0.2, 0.02),
    "edges": (0.08, 0.01), "noise": (1.5, 0.3), "flicker": (0.6, 0.2), "mouse_size": (0.08, 0.02),
    "mouse_contrast": (40.0, 8.0), "mouse_speed": (0.1, 0.03), "mouse_x": (0.5, 0.1),
    "mouse_y": (0.5, 0.1), "motion": (2.0, 0.5), "moved": (0.4, 0.1), "bit_rate_kbps": (80.0, 9.0),
    "bytes_per_frame": (400.0, 40.0),
}  # fmt: skip
SAME = {
    "ghost": 0.0, "is_clear": True, "fps": 25.0, "duration_s": 10.0, "width": 128, "height": 128,
    "rotation": 0, "record_height": 128, "record_width": 128, "codec": "h264",
    "pixel_format": "yuv420p", "container": "mp4", "encoder": "", "created": "", "date": "",
    "camera": "", "drug": "", "split": "test", "timers": "[]", "captions": "[]", "timers_why": "",
}  # fmt: skip


def draw(*, animals=8, days=(1, 7), seed=0, shift=None, conditions=CONDITIONS, per_cage=2):
    """Returns recordings and taxonomy: every animal on every day, cages of one condition.

    `shift` maps a column to what is added to it in neuropathic recordings.
    """
    rng = np.random.default_rng(seed)
    fine = taxonomies.sort_fine(taxonomies.fine_name(c, d) for c in conditions for d in days)
    rows = []
    for condition in conditions:
        for i in range(animals):
            for day in days:
                row = {"condition": condition, "day": day, "animal": f"{condition[:3]}{i}"}
                row["cage"] = f"{condition[:3]}-cage{i // per_cage}"
                row["sex"] = "FM"[i // per_cage % 2]
                row["label"] = fine.index(taxonomies.fine_name(condition, day))
                row["video"] = f"{row['animal']}d{day}.mp4"
                row |= {name: rng.normal(*of) for name, of in NUMBERS.items()} | SAME
                row["grid"] = row["brightness"] + rng.normal(0, 3, 64)
                if condition == "neuropathic":
                    row |= {name: row[name] + more for name, more in (shift or {}).items()}
                row |= {"ghost_grid": np.zeros(64), "picture": png(int(row["brightness"]))}
                rows.append(row)
    return pd.DataFrame(rows), taxonomies.default_taxonomy(fine)


def draw_labels(*, seed=0, lonely="", labels=("groom", "rear", "still", "walk")):
    """Returns recordings of a cohort of labels, four cages of three animals; `lonely`: its cage 0
    alone has that label."""
    rng = np.random.default_rng(seed)
    rows = []
    for cage in range(4):
        for animal in range(3):
            for k, label in enumerate(labels):
                if label == lonely and cage:
                    continue
                for take in range(2):
                    row = {"condition": "none", "day": 0, "animal": f"c{cage}a{animal}"}
                    row |= {"cage": f"cage{cage}", "sex": "", "label": k}
                    row["video"] = f"{row['animal']}{label}{take}.mp4"
                    row |= {name: rng.normal(*of) for name, of in NUMBERS.items()} | SAME
                    row["brightness"] += 30 * (cage == 0)
                    row["grid"] = row["brightness"] + rng.normal(0, 3, 64)
                    row |= {"ghost_grid": np.zeros(64), "picture": png(int(row["brightness"]))}
                    rows.append(row)
    return pd.DataFrame(rows), taxonomies.Taxonomy(tuple(labels))


def png(level):
    picture = np.full((12, 16), level, np.uint8)
    return cv2.imencode(".png", picture)[1].tobytes()
