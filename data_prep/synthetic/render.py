"""Draws a synthetic mouse in its chamber, from below and in infrared, and encodes it as H.264.

OpenCV draws antialiased shapes at twice the frame's size with sub-pixel coordinates; scaling down
also applies the camera's jitter. Light is multiplied at the end, so every brightness before that is
a reflectance.
"""

import dataclasses
import fractions
import math
from collections.abc import Iterable, Iterator

import av
import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from data_prep.synthetic.motion import CHAMBER_CM, CHEST, SNOUT, WALL_CM, Motion

SCALE = 2  # drawing pixels per frame pixel
_SHIFT = 4  # fractional bits of OpenCV coordinates
PAW_ON_FLOOR, PAW_IN_AIR = 215.0, 0.3  # reflectance; share of the way from the belly's to it
CRF = 20
# With lookahead, libx264 (PyAV 18, AVX-512) gave one of several outputs for the same 64 px frames,
# even on one thread; without it the output is always the same (1000 runs), and faster.
_NO_LOOKAHEAD = {"tune": "zerolatency", "x264-params": "scenecut=0:weightp=0"}
_NOISE_FRAMES = 16
# Of a planted confound. At nuisance 1 the light differs by a factor from 0.89 to 1.13, so the two
# kinds of recording do not overlap.
PLANTED_LIGHT = 1.35


@dataclasses.dataclass(frozen=True)
class Coat:
    """An animal's appearance."""

    size: float  # 1 = motion.BODY_CM long
    shade: float  # of the fur: 0 = black, 1 = white


@dataclasses.dataclass(frozen=True)
class Scene:
    """How one recording was filmed; independent of condition, day and drug."""

    brightness: float  # of the light; 1 = the usual
    gradient: tuple[float, float]  # relative change of the light over the chamber, in x and y
    noise: float  # sd in gray levels
    jitter_px: float  # sd of the camera's position, at 128 px
    scratches: int  # seed of the floor's texture, the cage's own
    litter: int  # seed of droppings and glare


def draw_scene(rng: np.random.Generator, *, nuisance: float, scratches: int) -> Scene:
    """Draws how a recording is filmed; with `nuisance` 0 all differ in litter and texture alone."""
    return Scene(
        brightness=math.exp(0.12 * nuisance * rng.uniform(-1, 1)),
        gradient=(0.2 * nuisance * rng.uniform(-1, 1), 0.2 * nuisance * rng.uniform(-1, 1)),
        noise=1.2 + nuisance * rng.uniform(0, 1.5),
        jitter_px=0.25 * nuisance * rng.uniform(0, 1),
        scratches=scratches,
        litter=int(rng.integers(2**31)),
    )


def camera_path(
    scene: Scene, *, frames: int, size: int, rng: np.random.Generator
) -> Float[np.ndarray, "frames 2"]:
    """Draws the camera's displacement in px per frame: an AR(1) process."""
    shift = np.zeros((frames, 2))
    steps = rng.standard_normal((frames, 2)) * scene.jitter_px * size / 128 * math.sqrt(1 - 0.8**2)
    for t in range(1, frames):
        shift[t] = 0.8 * shift[t - 1] + steps[t]
    return shift


def to_pixels(
    points: Float[np.ndarray, "frames points 2"], camera: Float[np.ndarray, "frames 2"], size: int
) -> Float[np.ndarray, "frames points 2"]:
    """Projects points in cm to px of the frame; the centre of the first pixel is (0, 0)."""
    return points * (size / CHAMBER_CM) - 0.5 - camera[:, None]


