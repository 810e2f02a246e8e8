"""The body of a synthetic mouse: from its behaviour in every frame to spine, paws and tail.

Lengths are in cm, in a square chamber of side CHAMBER_CM seen from below: x to the right, y down,
so the animal's left lies at heading + 90 degrees. All motion is continuous: behaviours are blended
by smoothed weights; planted paws stay where they are and step when the body leaves them.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter1d

from data_prep.synthetic.behaviour import BEHAVIOURS, INJURED_SIDE, Drive

CHAMBER_CM = 12.0
WALL_CM = 0.7
PAWS = ("left_forepaw", "right_forepaw", "left_hindpaw", "right_hindpaw")
KEYPOINTS = ("snout", *PAWS, "tail_base")

BODY_CM = 8.6  # snout to tail base of a mouse of size 1
STATIONS = 21  # along the spine, from the tail base (0) to the snout (20)
PELVIS, CHEST, SNOUT = 4, 12, 20
TAIL_CM, TAIL_POINTS = 7.0, 16
_U = np.linspace(0.0, 1.0, STATIONS)
# Half width of the body in cm at each station: rump, belly, chest, neck, head, snout.
_PROFILE = np.interp(
    _U,
    [0, 0.06, 0.16, 0.3, 0.45, 0.6, 0.7, 0.79, 0.88, 0.95, 1],
    [0.3, 0.95, 1.45, 1.62, 1.5, 1.25, 1.02, 0.98, 0.7, 0.4, 0.16],
)

CRUISE_CM_S = 9.0
STEP_CM = 0.8  # a paw further than this from its place under the body steps
SWING_S = 0.12
# Place of each paw under the body, (along, to the left) of its station.
_HOMES = np.array([[0.7, 0.95], [0.7, -0.95], [0.3, 1.35], [0.3, -1.35]])
_SIDES = np.array([1.0, -1.0, 1.0, -1.0])


@dataclasses.dataclass(frozen=True)
class Motion:
    """A mouse in every frame; cm and radians."""

    spine: Float[np.ndarray, "frames stations 2"]
    direction: Float[np.ndarray, "frames stations"]  # of the spine, towards the snout
    width: Float[np.ndarray, "frames stations"]  # half width of the body
    height: Float[np.ndarray, "frames stations"]  # 0 = over the floor, 1 = reared up, far away
    paws: Float[np.ndarray, "frames 4 2"]
    paw_angle: Float[np.ndarray, "frames 4"]
    contact: Float[np.ndarray, "frames 4"]  # 0 = in the air, 1 = its weight on the floor
    tail: Float[np.ndarray, "frames points 2"]
    size: float  # of the animal, 1 = BODY_CM long

    def keypoints(self) -> Float[np.ndarray, "frames 6 2"]:
        """Returns the true positions of KEYPOINTS, in cm."""
        return np.concatenate([self.spine[:, SNOUT:], self.paws, self.spine[:, :1]], axis=1)


class _Channels:
    """Smoothed weights of the behaviours and smooth noise, at the recording's frame rate."""

    def __init__(self, labels: np.ndarray, left: np.ndarray, fps: float, rng: np.random.Generator):
        self.labels, self.sign, self.fps, self.rng = labels, np.where(left, 1.0, -1.0), fps, rng
        self.seconds = np.arange(len(labels)) / fps
        pulse = 0.55 + 0.45 * self.rhythm(6.0)  # flinches jerk there and back
        self.kicks = self.by_side("flinch", 0.03) * pulse[:, None]  # [t, (left, right)]

    def on(self, name: str, smooth_s: float = 0.11, *, signed: bool = False) -> np.ndarray:
        """Weight of a behaviour, 0 to 1; signed: positive for the left hind paw."""
        track = (self.labels == BEHAVIOURS.index(name)).astype(float)
        return gaussian_filter1d(
            track * self.sign if signed else track, smooth_s * self.fps, mode="nearest"
        )

    def by_side(self, name: str, smooth_s: float = 0.11) -> np.ndarray:
        """Weights [t, (left, right)] of a behaviour for either hind paw."""
        both, signed = self.on(name, smooth_s), self.on(name, smooth_s, signed=True)
        return np.stack([both + signed, both - signed], -1) / 2

    def wander(self, smooth_s: float) -> np.ndarray:
        """Smooth noise of unit variance."""
        noise = self.rng.standard_normal(len(self.labels) + 8 * math.ceil(smooth_s * self.fps))
        smooth = gaussian_filter1d(noise, max(smooth_s * self.fps, 0.5), mode="wrap")
        return (smooth / smooth.std())[: len(self.labels)]

    def rhythm(self, hz: float) -> np.ndarray:
        """A sine of about `hz` whose phase drifts."""
        phase = 2 * np.pi * hz * self.seconds + 0.8 * self.wander(0.5)
        return np.sin(phase + self.rng.uniform(0, 2 * np.pi))


