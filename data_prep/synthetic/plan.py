"""The plan of a synthetic cohort: which animal is filmed when, in what pain, on what drug.

For the task `behaviours`: which animal is filmed doing what.
"""

import dataclasses
import math
import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from data_prep.synthetic import behaviour, render
from mpjax.config import SyntheticConfig

TASKS = ("pain", "behaviours")
DRUG, ROUTE, MINUTES_POST_DOSE = "gabapentin", "i.p.", 60
BASELINE_DAY = -1
COLUMNS = (
    "video", "animal", "cage", "sex", "condition", "day",
    "drug", "dose_mg_per_kg", "route", "minutes_post_dose", "pose",
)  # fmt: skip
LABEL_COLUMNS = ("video", "animal", "cage", "sex", "label", "fps", "pose")  # of task behaviours


@dataclasses.dataclass(frozen=True)
class Recording:
    """One planned recording and all that determines it, apart from the seed."""

    stem: str
    animal: str
    cage: str
    sex: str
    condition: str
    day: int
    drug: str  # empty: untreated
    dose: float  # mg/kg
    drive: behaviour.Drive
    coat: render.Coat
    label: str = ""  # the one behaviour shown; empty: all of them, as driven

    def row(self, fps: float) -> dict[str, object]:
        """Returns the recording's row of `cohort.csv`, filmed at `fps` frames per second."""
        treated = bool(self.drug)
        cells = {
            "video": f"videos/{self.stem}.mp4",
            "animal": self.animal,
            "cage": self.cage,
            "sex": self.sex,
            "condition": self.condition,
            "day": self.day,
            "drug": self.drug,
            "dose_mg_per_kg": self.dose if treated else "",
            "route": ROUTE if treated else "",
            "minutes_post_dose": MINUTES_POST_DOSE if treated else "",
            "label": self.label,
            "fps": fps,
            "pose": f"pose/{self.stem}.csv",
        }
        return {name: cells[name] for name in (LABEL_COLUMNS if self.label else COLUMNS)}


def check_config(config: SyntheticConfig) -> None:
    """Raises ValueError for a config that makes no cohort; all faults at once."""
    c = config
    shares = ("drug_neuropathic", "drug_inflammatory", "sedation")
    confounded = ("", *(behaviour.CONDITIONS if c.task == "pain" else ()))
    rules = [
        ("task", c.task in TASKS, " or ".join(TASKS)),
        ("animals", c.animals >= 1, "1 or more"),
        ("clips_per_behaviour", c.clips_per_behaviour >= 1, "1 or more"),
        ("seed", c.seed >= 0, "0 or more"),
        ("animals_per_condition", c.animals_per_condition >= 1, "1 or more"),
        ("animals_per_arm", c.animals_per_arm >= 0, "0 (no drug part) or more"),
        ("days", len(c.days) > 0, "at least one day"),
        ("days", len(set(c.days)) == len(c.days), "days that differ"),
        ("days", all(day >= 0 for day in c.days), "days from 0 on"),
        ("drug_day", c.drug_day >= 0, "0 or more"),
        ("doses_mg_per_kg", all(d > 0 and math.isfinite(d) for d in c.doses_mg_per_kg), "positive"),
        ("doses_mg_per_kg", len(set(c.doses_mg_per_kg)) == len(c.doses_mg_per_kg), "all different"),
        ("size", c.size >= 64 and c.size % 2 == 0, "an even number of pixels, 64 or more"),
        ("fps", 5 <= c.fps <= 1000, "5 to 1000, for motion to be resolved"),
        ("seconds", 2 <= c.seconds * c.fps < math.inf, "2 frames or more"),
        *((name, 0 <= getattr(c, name) <= 1, "a share from 0 to 1") for name in shares),
        ("severity", 0 <= c.severity <= 3, "0 (no pain) to 3"),
        ("animal_sd", 0 <= c.animal_sd <= 2, "0 to 2"),
        ("nuisance", 0 <= c.nuisance <= 2, "0 to 2"),
        ("confound", c.confound in confounded, " or ".join(map(repr, confounded))),
    ]
    faults = [
        f"config.synthetic.{name}={getattr(c, name)!r}: expected {wanted}"
        for name, holds, wanted in rules
        if not holds
    ]
    if faults:
        raise ValueError("; ".join(faults))


