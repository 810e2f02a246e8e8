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
        cells = vars(self) | {
            "video": f"videos/{self.stem}.mp4",
            "dose_mg_per_kg": self.dose if self.drug else "",
            "route": ROUTE if self.drug else "",
            "minutes_post_dose": MINUTES_POST_DOSE if self.drug else "",
            "fps": fps,
            "pose": f"pose/{self.stem}.csv",
        }
        return {name: cells[name] for name in (LABEL_COLUMNS if self.label else COLUMNS)}


def check_config(config: SyntheticConfig) -> None:
    """Raises ValueError for fields that make no cohort together; all faults at once."""
    allowed = ("", *(behaviour.CONDITIONS if config.task == "pain" else ()))
    faults = []
    if config.confound not in allowed:
        rule = " or ".join(map(repr, allowed))
        faults.append(f"config.synthetic.confound={config.confound!r}: expected {rule}")
    if config.seconds * config.fps < 2:
        rule = f"2 frames or more at {config.fps:g} frames/s"
        faults.append(f"config.synthetic.seconds={config.seconds!r}: expected {rule}")
    if faults:
        raise ValueError("; ".join(faults))


def describe(config: SyntheticConfig) -> dict:
    """Returns the fields that decide the cohort; the planted confound only if there is one."""
    hidden = {"run"} if config.confound else {"run", "confound"}
    return {k: v for k, v in dataclasses.asdict(config).items() if k not in hidden}


def plan(config: SyntheticConfig) -> list[Recording]:
    """Plans the cohort of the config's task.

    Task pain: the classification part, then the drug part with its own animals. Cages hold two
    animals of one condition and sex; sexes alternate from cage to cage, arms from animal to
    animal. A drug-part animal is recorded before induction (baseline), on the drug day (pre), and
    after its arm's dose (post).

    Task behaviours: every animal shows each behaviour equally often, without pain. Names, and with
    them all random draws, differ from those of task pain: no animal is in both.
    """
    recordings: list[Recording] = []
    if config.task == "behaviours":
        for k in range(config.animals):
            recordings += _plan_behaviours(config, k)
        return recordings
    arms = [("vehicle", 0.0), *((DRUG, dose) for dose in config.doses_mg_per_kg)]
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


def _plan_behaviours(config: SyntheticConfig, k: int) -> list[Recording]:
    """Plans the recordings of the k-th healthy animal, each driven to one behaviour alone."""
    animal, cage, sex = _name("act", k)
    coat = _draw_coat(config, sex, stream(config, "animal", animal))
    recordings = []
    for name in behaviour.BEHAVIOURS:
        log_rates = tuple(0.0 if other == name else -math.inf for other in behaviour.BEHAVIOURS)
        drive = behaviour.Drive("none", 0.0, animal_effect=log_rates)
        recordings += [
            Recording(
                f"{animal}_{name}_{take + 1:02d}", animal, cage, sex, "none", 0, "", 0.0,
                drive, coat, label=name,
            )
            for take in range(config.clips_per_behaviour)
        ]  # fmt: skip
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
    recordings = []
    for name, day, drug, dose in sessions:
        relief, sedation = drug_effect(config, condition, dose)
        level = 0.0 if config.null else config.severity * behaviour.pain_level(condition, day)
        drive = behaviour.Drive(condition, level * (1 - relief), sedation, effect)
        who = (f"{animal}_{name}", animal, cage, sex, condition)
        recordings.append(Recording(*who, day, drug, dose, drive, coat))
    return recordings


def _name(prefix: str, k: int) -> tuple[str, str, str]:
    """Returns animal, cage and sex of the k-th animal of a group."""
    return f"{prefix}{k + 1:02d}", f"{prefix}-cage{k // 2 + 1:02d}", "FM"[k // 2 % 2]


def _draw_coat(config: SyntheticConfig, sex: str, rng: np.random.Generator) -> render.Coat:
    varied = config.nuisance * np.array([rng.normal(0, 0.05), rng.uniform(-0.5, 0.5)])
    return render.Coat(
        size=float(np.clip((1.03 if sex == "M" else 0.97) + varied[0], 0.85, 1.15)),
        shade=float(np.clip(0.5 + varied[1], 0, 1)),
    )


def drug_effect(config: SyntheticConfig, condition: str, dose: float) -> tuple[float, float]:
    """Returns the shares of pain and of locomotion that a dose (mg/kg; 0: vehicle) removes.

    An Emax curve, E = dose / (dose + ED50) with ED50 = half the top dose, divided by E(top dose).
    """
    if config.null or dose == 0:
        return 0.0, 0.0
    tops = {"neuropathic": config.drug_neuropathic, "inflammatory": config.drug_inflammatory}
    top = max(config.doses_mg_per_kg)
    share = dose / (dose + top / 2) * (top + top / 2) / top
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
    coats = {r.animal: dataclasses.asdict(r.coat) for r in recordings}
    shares = {r.stem: {"time_share": _time_share(config, r)} for r in recordings}
    if config.task == "behaviours":
        return {"config": describe(config), "animals": coats, "recordings": shares}
    arms = {"vehicle": 0.0} | {f"{DRUG} {dose:g}": dose for dose in config.doses_mg_per_kg}
    removed = ("pain_removed", "locomotion_removed")
    drug = {
        condition: {
            arm: dict(zip(removed, drug_effect(config, condition, dose), strict=True))
            for arm, dose in arms.items()
        }
        for condition in behaviour.CONDITIONS
    }
    effects = {
        r.animal: dict(zip(behaviour.BEHAVIOURS, r.drive.animal_effect, strict=True))
        for r in recordings
    }
    return {
        "config": describe(config),
        "injured_hind_paw": behaviour.INJURED_SIDE,
        "drug": drug,
        "animals": {name: {"log_rate_effect": effects[name], **coats[name]} for name in coats},
        "recordings": {
            r.stem: {"pain": r.drive.pain, "sedation": r.drive.sedation, **shares[r.stem]}
            for r in recordings
        },
    }


def _time_share(config: SyntheticConfig, recording: Recording) -> dict[str, float]:
    labels, _ = draw_behaviour(config, recording)
    shares = np.bincount(labels, minlength=len(behaviour.BEHAVIOURS)) / len(labels)
    return dict(zip(behaviour.BEHAVIOURS, shares.tolist(), strict=True))