def move(
    labels: Int[np.ndarray, "frames"],
    left: Bool[np.ndarray, "frames"],
    drive: Drive,
    *,
    size: float,
    fps: float,
    rng: np.random.Generator,
) -> Motion:
    """Moves a mouse of `size` (1 = BODY_CM long) through its behaviours.

    `labels` index BEHAVIOURS; `left` says whether a paw-directed bout concerns the left hind paw;
    `drive` sets hunch, limp and speed.
    """
    channels = _Channels(labels, left, fps, rng)
    rear = channels.on("rear", 0.16)
    pelvis, heading = _travel(channels, drive, size, rear)
    spine, direction, width = _spine(channels, drive, size, rear, pelvis, heading)
    margin = WALL_CM + 0.8 * width[..., None]  # which keeps the body's outline within the walls
    below = np.maximum(0, (margin - spine).max(axis=1))
    above = np.maximum(0, (spine - (CHAMBER_CM - margin)).max(axis=1))
    spine = spine + (below - above)[:, None]
    paws, angle, contact = _paws(channels, drive, size, spine, direction, rear)
    height = rear[:, None] * np.clip((_U - 0.15) / 0.6, 0, 1)
    tail = _tail(channels, spine[:, 0], direction[:, 0], size)
    return Motion(spine, direction, width, height, paws, angle, contact, tail, size)