def describe(config: SyntheticConfig) -> dict:
    """Returns the config's fields; the planted confound only if there is one."""
    values = dataclasses.asdict(config)
    return values if config.confound else {k: v for k, v in values.items() if k != "confound"}


def plan(config: SyntheticConfig) -> list[Recording]:
    """Plans the cohort of the config's task.

    Task pain: the classification part, then the drug part with its own animals. Cages hold two
    animals of one condition and sex; sexes alternate from cage to cage, arms from animal to
    animal. A drug-part animal is recorded before induction (baseline), on the drug day (pre), and
    after its arm's dose (post).

    Task behaviours: every animal shows each behaviour equally often, without pain. Names, and with
    them all random draws, differ from those of task pain: no animal is in both.
    """
    return _plan_behaviours(config) if config.task == "behaviours" else _plan_pain(config)


def _plan_behaviours(config: SyntheticConfig) -> list[Recording]:
    recordings = []
    for k in range(config.animals):
        animal, cage, sex = _name("act", k)
        coat = _draw_coat(config, sex, stream(config, "animal", animal))
        recordings += [
            Recording(
                f"{animal}_{name}_{take + 1:02d}", animal, cage, sex, "none", 0, "", 0.0,
                _only(name), coat, label=name,
            )
            for name in behaviour.BEHAVIOURS
            for take in range(config.clips_per_behaviour)
        ]  # fmt: skip
    return recordings


def _only(name: str) -> behaviour.Drive:
    """Drives an animal without pain to one behaviour: the rates of all others are 0."""
    log_rates = tuple(0.0 if other == name else -math.inf for other in behaviour.BEHAVIOURS)
    return behaviour.Drive("none", 0.0, animal_effect=log_rates)


def _plan_pain(config: SyntheticConfig) -> list[Recording]:
    arms = [("vehicle", 0.0), *((DRUG, dose) for dose in config.doses_mg_per_kg)]
    recordings = []
    for condition in behaviour.CONDITIONS:
        for k in range(config.animals_per_condition):
            sessions = [(f"d{day:02d}", day, "", 0.0) for day in config.days]
            recordings += _animal(config, condition, condition[:3], k, sessions)
    for condition in behaviour.CONDITIONS:
        for k in range(config.animals_per_arm * len(arms)):
            sessions = [
                ("baseline", BASELINE_DAY, "", 0.0),
                ("pre", config.drug_day, "", 0.0),
                ("post", config.drug_day, *arms[k % len(arms)]),
            ]
            recordings += _animal(config, condition, f"d{condition[:3]}", k, sessions)
    return recordings


def _animal(
    config: SyntheticConfig,
    condition: str,
    prefix: str,
    k: int,
    sessions: Sequence[tuple[str, int, str, float]],
) -> list[Recording]:
    """Plans the recordings of the k-th animal of a group."""
    animal, cage, sex = _name(prefix, k)
    rng = stream(config, "animal", animal)
    effect = tuple(rng.normal(0, config.animal_sd, len(behaviour.BEHAVIOURS)).tolist())
    coat = _draw_coat(config, sex, rng)
    return [
        Recording(
            f"{animal}_{name}", animal, cage, sex, condition, day, drug, dose,
            _drive(config, condition, day, dose, effect), coat,
        )
        for name, day, drug, dose in sessions
    ]  # fmt: skip


