"""The behaviour of a synthetic mouse: what pain, drug and chance make it do, frame by frame.

Nothing here is measured on animals. Curves, profiles and dose response are a known truth for
analyses to recover; their directions follow the literature (inflammatory pain: licking, less weight
on the paw, less walking and rearing; neuropathic pain: lifted paw, flinches, shakes).
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float, Int

CONDITIONS = ("neuropathic", "inflammatory", "none")
BEHAVIOURS = ("walk", "still", "rear", "groom", "lick_hind_paw", "guard_hind_paw", "flinch")
INJURED_SIDE = "left"  # hind paw, in every injured animal, as in a unilateral model

# Share of the time in each of BEHAVIOURS without pain, and at pain level 1 of either type.
SHARES = {
    "none": (0.38, 0.24, 0.16, 0.16, 0.025, 0.025, 0.01),
    "neuropathic": (0.10, 0.09, 0.03, 0.05, 0.10, 0.45, 0.18),
    "inflammatory": (0.04, 0.12, 0.01, 0.03, 0.50, 0.26, 0.04),
}
MEAN_BOUT_S = (1.0, 0.9, 1.2, 1.6, 1.1, 1.2, 0.4)
BOUT_SHAPE = 4.0  # of the gamma distribution of bout lengths: sd = half the mean
BURN_IN_S = 10.0  # run before the first frame, so that recordings do not begin with a new bout


@dataclasses.dataclass(frozen=True)
class Posture:
    """How pain shows outside its own behaviours, each 0 (none) to about 1, at pain level 1."""

    hunch: float  # shortened, arched body
    limp: float  # share of weight taken off the injured paw while standing and walking
    slow: float  # share of walking speed lost


POSTURES = {
    "none": Posture(0.0, 0.0, 0.0),
    "neuropathic": Posture(hunch=0.25, limp=0.9, slow=0.2),
    "inflammatory": Posture(hunch=1.0, limp=0.6, slow=0.5),
}


@dataclasses.dataclass(frozen=True)
class Drive:
    """What determines the behaviour in one recording, apart from chance."""

    condition: str  # type of the pain, one of CONDITIONS
    pain: float  # level after any drug; 1 = full
    sedation: float = 0.0  # share of walking, rearing and speed removed, 0 to 1
    animal_effect: tuple[float, ...] = (0.0,) * len(BEHAVIOURS)  # on the log rates

    def posture(self) -> Posture:
        """Returns the condition's posture, scaled by the pain level (at most 1.2)."""
        full, level = POSTURES[self.condition], min(self.pain, 1.2)
        return Posture(full.hunch * level, min(full.limp * level, 1.0), full.slow * level)


def pain_level(condition: str, day: int) -> float:
    """Returns the untreated pain level on `day` after induction, at severity 1.

    There is none before day 1. Neuropathic pain rises from 0.4 on day 1 to 1 on day 21 and stays
    (time constant 7 days); inflammatory pain peaks at 1 on day 1 and falls exponentially to 0.25 on
    day 21.
    """
    if condition == "none" or day < 1:
        return 0.0
    if condition == "neuropathic":
        return min(1.0, 0.4 + 0.6 * (1 - math.exp(-(day - 1) / 7)) / (1 - math.exp(-20 / 7)))
    return 0.25 ** ((day - 1) / 20)


def relative_effect(dose: float, top_dose: float) -> float:
    """Returns the effect of a dose (mg/kg; 0: vehicle) as a share of the top dose's.

    An Emax curve, E = dose / (dose + ED50) with ED50 = half the top dose, divided by E(top dose).
    """
    half = top_dose / 2
    return dose / (dose + half) * (top_dose + half) / top_dose


def time_shares(drive: Drive) -> Float[np.ndarray, "behaviours"]:
    """Returns the expected share of the time in each of BEHAVIOURS; they sum to 1.

    The log rates move linearly with the pain level from the painless profile to the condition's;
    sedation scales walking and rearing; the animal's random effect is added on the log scale.
    """
    calm, pained = np.log(SHARES["none"]), np.log(SHARES[drive.condition])
    log_shares = calm + drive.pain * (pained - calm) + np.array(drive.animal_effect)
    shares = np.exp(log_shares)
    shares[[BEHAVIOURS.index("walk"), BEHAVIOURS.index("rear")]] *= 1 - drive.sedation
    return shares / shares.sum()


def simulate(
    drive: Drive, *, frames: int, fps: float, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "frames"], Bool[np.ndarray, "frames"]]:
    """Draws the behaviour in every frame of a recording.

    A renewal process in continuous time: a bout's behaviour is drawn with probability
    proportional to time share / mean bout length, its length from a gamma distribution, so that
    the long-run shares are exactly `time_shares` (renewal-reward theorem).

    Returns:
        Index into BEHAVIOURS, and whether the bout concerns the left hind paw: with probability
        0.5 without pain, rising to 1 at level 1 (the injured paw).
    """
    means = np.array(MEAN_BOUT_S)
    weights = time_shares(drive) / means
    total = BURN_IN_S + frames / fps
    bouts = int(total / means.min() * 2) + 10
    which = rng.choice(len(BEHAVIOURS), size=bouts, p=weights / weights.sum())
    lengths = rng.gamma(BOUT_SHAPE, means[which] / BOUT_SHAPE)
    left = rng.random(bouts) < 0.5 + 0.5 * min(drive.pain, 1.0)
    at = BURN_IN_S + (np.arange(frames) + 0.5) / fps
    bout = np.searchsorted(np.cumsum(lengths), at)
    return which[bout], left[bout]
