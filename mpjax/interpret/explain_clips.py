"""Explains single predictions of a study: which part of the clip was decisive.

Held-out clips are chosen by their predictions, each is explained for the head that predicted it,
and every map is tested: erasing the most important parts first must reduce the probability of the
prediction more than erasing in random order. Finished clips stay on disk, so a killed run resumes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from jaxtyping import Bool, Float, Int, UInt8

from mpjax.config import SaliencyConfig
from mpjax.data import animation, embeddings, records
from mpjax.data.clips import resize_short_side
from mpjax.data.scene import backgrounds
from mpjax.data.splits import Splits, evaluated_rows
from mpjax.heads import logistic, probe
from mpjax.interpret import attribution, faithfulness
from mpjax.io import files, progress
from mpjax.models import swin
from mpjax.models.projector import Projector
from mpjax.taxonomy import NO_PAIN, Taxonomy
from mpjax.training import artifacts

_VERSION = "saliency/2"  # of the files of single clips
_SHORT_SIDE, _MAX_BYTES = 224, 300_000  # of an animation
_MAX_FPS = 8.0  # shown; a clip of half a second is slowed down


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """The classes to explain: the coarse ones if the cohort has them, else the fine ones."""

    classes: tuple[str, ...]
    p: Float[np.ndarray, "n classes"]  # of every clip
    label: Int[np.ndarray, " n"]  # of every clip; -1: none
    prefix: str  # of the names of the heads that predicted them
    members: Bool[np.ndarray, "classes head"]  # which of the head's classes make up each of them
    pain: Bool[np.ndarray, " head"] | None  # the head's classes that are; None if not known


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A clip to explain: its row in the predictions, and why it was chosen."""

    row: int
    kind: str  # right or wrong: the most confident ones of a class; drawn: at random


def explain(
    embedded: embeddings.Embeddings,
    splits: Splits,
    projector: Projector,
    config: SaliencyConfig,
    *,
    dataset: epath.PathLike,
    heads: epath.PathLike,
    out: epath.PathLike,
) -> dict[str, Any]:
    """Explains clips of a study; writes an animation and a JSON file each to `out`.

    Files of other clips or heads in the folder `out` are removed.

    Returns:
        For metrics.json: `classes`; `pain`, whether that is known; `check` and `curves` of
        `faithfulness.summarise`; `settings`; and `clips`, a row each: `kind` (see `Chosen`),
        `clip_id`, `video`, `animal`, `start_s`, `fps`, `view`, `true` and `predicted` class, `p` of
        the latter, `emptied` (whether other recordings helped to remove the animal),
        `attribution.Attribution.figures`, `areas` under the curves, `file` of the animation.
        {"value": None, "why"} if nothing can be explained.

    Raises:
        ValueError: the projector is not the one that made the embeddings.
    """
    if embedded.meta["projector"]["fingerprint"] != projector.fingerprint:
        raise ValueError(
            f"{dataset}: its embeddings are of another projector "
            f"({embedded.meta['projector']['fingerprint']}, here {projector.fingerprint}); "
            "run `python -m mpjax.embed`"
        )
    table = probe.predict(embedded, splits, heads)
    task = plan_task(table, splits.taxonomy)
    if len(task.classes) < 2:
        return {"value": None, "why": "with one class there is no prediction to explain"}
    chosen = choose(table, task, config)
    if not chosen:
        return {"value": None, "why": "no held-out clip of a trained class"}
    source = records.RecordSource(dataset)
    study = _Study(source, heads, projector, config, embedded, table, task)
    rows = study.explain(chosen, epath.Path(out))
    groups = table[splits.group].to_numpy()[[each.row for each in chosen]]
    return {
        "classes": list(task.classes),
        "pain": task.pain is not None,
        **faithfulness.summarise(rows, groups, unit=splits.group, config=config),
        "clips": [faithfulness.without_curves(row) for row in rows],
        "settings": dataclasses.asdict(config),
    }