def _name(prefix: str, k: int) -> tuple[str, str, str]:
    """Returns animal, cage and sex of the k-th animal of a group."""
    return f"{prefix}{k + 1:02d}", f"{prefix}-cage{k // 2 + 1:02d}", "FM"[k // 2 % 2]


def _draw_coat(config: SyntheticConfig, sex: str, rng: np.random.Generator) -> render.Coat:
    varied = config.nuisance * np.array([rng.normal(0, 0.05), rng.uniform(-0.5, 0.5)])
    return render.Coat(
        size=float(np.clip((1.03 if sex == "M" else 0.97) + varied[0], 0.85, 1.15)),
        shade=float(np.clip(0.5 + varied[1], 0, 1)),
    )


def _drive(
    config: SyntheticConfig, condition: str, day: int, dose: float, effect: tuple[float, ...]
) -> behaviour.Drive:
    relief, sedation = drug_effect(config, condition, dose)
    level = 0.0 if config.null else config.severity * behaviour.pain_level(condition, day)
    return behaviour.Drive(condition, level * (1 - relief), sedation, effect)


def drug_effect(config: SyntheticConfig, condition: str, dose: float) -> tuple[float, float]:
    """Returns the shares of pain and of locomotion that a dose (mg/kg; 0: vehicle) removes."""
    if config.null or dose == 0:
        return 0.0, 0.0
    tops = {"neuropathic": config.drug_neuropathic, "inflammatory": config.drug_inflammatory}
    share = behaviour.relative_effect(dose, max(config.doses_mg_per_kg))
    return tops.get(condition, 0.0) * share, config.sedation * share


def stream(config: SyntheticConfig, *keys: str) -> np.random.Generator:
    """Returns a generator that depends on the seed and its keys alone."""
    return np.random.default_rng([config.seed, *(zlib.crc32(key.encode()) for key in keys)])


def draw_behaviour(
    config: SyntheticConfig, recording: Recording
) -> tuple[Int[np.ndarray, "frames"], Bool[np.ndarray, "frames"]]:
    """Draws a recording's behaviour, as `generate` writes it (see `behaviour.simulate`)."""
    frames, rng = round(config.seconds * config.fps), stream(config, "behaviour", recording.stem)
    return behaviour.simulate(recording.drive, frames=frames, fps=config.fps, rng=rng)


def truth(config: SyntheticConfig, recordings: Sequence[Recording]) -> dict:
    """Returns the truth about the cohort: pain, drug effects, random effects, time budgets."""
    if config.task == "behaviours":
        return {
            "config": describe(config),
            "animals": {r.animal: dataclasses.asdict(r.coat) for r in recordings},
            "recordings": {r.stem: {"time_share": _time_share(config, r)} for r in recordings},
        }
    arms = {"vehicle": 0.0} | {f"{DRUG} {dose:g}": dose for dose in config.doses_mg_per_kg}
    removed = ("pain_removed", "locomotion_removed")
    drug = {
        condition: {
            arm: dict(zip(removed, drug_effect(config, condition, dose), strict=True))
            for arm, dose in arms.items()
        }
        for condition in behaviour.CONDITIONS
    }
    animals: dict[str, dict] = {}
    per_recording: dict[str, dict] = {}
    for r in recordings:
        effect = dict(zip(behaviour.BEHAVIOURS, r.drive.animal_effect, strict=True))
        animals[r.animal] = {"log_rate_effect": effect, **dataclasses.asdict(r.coat)}
        per_recording[r.stem] = {
            "pain": r.drive.pain,
            "sedation": r.drive.sedation,
            "time_share": _time_share(config, r),
        }
    return {
        "config": describe(config),
        "injured_hind_paw": behaviour.INJURED_SIDE,
        "drug": drug,
        "animals": animals,
        "recordings": per_recording,
    }


def _time_share(config: SyntheticConfig, recording: Recording) -> dict[str, float]:
    labels, _ = draw_behaviour(config, recording)
    shares = np.bincount(labels, minlength=len(behaviour.BEHAVIOURS)) / len(labels)
    return dict(zip(behaviour.BEHAVIOURS, shares.tolist(), strict=True))
