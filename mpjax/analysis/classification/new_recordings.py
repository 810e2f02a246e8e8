"""Scores of new recordings by the heads of a finished study: per clip, per bout, per recording.

Each recording is scored on its own. Probabilities are means over the heads, calibrated by the
study's temperature; the heads differ in the animals that they were trained on.

Source: Lakshminarayanan et al. (2017), arXiv 1612.01474 (ensembles); Houlsby et al. (2011),
arXiv 1112.5745 (disagreement: the entropy of the mean less the mean entropy).
"""

import dataclasses

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.special import entr, logit, softmax

from mpjax.analysis.classification.calibration import LEAST_P
from mpjax.analysis.classification.scores import tasks_of
from mpjax.analysis.motifs.codebook import Codebook
from mpjax.analysis.pain_score import MARGIN, pain_probability, pain_score, why_no_pain_score
from mpjax.taxonomy import Taxonomy

_RECORDING = ("video", "roi")  # identify a recording


@dataclasses.dataclass(frozen=True)
class Scored:
    """The scored clips of one recording."""

    clips: pd.DataFrame  # a row per clip, in order of time; the columns are those of clips.csv
    p_heads: Float[np.ndarray, "heads n fine"]  # calibrated, by every head, the final one last
    taxonomy: Taxonomy


def score(
    clips: pd.DataFrame,
    log_p: Float[np.ndarray, "heads n fine"],
    taxonomy: Taxonomy,
    *,
    temperature: float = 1.0,
) -> Scored:
    """Scores the clips of one recording.

    Args:
        clips: a row per clip, in order of time, with `video`, `start_s`, `end_s` and any further
            columns, such as those of `measure_novelty`.
        log_p: log-probabilities of the fine classes by every head, the final one last.
        taxonomy: the study's classes.
        temperature: of the study; 1: not calibrated.

    Returns:
        The columns of `clips`, then `class` and, with coarse classes, `group` (the most probable),
        `pain`, `entropy` (0: certain of one class; 1: all equally probable), `disagreement` of the
        heads (0: none; on the scale of the entropy; NaN with a single head), `pain_sd_heads`,
        `p[class]` and `p_group[group]`.
    """
    floor = np.log(LEAST_P)
    p_heads = softmax(np.maximum(log_p.astype(np.float64), floor) / temperature, axis=-1)
    p = p_heads.mean(axis=0)
    table = clips.reset_index(drop=True)
    columns: dict[str, np.ndarray] = {}
    for kind, task in zip(("class", "group"), tasks_of(taxonomy).values(), strict=False):
        pooled = task.pool(p)
        table[kind] = np.array(task.classes)[pooled.argmax(axis=1)]
        columns |= {column(kind, name): pooled[:, i] for i, name in enumerate(task.classes)}
    several = len(p_heads) > 1
    if not why_no_pain_score(taxonomy):
        table["pain"] = pain_probability(taxonomy, p)
        of_heads = np.stack([pain_probability(taxonomy, each) for each in p_heads])
        table["pain_sd_heads"] = of_heads.std(axis=0, ddof=1) if several else np.nan
    scale = np.log(max(2, p.shape[1]))
    entropy = entr(p).sum(axis=1) / scale
    within = entr(p_heads).sum(axis=2).mean(axis=0) / scale
    table["entropy"] = entropy
    table["disagreement"] = np.maximum(entropy - within, 0.0) if several else np.nan
    return Scored(pd.concat([table, pd.DataFrame(columns)], axis=1), p_heads, taxonomy)


def column(kind: str, name: str) -> str:
    """Returns the column of a probability; `kind` is class or group."""
    return f"p[{name}]" if kind == "class" else f"p_group[{name}]"