def _travel(
    channels: _Channels, drive: Drive, size: float, rear: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Steers the pelvis [t, 2] and its heading [t] from goal to goal, within the walls."""
    fps, rng = channels.fps, channels.rng
    slow = (1 - drive.posture().slow) * (1 - drive.sedation)
    pace = CRUISE_CM_S * slow * np.exp(0.25 * channels.wander(0.5))
    speed = channels.on("walk") * pace + 2.5 * rear  # reared mice lean on towards the wall
    front = size * BODY_CM * 0.8 * (1 - 0.6 * rear) + 0.3
    low, high = WALL_CM, CHAMBER_CM - WALL_CM
    x, y = rng.uniform(0.4 * CHAMBER_CM, 0.6 * CHAMBER_CM, 2)
    heading, turn, age = rng.uniform(-np.pi, np.pi), 0.0, math.inf
    goal_x, goal_y, blocked = x, y, False
    pelvis, headings = np.empty((len(speed), 2)), np.empty(len(speed))
    for t, v in enumerate(speed):
        age += 1 / fps
        near = math.hypot(goal_x - x, goal_y - y) < 2
        if near or age > 2.5 or (blocked and age > 0.6):
            goal_x, goal_y = rng.uniform(low + 2, high - 2, 2)
            age = 0.0
        error = math.remainder(math.atan2(goal_y - y, goal_x - x) - heading, 2 * math.pi)
        wanted = max(-5.0, min(5.0, 4 * error)) * min(1.0, v / 6)
        turn += (wanted - turn) * min(1.0, 9 / fps)
        heading += turn / fps
        forward = v * (0.25 + 0.75 * max(0.0, math.cos(error))) / fps
        cos, sin = math.cos(heading), math.sin(heading)
        x, y = x + forward * cos, y + forward * sin
        before = x, y
        for reach in (front[t], -1.9 * size):  # the snout and the tail base stop at the walls
            x += max(0.0, low - (x + reach * cos)) - max(0.0, x + reach * cos - high)
            y += max(0.0, low - (y + reach * sin)) - max(0.0, y + reach * sin - high)
        blocked = (x, y) != before
        pelvis[t], headings[t] = (x, y), heading
    # The wall stops a body gently, not from one frame to the next.
    return gaussian_filter1d(pelvis, 0.05 * fps, axis=0, mode="nearest"), headings


def _spine(
    channels: _Channels,
    drive: Drive,
    size: float,
    rear: np.ndarray,
    pelvis: np.ndarray,
    heading: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bends and shortens the spine: points [t, s, 2], directions [t, s], half widths [t, s]."""
    walk, groom = channels.on("walk"), channels.on("groom", 0.15)
    lick, still = channels.on("lick_hind_paw", 0.15, signed=True), channels.on("still")
    guard = channels.on("guard_hind_paw", signed=True)
    flinch = channels.kicks[:, 0] - channels.kicks[:, 1]
    licking = np.abs(lick)
    speed = np.gradient(pelvis, axis=0) * channels.fps
    sway = np.minimum(1, np.hypot(*speed.T) / 8) * channels.rhythm(3.2)
    turning = np.clip(0.14 * np.gradient(heading) * channels.fps, -0.5, 0.5)
    bend = turning * (1 - licking) + 2.15 * lick + 0.12 * sway - 0.18 * guard + 0.15 * flinch
    scan = 0.22 * channels.wander(0.25) * (0.4 + 0.6 * still + 0.3 * walk) * (1 - licking)
    yaw = scan + 0.95 * lick + (0.13 * lick + 0.1 * groom) * channels.rhythm(5.0)

    hunch = drive.posture().hunch * (1 - 0.4 * walk) * (1 - 0.6 * rear)
    crouch = np.clip(0.16 * hunch + 0.28 * groom + 0.2 * licking, 0, 0.34)
    upright = 0.62 * rear[:, None] * np.clip((_U - 0.1) / 0.2, 0, 1)
    stretch = (1 - crouch + 0.03 * walk)[:, None] * (1 - upright)
    curve = _smoothstep((_U - 0.1) / 0.65)
    direction = heading[:, None] + bend[:, None] * (curve - curve[PELVIS])
    direction = direction + yaw[:, None] * _smoothstep((_U - 0.6) / 0.35)
    step = stretch * size * BODY_CM / (STATIONS - 1)
    middle = (direction[:, 1:] + direction[:, :-1]) / 2
    offsets = np.stack([np.cos(middle), np.sin(middle)], -1) * step[:, 1:, None]
    spine = np.concatenate([np.zeros((len(step), 1, 2)), np.cumsum(offsets, 1)], 1)
    aside = _normal(heading) * (0.35 * flinch - 0.3 * guard)[:, None]
    spine += (pelvis + aside - spine[:, PELVIS])[:, None]

    breath = 1 + 0.02 * channels.rhythm(2.5)[:, None]
    width = size * _PROFILE * (1 + 0.7 * crouch[:, None]) * breath * (1 - 0.12 * rear[:, None])
    curvature = np.abs(np.gradient(direction, axis=1)) / step
    return spine, direction, np.minimum(width, 0.95 / np.maximum(curvature, 1e-6))


def _paws(
    channels: _Channels,
    drive: Drive,
    size: float,
    spine: np.ndarray,
    direction: np.ndarray,
    rear: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places the paws: positions [t, 4, 2], angles [t, 4], contact [t, 4]."""
    stations = [CHEST, CHEST, PELVIS, PELVIS]
    base, facing = spine[:, stations], direction[:, stations]

    def near(forward: np.ndarray | float, outward: float) -> np.ndarray:
        """Returns points [t, 4, 2] at a distance (cm) from each paw's place."""
        ahead = _HOMES[:, 0] * (1 - 0.6 * rear[:, None]) + forward
        aside = _HOMES[:, 1] + _SIDES * outward
        return base + size * (ahead[..., None] * _unit(facing) + aside[:, None] * _normal(facing))

    tremble = 0.06 * channels.rhythm(8.0)[:, None]
    mouth, wash = _at_the_snout(channels, spine[:, SNOUT], direction[:, SNOUT], size)
    # Share to which the injured hind paw is carried, walking or standing.
    carried = np.clip(0.75 + 0.35 * channels.wander(0.4), 0, 1) * drive.posture().limp
    limp = carried * (0.75 * channels.on("walk") + 0.5 * channels.on("still"))
    lifts = [  # what takes paws off the floor: (weight [t, 4], where to [t, 4, 2])
        (_fore(rear), near(0.3 + tremble, -0.15)),
        (_fore(channels.on("groom", 0.15)), wash),
        (_hind(limp[:, None] * [INJURED_SIDE == "left", INJURED_SIDE == "right"]), near(0.6, -0.4)),
        (_hind(channels.by_side("guard_hind_paw")), near(0.9 + tremble, -0.5)),
        (_hind(channels.by_side("lick_hind_paw", 0.15)), mouth),
        (_hind(channels.kicks), near(-0.9, 0.8)),
    ]
    free = np.max([weight for weight, _ in lifts], axis=0)
    splay = _SIDES * np.array([0.15, 0.15, 0.3, 0.3])
    paws, angle, contact = _plant(near(0.0, 0.0), facing + splay, free, channels.fps)
    for weight, target in lifts:
        paws = paws + weight[..., None] * (target - paws)
        contact = contact * np.clip(1 - 1.5 * weight, 0, 1)
    reach = WALL_CM + 0.35 * size
    return np.clip(paws, reach, CHAMBER_CM - reach), angle, contact


def _at_the_snout(
    channels: _Channels, snout: np.ndarray, facing: np.ndarray, size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns where a licked paw is held and where grooming fore paws stroke, both [t, 4, 2]."""
    ahead = size * _unit(facing)[:, None]
    mouth = snout[:, None] - 0.4 * ahead
    stroke = (0.55 + 0.45 * channels.rhythm(5.5))[:, None, None]
    aside = size * _normal(facing)[:, None] * (0.38 * _SIDES)[:, None]
    return np.repeat(mouth, 4, axis=1), mouth - 0.9 * stroke * ahead + aside


def _fore(weight: np.ndarray) -> np.ndarray:
    return np.stack([weight, weight, 0 * weight, 0 * weight], -1)


def _hind(weights: np.ndarray) -> np.ndarray:
    return np.concatenate([0 * weights, weights], -1)


def _plant(
    home: np.ndarray, home_angle: np.ndarray, free: np.ndarray, fps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lets paws stand where they are and step after their homes [t, 4, 2].

    A paw steps when it is STEP_CM from home and its neighbour on the other side stands; it lands
    ahead of where its home will be. A paw taken off the floor (`free` > 0.2) follows its home.
    """
    frames = len(home)
    swing = max(2, round(SWING_S * fps))
    paws, angle, contact = np.empty_like(home), np.empty((frames, 4)), np.ones((frames, 4))
    at, facing = home[0].copy(), home_angle[0].copy()
    since = [swing] * 4  # frames since lift-off; swing = standing
    start, land, turn = home[0].copy(), home[0].copy(), np.zeros(4)
    for t in range(frames):
        gap = home[t] - at
        distance = np.hypot(*gap.T)
        for paw in range(4):
            if since[paw] == swing and free[t, paw] > 0.2:
                at[paw] += 0.4 * gap[paw]
                facing[paw] += 0.4 * (home_angle[t, paw] - facing[paw])
            elif since[paw] == swing and distance[paw] > STEP_CM and since[paw ^ 1] == swing:
                since[paw] = 0
                then = min(t + swing, frames - 1)
                lead = home[then, paw] - home[t, paw]
                lead = lead / max(np.hypot(*lead), 1e-6) * min(np.hypot(*lead), 0.75 * STEP_CM)
                start[paw], land[paw] = at[paw], home[then, paw] + lead
                turn[paw] = (home_angle[then, paw] - facing[paw]) / swing
            if since[paw] < swing:
                since[paw] += 1
                at[paw] = start[paw] + (land[paw] - start[paw]) * since[paw] / swing
                facing[paw] += turn[paw]
                contact[t, paw] = 1.0 if since[paw] == swing else 0.0
        paws[t], angle[t] = at, facing
    return paws, angle, contact


def _tail(channels: _Channels, base: np.ndarray, facing: np.ndarray, size: float) -> np.ndarray:
    """Returns the tail [t, points, 2]: it follows the rump with a delay and curls slowly."""
    along = np.linspace(0, 1, TAIL_POINTS)
    delayed = channels.seconds[:, None] - 0.5 * along
    behind = np.interp(delayed, channels.seconds, facing)
    curl = 0.9 * channels.rng.normal() + 0.5 * channels.wander(1.0)[:, None]
    angle = behind + np.pi + curl * along * (0.6 + 0.8 * along)
    steps = TAIL_CM * size / (TAIL_POINTS - 1) * np.stack([np.cos(angle), np.sin(angle)], -1)
    tail = base[:, None] + np.cumsum(steps, axis=1) - steps[:, :1]
    return np.clip(tail, WALL_CM, CHAMBER_CM - WALL_CM)


def _unit(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def _normal(angle: np.ndarray) -> np.ndarray:
    """Unit vectors to the animal's left, as seen from below."""
    return np.stack([-np.sin(angle), np.cos(angle)], -1)


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