def plan_task(table: pd.DataFrame, taxonomy: Taxonomy) -> Task:
    """Decides which classes are explained."""
    fine = np.stack(table["p"])
    label = table["label"].to_numpy()
    if len(taxonomy.coarse) < 2:
        width = len(taxonomy.fine)
        return Task(taxonomy.fine, fine, label, "", np.eye(width, dtype=bool), None)
    to_coarse = np.array(taxonomy.fine_to_coarse)
    members = to_coarse[None] == np.arange(len(taxonomy.coarse))[:, None]
    p, prefix = taxonomy.coarse_probabilities(fine), ""
    if "p_coarse" in table:
        p, prefix = np.stack(table["p_coarse"]), probe.COARSE
        members = np.eye(len(taxonomy.coarse), dtype=bool)
    pain = None
    if NO_PAIN in taxonomy.coarse:
        pain = ~members[taxonomy.coarse.index(NO_PAIN)]
    coarse = np.where(label >= 0, to_coarse[label], -1)
    return Task(taxonomy.coarse, p, coarse, prefix, members, pain)


def choose(table: pd.DataFrame, task: Task, config: SaliencyConfig) -> list[Chosen]:
    """Chooses held-out clips: per class the most confident right and wrong ones; some at random.

    Clips come from different animals where possible. Of more classes than `config.max_clips`
    allows for, some are drawn by seed. `table` holds the predictions, a row per clip.
    """
    generator = np.random.default_rng(config.seed)
    tested = evaluated_rows(table) & (task.label >= 0)
    named = task.p.argmax(axis=1)
    shuffled = generator.permutation(len(table))  # breaks ties
    by_surety = shuffled[np.argsort(-task.p.max(axis=1)[shuffled], kind="stable")]
    animals = table["animal"].to_numpy()
    chosen: list[Chosen] = []

    def take(rows: Int[np.ndarray, " k"], count: int, kind: str) -> None:
        """Takes clips in order, if possible of animals that were not taken yet."""
        for _ in range(min(count, config.max_clips - len(chosen))):
            used = [each.row for each in chosen]
            left = rows[~np.isin(rows, used)]
            fresh = left[~np.isin(animals[left], animals[used])]
            if not len(left):
                return
            chosen.append(Chosen(int((fresh if len(fresh) else left)[0]), kind))

    for k in generator.permutation(len(task.classes)):
        own = tested & (task.label == k)
        take(by_surety[(own & (named == k))[by_surety]], config.correct_per_class, "right")
        take(by_surety[(own & (named != k))[by_surety]], config.incorrect_per_class, "wrong")
    chosen.sort(key=lambda each: (task.label[each.row], each.kind))
    take(shuffled[tested[shuffled]], config.random_clips, "drawn")
    return chosen


