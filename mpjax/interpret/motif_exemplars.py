"""A gallery of motifs: short looping videos of typical windows, and the actions they resemble.

The typical windows are those nearest to a motif's centre, from as many animals as possible.
"""

import numpy as np
import pandas as pd
import tqdm
from etils import epath
from jaxtyping import Bool, Float, Int, UInt8

from mpjax.data import animation, records
from mpjax.data.clips import Views
from mpjax.io import files
from mpjax.models import kinetics
from mpjax.models.projector import Projector

FILE = "gallery.json"
_VERSION = "gallery/1"
_SHORT_SIDE, _MAX_BYTES = 160, 80_000  # of an animation
_TOTAL_BYTES = 6_000_000  # of all animations together, so that the report can still be mailed
_MAX_FPS = 12.5  # shown; faster windows are slowed down


def make(
    windows: pd.DataFrame,
    assigned: tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"], Bool[np.ndarray, " n"]],
    *,
    dataset: epath.PathLike,
    views: Views,
    projector: Projector,
    count: int,
    made_of: str,
    out: epath.PathLike,
) -> bool:
    """Writes animations of every motif and `gallery.json` into a folder.

    Files of another gallery in the folder `out` are removed. Returns False if it already holds
    exactly this gallery.

    Args:
        windows: of `mpjax.data.windows.cut`, with the name of their `class` ('' for none).
        assigned: of each window its motif, the distance to the motif's centre, and whether it is
            unlike every motif.
        projector: that embedded them; its native head, if any, names actions that motifs resemble.
        count: animations per motif.
        made_of: fingerprint of the codebook.
    """
    out = epath.Path(out)
    stamp = files.fingerprint(_VERSION, made_of, count, projector.fingerprint)
    path = out / FILE
    if path.exists() and files.read_json(path).get("fingerprint") == stamp:
        return False
    files.make_folder(out)
    path.unlink(missing_ok=True)
    for stale in out.glob("*.webp"):
        stale.unlink()
    source = records.RecordSource(dataset)
    picks = choose(windows, *assigned, count=count)
    budget = min(_MAX_BYTES, _TOTAL_BYTES // max(1, len(picks)))
    motifs = range(int(assigned[0].max()) + 1)
    described: list[dict] = [{"motif": k, "pictures": []} for k in motifs]
    seen: dict[int, list[UInt8[np.ndarray, "t h w 3"]]] = {}
    position = pd.Series(np.arange(len(source)), source.index["clip_id"])
    for motif, row in tqdm.tqdm(picks, desc="gallery", unit="animation"):
        about = windows.iloc[row]
        place = int(position[about["clip_id"]])
        frames = animation.read_view(source, place, views, int(about["view"]))
        seen.setdefault(motif, []).append(frames)
        shown = described[motif]["pictures"]
        name = f"motif-{motif:02d}-{len(shown)}.webp"
        fps = min(float(about["fps"]), _MAX_FPS)
        content = animation.encode_webp(frames, fps=fps, max_bytes=budget, short_side=_SHORT_SIDE)
        with files.write_aside(out / name) as aside:
            aside.write_bytes(content)
        origin: dict = {k: str(about[k]) for k in ("clip_id", "video", "animal")}
        origin |= {k: float(about[k]) for k in ("start_s", "seconds")}
        shown.append({"file": name, "caption": _caption(about)} | origin)
    for motif, clips in tqdm.tqdm(seen.items(), desc="moves like", unit="motif"):
        found = kinetics.describe_actions(projector, clips)
        named = [[action["name"], action["p"]] for action in found.get("top", [])]
        described[motif]["moves_like"] = named or {"why": found["why"]}
    files.write_json(path, {"fingerprint": stamp, "motifs": described})
    return True


def choose(
    windows: pd.DataFrame,
    motif: Int[np.ndarray, " n"],
    distance: Float[np.ndarray, " n"],
    unlike: Bool[np.ndarray, " n"],
    *,
    count: int,
) -> list[tuple[int, int]]:
    """Returns (motif, row) of the windows nearest to each centre, first one of each animal.

    Windows that are unlike every motif, or whose clip is padded with its last frame, are used only
    if the motif has no others.
    """
    poor = unlike | (windows["padded_frames"].to_numpy() > 0)
    picks: list[tuple[int, int]] = []
    for k in range(int(motif.max()) + 1):
        rows = np.flatnonzero((motif == k) & ~poor)
        if not len(rows):
            rows = np.flatnonzero(motif == k)
        rows = rows[np.argsort(distance[rows], kind="stable")]
        turn = windows["animal"].iloc[rows].groupby(windows["animal"].iloc[rows]).cumcount()
        picks += [(k, int(row)) for row in rows[np.argsort(turn, kind="stable")][:count]]
    return picks


def _caption(about: pd.Series) -> str:
    """Returns animal, class, drug and time of a window as text."""
    state = about["class"]
    if not state:
        known = about["day"] != records.UNKNOWN_DAY
        state = f"{about['condition']}, day {about['day']}" if known else "no class"
    treated = f", {about['drug']}" if about["drug"] else ""
    return f"{about['animal']} · {state}{treated} · {about['start_s']:.1f} s"


def read(out: epath.PathLike) -> dict[int, dict] | None:
    """Returns the gallery in a folder with its animations as data URIs; None if there is none."""
    out = epath.Path(out)
    if not (out / FILE).exists():
        return None
    galleries = {}
    for each in files.read_json(out / FILE)["motifs"]:
        each["pictures"] = [
            {"src": animation.data_uri((out / one["file"]).read_bytes()), "caption": one["caption"]}
            for one in each["pictures"]
        ]
        galleries[each.pop("motif")] = each
    return galleries