def render(
    motion: Motion,
    coat: Coat,
    scene: Scene,
    camera: Float[np.ndarray, "frames 2"],
    *,
    size: int,
    rng: np.random.Generator,
) -> Iterator[UInt8[np.ndarray, "size size"]]:
    """Yields the frames of a recording of `size` px; `camera` is its displacement in px."""
    floor = _floor(scene, size * SCALE)
    axis = np.linspace(-0.5, 0.5, size)
    slope = scene.gradient[0] * axis + scene.gradient[1] * axis[:, None]
    light = (scene.brightness * (1 + slope)).astype(np.float32)
    noise = scene.noise * rng.standard_normal((_NOISE_FRAMES, size + 32, size + 32))
    noise = np.rint(noise).astype(np.int16)
    corners = rng.integers((_NOISE_FRAMES, 32, 32), size=(len(camera), 3))
    canvas = np.empty_like(floor)
    draw = _Painter(motion, coat, size * SCALE / CHAMBER_CM)
    for t, (dx, dy) in enumerate(camera):
        canvas[:] = floor
        draw(canvas, t)
        view = np.array([[SCALE, 0, 0.5 + SCALE * dx], [0, SCALE, 0.5 + SCALE * dy]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        frame = cv2.warpAffine(
            canvas, view, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        frame = cv2.multiply(frame, light, dtype=cv2.CV_8U)
        n, row, column = corners[t]
        grain = noise[n, row : row + size, column : column + size]
        yield cv2.add(frame, grain, dtype=cv2.CV_8U)


def encode(
    path: str, frames: Iterable[UInt8[np.ndarray, "size size"]], *, fps: float, size: int
) -> None:
    """Writes gray frames (an even `size` in px) as an H.264 mp4, yuv420p.

    The same frames give the same bytes. The name of the file needs no `.mp4`.
    """
    video_range = np.rint(16 + np.arange(256) * 219 / 255).astype(np.uint8)  # ITU-R BT.601 luma
    planes = np.full((size * 3 // 2, size), 128, np.uint8)
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=fractions.Fraction(fps).limit_denominator(1001)
        )
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # x264 output depends on its threads
        stream.options = {"crf": str(CRF), "preset": "veryfast", **_NO_LOOKAHEAD}
        for frame in frames:
            planes[:size] = cv2.LUT(frame, video_range)
            picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


class _Painter:
    """Draws the mouse of one recording; all coordinates are computed at once."""

    def __init__(self, motion: Motion, coat: Coat, px_per_cm: float):
        self.scale, self.motion = px_per_cm, motion
        spine, width = motion.spine, motion.width
        normal = np.stack([-np.sin(motion.direction), np.cos(motion.direction)], -1)
        self.layers = [
            self._fixed(_outline(spine, normal * (width * share)[..., None]))
            for share in (1.0, 0.78, 0.5)
        ]
        head, sides = SNOUT - 4, np.array([[1.0], [-1.0]])
        ears = spine[:, head, None] + sides * 0.95 * motion.size * normal[:, head, None]
        self.ears, self.snout = self._fixed(ears), self._fixed(spine[:, SNOUT:])
        self.chin = self._fixed(spine[:, SNOUT - 2 :][:, :1])
        at, out = [11, 11, 4, 4], np.array([0.7, -0.7, 0.9, -0.9])[:, None]
        joints = spine[:, at] + out * motion.size * normal[:, at]
        self.legs = self._fixed(np.stack([joints, motion.paws], axis=2))
        self.paws = self._fixed(_paw_outlines(motion))
        self.tail = self._fixed(_tail_outline(motion))
        fur = 48 + 92 * coat.shade
        dimming = 1 - 0.3 * motion.height[:, CHEST]
        self.fur = [np.rint(fur * share * dimming) for share in (0.66, 0.85, 1.0)]
        self.leg = fur * 1.12 + 6
        air = fur + PAW_IN_AIR * (PAW_ON_FLOOR - fur)
        self.paw = np.rint(air + motion.contact * (PAW_ON_FLOOR - air))
        self.skin = fur + 0.4 * (PAW_ON_FLOOR - fur)

    def _fixed(self, points: np.ndarray) -> Int[np.ndarray, "..."]:
        """Converts cm to OpenCV's fixed-point coordinates on the drawing canvas."""
        return np.rint((points * self.scale - 0.5) * 2**_SHIFT).astype(np.int32)

    def _px(self, cm: float) -> int:
        return max(1, round(cm * self.motion.size * self.scale))

    def _dot(self, canvas: np.ndarray, at: np.ndarray, cm: float, shade: float) -> None:
        radius = round(cm * self.motion.size * self.scale * 2**_SHIFT)
        cv2.circle(canvas, at.tolist(), radius, shade, -1, cv2.LINE_AA, _SHIFT)

    def __call__(self, canvas: np.ndarray, t: int) -> None:
        """Draws frame `t` onto `canvas`, far things first."""
        cv2.fillPoly(canvas, [self.tail[t]], 0.9 * self.skin, cv2.LINE_AA, _SHIFT)
        for ear in self.ears[t]:
            self._dot(canvas, ear, 0.5, 0.9 * self.fur[0][t])
        for outline, shade in zip(self.layers, self.fur, strict=True):
            cv2.fillPoly(canvas, [outline[t]], shade[t], cv2.LINE_AA, _SHIFT)
        for leg, thick in zip(self.legs[t], (0.5, 0.5, 0.75, 0.75), strict=True):
            start, end = leg.tolist()
            cv2.line(canvas, start, end, self.leg, self._px(thick), cv2.LINE_AA, _SHIFT)
        # Blur the body's box, so that its layers shade into each other like fur.
        outline = self.layers[0][t] >> _SHIFT
        (left, top), (right, bottom) = outline.min(0) - 6, outline.max(0) + 6
        box = canvas[max(top, 0) : bottom, max(left, 0) : right]
        kernel = 2 * self._px(0.17) + 1
        cv2.GaussianBlur(box, (kernel, kernel), 0, dst=box)
        self._dot(canvas, self.chin[t, 0], 0.3, 0.5 * (self.fur[2][t] + self.skin))
        self._dot(canvas, self.snout[t, 0], 0.2, self.skin)
        for paw, shade in zip(self.paws[t], self.paw[t], strict=True):
            cv2.fillPoly(canvas, [paw], shade, cv2.LINE_AA, _SHIFT)


def _outline(line: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Returns the closed polygon [t, 2 n, 2] at vectors ±half [t, n, 2] from a line [t, n, 2]."""
    return np.concatenate([line + half, (line - half)[:, ::-1]], axis=1)


def _tail_outline(motion: Motion) -> np.ndarray:
    step = np.gradient(motion.tail, axis=1)
    normal = np.stack([-step[..., 1], step[..., 0]], -1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    half = motion.size * np.linspace(0.26, 0.07, motion.tail.shape[1])
    return _outline(motion.tail, normal * half[:, None])


def _paw_outlines(motion: Motion) -> np.ndarray:
    """Rotates and moves the two paw shapes to each paw's place: [t, 4, points, 2].

    A paw in the air is smaller: further from the camera and closed.
    """
    hind = _paw_shape(length=1.15, width=0.27, toes=5, toe=0.55, spread=0.75)
    fore = _paw_shape(length=0.4, width=0.25, toes=4, toe=0.42, spread=1.0)
    shapes = np.stack([fore, fore, hind, hind]) * motion.size
    shapes = shapes * (0.78 + 0.22 * motion.contact[..., None, None])
    cos, sin = np.cos(motion.paw_angle)[..., None], np.sin(motion.paw_angle)[..., None]
    x = cos * shapes[..., 0] - sin * shapes[..., 1]
    y = sin * shapes[..., 0] + cos * shapes[..., 1]
    return np.stack([x, y], -1) + motion.paws[:, :, None]


def _paw_shape(
    *, length: float, width: float, toes: int, toe: float, spread: float
) -> Float[np.ndarray, "points 2"]:
    """Outlines a paw pointing along x, its pad around the origin, its toes fanned out (cm)."""
    heel = np.linspace(0.5, 1.5, 8) * np.pi
    back = np.stack([0.25 * length * np.cos(heel) - 0.55 * length, 0.75 * width * np.sin(heel)], -1)
    front = np.array([0.25 * length, 0.0])
    points = []
    for angle in np.linspace(-spread, spread, toes):
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        root = front + np.array([0.0, width * angle / spread])
        tip = root + toe * along
        points += [root - 0.07 * across, tip - 0.05 * across, tip + 0.06 * along]
        points += [tip + 0.05 * across, root + 0.07 * across]
    outline = np.concatenate([back, np.array(points)])
    padded = 5 * 5 + 8 - len(outline)  # both shapes have as many points, to be stacked
    return np.concatenate([outline, np.repeat(outline[-1:], padded, 0)])


def _floor(scene: Scene, side: int) -> UInt8[np.ndarray, "side side"]:
    """Draws the empty chamber: acrylic floor with scratches, walls, glare and droppings."""
    cage, rng = np.random.default_rng(scene.scratches), np.random.default_rng(scene.litter)
    px = side / CHAMBER_CM
    cloud = cage.standard_normal((7, 7))
    floor = 27 + 3 * cv2.resize(cloud, (side, side), interpolation=cv2.INTER_CUBIC)
    for _ in range(3):  # glare of the lamps
        spot = np.zeros((side, side))
        x, y = rng.uniform(0, side, 2)
        axes = (rng.uniform(0.8, 2) * px, rng.uniform(0.2, 0.5) * px)
        cv2.ellipse(spot, ((x, y), axes, rng.uniform(0, 180)), 1.0, -1)
        floor += rng.uniform(15, 45) * cv2.GaussianBlur(spot, (0, 0), 0.25 * px)
    canvas = np.clip(floor, 0, 255).astype(np.uint8)
    for _ in range(14):  # scratches
        start = cage.uniform(WALL_CM, CHAMBER_CM - WALL_CM, 2)
        end = start + cage.normal(0, 1.5, 2)
        shade = float(cage.uniform(32, 46))
        start, end = np.rint(np.stack([start, end]) * px * 2**_SHIFT).astype(int).tolist()
        cv2.line(canvas, start, end, shade, 1, cv2.LINE_AA, _SHIFT)
    _add_walls(canvas, px)
    for _ in range(rng.integers(1, 6)):  # droppings
        x, y = rng.uniform(2 * WALL_CM, CHAMBER_CM - 2 * WALL_CM, 2) * px
        shape = ((x, y), (0.5 * px, 0.22 * px), rng.uniform(0, 180))
        cv2.ellipse(canvas, shape, rng.uniform(60, 95), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(canvas, (3, 3), 0)


def _add_walls(canvas: np.ndarray, px: float) -> None:
    """Darkens what lies outside the floor and draws the walls' bright lower edges."""
    side, wall = canvas.shape[0], round(WALL_CM * px)
    canvas[:wall] = canvas[side - wall :] = 12
    canvas[:, :wall] = canvas[:, side - wall :] = 12
    thick = max(1, round(0.12 * px))
    for inset, shade in ((wall, 92), (round(0.3 * wall), 40)):
        far = side - 1 - inset
        cv2.rectangle(canvas, (inset, inset), (far, far), shade, thick, cv2.LINE_AA)