class _Study:
    """Explains clips of a study."""

    def __init__(
        self,
        source: records.RecordSource,
        heads: epath.PathLike,
        projector: Projector,
        config: SaliencyConfig,
        embedded: embeddings.Embeddings,
        table: pd.DataFrame,
        task: Task,
    ):
        self._config, self._source = config, source
        self._embedded, self._table, self._task = embedded, table, task
        self._variables = artifacts.restore(heads)
        self._views = embedded.views
        self._chambers: dict[tuple[int, int, int], np.ndarray | None] = {}
        self._explainer = attribution.Explainer(
            swin.plain_form(projector), config.batch_size, max(1, config.batch_size // 4)
        )
        heads_of = artifacts.read_metadata(heads)["fingerprint"]
        decisive = (config.grid, config.steps, config.levels, config.random, config.seed)
        self._made_of = (_VERSION, projector.fingerprint, heads_of, *decisive)

    def explain(self, chosen: Sequence[Chosen], out: epath.Path) -> list[dict[str, Any]]:
        """Returns a row per clip; those already finished are read from `out`."""
        files.make_folder(out)
        rows, kept = [], set()
        bar = progress.after_first(chosen, desc="saliency", unit="clip", total=len(chosen))
        for each in bar:
            clip_id = self._table["clip_id"].iloc[each.row]
            stem = files.fingerprint(*self._made_of, clip_id)
            described, animated = out / f"{stem}.json", out / f"{stem}.webp"
            kept |= {described.name, animated.name}
            if not (described.exists() and animated.exists()):
                row, frames = self._explain_clip(each.row)
                content = animation.encode_webp(
                    frames,
                    fps=min(row["fps"], _MAX_FPS),
                    max_bytes=_MAX_BYTES,
                    short_side=frames.shape[1],
                )
                with files.write_aside(animated) as aside:
                    aside.write_bytes(content)
                files.write_json(described, row | {"file": animated.name})
            rows.append({"kind": each.kind} | files.read_json(described))
        for stale in out.iterdir():
            if stale.suffix in (".json", ".webp") and stale.name not in kept:
                stale.unlink()
        return rows

    def _explain_clip(self, number: int) -> tuple[dict[str, Any], UInt8[np.ndarray, "t h w 3"]]:
        """Returns the figures of a clip, and its animation: the clip and the maps side by side."""
        task, about = self._task, self._table.iloc[number]
        predicted = int(task.p[number].argmax())
        head = self._variables[probe.head_name(int(about["fold"]), task.prefix)]
        members = task.members[predicted]
        position, view = self._find_view(about["clip_id"], head, attribution.contrast(members))
        clip = animation.read_view(self._source, position, self._views, view)
        background, emptied = self._background(about["video"], view)
        subject = attribution.Subject(self._explainer, head, clip, background, self._config.grid)
        found = attribution.attribute(subject, members, task.pain, steps=self._config.steps)
        row = {
            **{k: about[k] for k in ("clip_id", "video", "animal")},
            **{k: float(about[k]) for k in ("start_s", "fps")},
            "view": view,
            "true": task.classes[task.label[number]],
            "predicted": task.classes[predicted],
            "p": float(task.p[number, predicted]),
            "emptied": emptied,
            **found.figures,
            "curves": faithfulness.measure(subject, found, members, self._config, about["clip_id"]),
        }
        maps = {f"for {task.classes[predicted]}": found.maps["occlusion"]}
        maps["finer, by gradients"] = found.maps["gradients"]
        if "pain" in found.maps:
            maps["for pain"] = found.maps["pain"]
        panels = [clip, *(animation.overlay(clip, saliency) for saliency in maps.values())]
        panels = [resize_short_side(panel, _SHORT_SIDE) for panel in panels]
        return row, animation.side_by_side(panels, ["the clip", *maps])

    def _find_view(
        self, clip_id: str, head: Any, weights: Float[np.ndarray, " head"]
    ) -> tuple[int, int]:
        """Returns a clip's position in the records, and the view with the highest score."""
        table = self._embedded.table
        index = self._source.index
        position = int(np.flatnonzero(index["clip_id"] == clip_id)[0])
        rows = np.flatnonzero(table["clip_id"] == clip_id)
        starts = len(self._views.starts(int(index["frames"].iloc[position])))
        crops = len(rows) // starts // self._views.rotations
        rows = rows[table["view"].to_numpy()[rows] // crops % self._views.rotations == 0]
        scores = logistic.predict(head, self._embedded.embedding[rows]) @ weights
        return position, int(table["view"].iloc[rows[scores.argmax()]])

    def _background(self, video: str, view: int) -> tuple[UInt8[np.ndarray, "h w 3"], bool]:
        """Returns a recording without its animal, and whether other recordings were needed."""
        index = self._source.index
        positions = np.flatnonzero(index["video"] == video)
        height, width = (int(index[k].iloc[positions[0]]) for k in ("height", "width"))
        spatial = dataclasses.replace(self._views, frames=0, clips=1, rotations=1)
        crop = view % spatial.count(1, height, width)
        place = (height, width, crop)
        if place not in self._chambers:
            self._chambers[place] = backgrounds.read_chamber(
                self._source, spatial, crop, height=height, width=width
            )
        chamber = self._chambers[place]
        median = backgrounds.read_median(self._source, positions.tolist())
        cut = backgrounds.cut(median, spatial, crop)
        return (cut, False) if chamber is None else backgrounds.remove_animal(cut, chamber)