def measure_novelty(
    codebook: Codebook, embedding: Float[np.ndarray, "windows d"], clip: Int[np.ndarray, " windows"]
) -> pd.DataFrame:
    """Finds clips that are unlike anything that the study was trained on, by its motifs' gates.

    A clip of several windows is represented by the one that is farthest beyond its gates. `clip` is
    the clip of each window, 0.., ascending.

    Returns:
        A row per clip: `motif`; `distance` to its centre and the `gate` that it should not exceed;
        `off_plane`, the distance off the space of the motifs, and `off_plane_gate`; `unlike`,
        whether either gate is exceeded.

    Raises:
        ValueError: the embeddings are of another width, or not finite.
    """
    assigned = codebook.assign(embedding)
    off_plane = codebook.space.project(embedding)[1]
    windows = pd.DataFrame(
        {
            "motif": assigned.motif,
            "distance": assigned.distance,
            "gate": codebook.gate[assigned.motif],
            "off_plane": off_plane,
            "off_plane_gate": codebook.residual_gate,
            "unlike": assigned.unlike,
        }
    )
    tiny = np.finfo(np.float64).tiny  # of a motif that held a single window the gate is 0
    beyond = np.maximum(
        windows["distance"] / np.maximum(windows["gate"], tiny),
        windows["off_plane"] / max(codebook.residual_gate, tiny),
    )
    order = np.lexsort((-beyond, ~windows["unlike"], clip))
    first = np.r_[True, np.diff(clip[order]) != 0]
    return windows.iloc[order[first]].reset_index(drop=True)


def find_bouts(scored: Scored) -> pd.DataFrame:
    """Joins successive clips of one group (without groups: class) to bouts.

    Returns:
        A row per bout: `video`, `roi`, `group` or `class`, `start_s`, `end_s`, `clips`, `p` (of
        that group or class, mean), `pain` (mean) and `unlike` (share of clips), where known.
    """
    table = scored.clips
    kind = "group" if "group" in table else "class"
    # A clip lasts until the next one starts, but no longer than its own length.
    following = table["start_s"].shift(-1, fill_value=np.inf)
    own = [row[column(kind, row[kind])] for row in table.to_dict("records")]
    table = table.assign(end_s=np.minimum(table["end_s"], following), clips=1, p=own)
    how = dict.fromkeys((*_RECORDING, kind, "start_s"), "first")
    how |= {"end_s": "max", "clips": "sum", "p": "mean", "pain": "mean", "unlike": "mean"}
    bout = (table[kind] != table[kind].shift()).cumsum().to_numpy()
    return (
        table.groupby(bout)
        .agg({name: rule for name, rule in how.items() if name in table})
        .reset_index(drop=True)
    )


def summarise(scored: Scored) -> dict[str, object]:
    """Returns the row of recordings.csv of one recording.

    Returns:
        `video`, `roi` where known, `clips`, `seconds` (from the first clip's start to the last
        one's end), `class` and `group` (most probable on average), `pain` (mean over clips) with
        its spread `pain_sd_clips`, `pain_lowest_head` and `pain_highest_head` (of the recording's
        mean), `pain_score` (mean logit) and `pain_score_final_head` (the same by the head that the
        study's drug test uses), `entropy`, `disagreement`, `unlike` (share of the clips; None: not
        known) and the mean `p[…]` of every class and `p_group[…]` of every group. A spread is not
        a confidence interval: neither the clips of a recording nor the heads are independent.
    """
    table, taxonomy = scored.clips, scored.taxonomy
    means = table[[name for name in table if name.startswith(("p[", "p_group["))]].mean()
    row: dict[str, object] = {
        **{name: table[name].iloc[0] for name in _RECORDING if name in table},
        "clips": len(table),
        "seconds": table["end_s"].max() - table["start_s"].min(),
    }
    for kind, names in (("class", taxonomy.fine), ("group", taxonomy.coarse)):
        if names:
            row[kind] = max(names, key=lambda name: means[column(kind, name)])
    if "pain" in table:
        of_heads = [pain_probability(taxonomy, p).mean() for p in scored.p_heads]
        row |= {
            "pain": table["pain"].mean(),
            "pain_sd_clips": table["pain"].std(ddof=1),
            "pain_lowest_head": min(of_heads),
            "pain_highest_head": max(of_heads),
            "pain_score": logit(np.clip(table["pain"], MARGIN, 1 - MARGIN)).mean(),
            "pain_score_final_head": pain_score(taxonomy, scored.p_heads[-1]).mean(),
        }
    row |= {name: table[name].mean() for name in ("entropy", "disagreement")}
    row["unlike"] = table["unlike"].mean() if "unlike" in table else None
    return row | means.to_dict()
