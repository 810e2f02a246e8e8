"""Is it relief? Where a drug moves animals in embedding space, and whether it only slows them.

The embeddings of the frozen projector are whitened on the untreated, trained animals. A drug that
relieves pain moves an animal back along the pain axis; one that sedates, or harms, moves it
elsewhere too.
"""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from mpjax.analysis.drug.sessions import VEHICLE, changes, dose_arms, split_arms, why_not_compared
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats.dunnett import Dunnett, pool
from mpjax.analysis.stats.estimates import PERMUTATIONS, absent
from mpjax.analysis.stats.permutation import shuffle_within
from mpjax.analysis.stats.t_test import t_test
from mpjax.analysis.stats.whitening import fit_space
from mpjax.data.splits import fit_rows
from mpjax.taxonomy import NO_PAIN

NEIGHBOURS = 10
_COMPONENTS = 50
_VARIANCE = 0.9  # share that the components keep, of _COMPONENTS at most
_SAME = 1e-6  # distance of two means, in standard deviations, that is rounding alone
_REFERENCES = 20_000  # clips that stand for the training manifold
_EXPECTED_FAR = 0.05  # share of the untreated, held-out clips that count as far
_FLAG_P = 0.01  # one-sided, of a t test over animals, that more are


def pain_axis(
    components: Float[np.ndarray, "n k"], is_pain: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " k"] | None:
    """Returns the unit vector from the mean of no pain to the mean of pain; None where they agree.

    Clips of both kinds occur.
    """
    axis = components[is_pain].mean(0) - components[~is_pain].mean(0)
    length = np.linalg.norm(axis)
    return axis / length if length > _SAME else None


def describe_specificity(
    predictions: Predictions,
    sessions: pd.DataFrame,
    contrasts: dict[str, list[dict[str, Any]]],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Gathers what distinguishes relief from other effects of the drug.

    Needs embeddings and, for the locomotion proxy, a column `motion`. The `contrasts` of conditions
    without pain are repeated. See the schema of metrics.json for what is returned.
    """
    calm = set(sessions.loc[sessions["coarse"] == NO_PAIN, "condition"])
    no_pain: Any = [{"condition": name} | row for name in sorted(calm) for row in contrasts[name]]
    if not calm:
        no_pain = absent("the drug part has no animals of a condition without pain")
    clips = _clips_by_session(predictions, sessions)
    result = {"no_pain": no_pain, "locomotion": _describe_locomotion(clips, sessions)}
    if predictions.embedding is None:
        why = absent("the predictions come without embeddings")
        return result | {"shift": why, "manifold": why}
    members = fit_rows(predictions.table, predictions.meta["scheme"])
    coarse = np.asarray(predictions.taxonomy.coarse)[
        np.asarray(predictions.taxonomy.fine_to_coarse)[predictions.table["label"][members]]
    ]
    if len(set(coarse == NO_PAIN)) < 2:
        why = absent("the trained animals do not show both pain and no pain")
        return result | {"shift": why, "manifold": why}
    space = fit_space(
        predictions.embedding, np.flatnonzero(members), components=_COMPONENTS, variance=_VARIANCE
    )
    components = space.project(predictions.embedding)[0].astype(np.float64)
    axis = pain_axis(components[members], coarse != NO_PAIN)
    if axis is None:
        between = " between pain and no pain" if space.inverse_sd.any() else ""
        why = absent(f"the embeddings do not vary{between}")
        return result | {"shift": why, "manifold": why}
    return result | {
        "shift": _describe_shifts(clips, sessions, components, axis, seed=seed),
        "manifold": _describe_manifold(clips, components, members, seed=seed),
    }


def _clips_by_session(predictions: Predictions, sessions: pd.DataFrame) -> pd.DataFrame:
    """Returns the clips of the drug part (`row`: of the table), with arm and phase."""
    clips = predictions.table.reset_index(names="row").query("split == 'drug'")
    after = (clips["drug"] != "") & ~(clips["minutes_post_dose"] < 0)
    clips = clips.assign(minutes_post_dose=clips["minutes_post_dose"].where(after), after=after)
    keys = sessions.assign(after=sessions["phase"] == "post")[
        ["animal", "day", "minutes_post_dose", "after", "phase", "arm", "coarse"]
    ]
    return clips.merge(keys, on=["animal", "day", "minutes_post_dose", "after"])


def _session_means(clips: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    """Averages clips within recordings, recordings within an animal's phase."""
    columns = [f"v{i}" for i in range(values.shape[1])]
    frame = pd.DataFrame(values, columns=columns)
    frame[["animal", "phase", "video"]] = clips[["animal", "phase", "video"]].to_numpy()
    recordings = frame.groupby(["animal", "phase", "video"])[columns].mean()
    return recordings.groupby(["animal", "phase"]).mean()


def _describe_locomotion(clips: pd.DataFrame, sessions: pd.DataFrame) -> dict[str, Any]:
    """Compares the change of motion under each arm with vehicle's, by Dunnett's test."""
    if "motion" not in clips:
        return absent("the predictions come without a measure of motion")
    means = _session_means(clips, np.log(clips[["motion"]].to_numpy() + 1e-3))
    scored = sessions.merge(
        means.rename(columns={"v0": "motion"}), left_on=["animal", "phase"], right_index=True
    )
    result: dict[str, Any] = {}
    for condition, animals in changes(scored, "motion").groupby("condition"):
        groups = split_arms(animals)
        why = why_not_compared(groups)
        if VEHICLE not in groups or len(groups) < 2:
            why = "no vehicle arm, or no other, in this condition"
        if why:
            result[str(condition)] = absent(why)
            continue
        vehicle, arms = groups[VEHICLE], {arm: groups[arm] for arm in dose_arms(animals)}
        tests, found = Dunnett(vehicle, arms), []
        for arm in arms:
            test = tests.test(arm)
            row = {"arm": arm, "p": test["p_adjusted"], "n": len(arms[arm]) + len(vehicle)}
            found.append(row | {key: test[key] for key in ("value", "ci95")})
        result[str(condition)] = found
    return result


def _describe_shifts(
    clips: pd.DataFrame,
    sessions: pd.DataFrame,
    components: Float[np.ndarray, "n k"],
    axis: Float[np.ndarray, " k"],
    *,
    seed: int,
) -> dict[str, Any]:
    """Splits each arm's shift into the part along the pain axis and the part orthogonal to it."""
    means = _session_means(clips, components[clips["row"]])
    shift = (means.xs("post", level="phase") - means.xs("pre", level="phase")).dropna()
    animals = changes(sessions).set_index("animal").loc[shift.index]
    result: dict[str, Any] = {}
    for condition, rows in animals.groupby("condition"):
        result[str(condition)] = absent("no vehicle arm in this condition")
        moved = {arm: shift.loc[own.index].to_numpy() for arm, own in rows.groupby("arm")}
        if VEHICLE in moved:
            result[str(condition)] = [
                {"arm": arm} | split_shift(moved[arm], moved[VEHICLE], axis, seed=seed)
                for arm in dose_arms(rows)
            ]
    return result


def split_shift(
    arm: Float[np.ndarray, "n k"],
    vehicle: Float[np.ndarray, "m k"],
    axis: Float[np.ndarray, " k"],  # a unit vector
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Splits the vehicle-subtracted mean shift (post - pre, in whitened components) of an arm.

    Returns:
        `along`: the signed part along the axis, negative towards no pain, with its t interval;
        `orthogonal`: the length of the rest less what chance alone gives (so it can be 0), with
        a p-value by permuting animals between the arms; `share_along`: the share of the squared
        length, chance taken off, that lies along the axis.
    """
    n, m = len(arm), len(vehicle)
    on_axis = {"the arm": arm @ axis, VEHICLE: vehicle @ axis}
    if why := why_not_compared(on_axis):
        return dict.fromkeys(("along", "orthogonal", "share_along"), absent(why))
    spread = pool(list(on_axis.values()))
    along = float(on_axis["the arm"].mean() - on_axis[VEHICLE].mean())
    se = spread.sd * np.sqrt(1 / n + 1 / m)
    rest = np.concatenate([arm, vehicle])
    rest = rest - np.outer(rest @ axis, axis)
    difference = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)])
    squared = float(np.square(difference @ rest).sum())
    chance = sum(part.var(0).sum() * len(part) for part in (rest[:n], rest[n:]))
    chance *= (1 / n + 1 / m) / spread.df
    order = shuffle_within(np.zeros(n + m, int), PERMUTATIONS, np.random.default_rng(seed))
    drawn = difference[order]
    extreme = (np.square(drawn @ rest).sum(1) >= squared * (1 - 1e-9)).sum()
    orthogonal = max(squared - chance, 0.0)
    on = max(along**2 - se**2, 0.0)
    share = absent("the shift is not larger than expected by chance")
    if on + orthogonal > 0:
        value = on / (on + orthogonal)
        share = {"value": value, "ci95": None, "why": "a description", "n": n + m}
    return {
        "along": t_test(along, se, spread.df) | {"n": n + m},
        "orthogonal": {
            "value": float(np.sqrt(orthogonal)),
            "ci95": None,
            "why": "tested by permutation alone",
            "p": float((1 + extreme) / (1 + PERMUTATIONS)),
            "n": n + m,
        },
        "share_along": share,
    }


def _describe_manifold(
    clips: pd.DataFrame,
    components: Float[np.ndarray, "n k"],
    members: Bool[np.ndarray, " n"],
    *,
    seed: int,
) -> dict[str, Any]:
    """Counts, per condition, arm and phase, the clips far from every trained clip.

    Far is farther than 95 % of the untreated clips of the drug part's own animals, which were not
    trained on either, by the distance to the 10th nearest trained clip.
    """
    rng = np.random.default_rng(seed)
    references = np.flatnonzero(members)
    if len(references) > _REFERENCES:
        references = rng.choice(references, _REFERENCES, replace=False)
    if len(references) <= NEIGHBOURS:
        return absent(f"{len(references)} trained clips; more than {NEIGHBOURS} are needed")
    tree = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(components[references])
    distance = tree.kneighbors(components[clips["row"]])[0][:, -1]
    untreated = (clips["phase"] != "post").to_numpy()
    threshold = float(np.quantile(distance[untreated], 1 - _EXPECTED_FAR))
    clips = clips.assign(far=distance > threshold)
    rows, by = [], ["condition", "arm", "phase"]
    for key, part in clips.groupby(by):
        shares = part.groupby("animal")["far"].mean().to_numpy()
        row: dict[str, Any] = dict(zip(by, map(str, key), strict=True))
        row |= {"value": float(shares.mean()), "n": len(shares)}
        rows.append(row | {"flag": row["phase"] == "post" and _is_more(shares)})
    return {"threshold": threshold, "rows": rows}


def _is_more(shares: Float[np.ndarray, " animals"]) -> bool:
    """Returns whether animals show more far clips than untreated ones do."""
    if len(shares) < 2 or np.isclose(np.ptp(shares), 0):
        return bool(len(shares) > 1 and shares[0] > 2 * _EXPECTED_FAR)
    test = stats.ttest_1samp(shares, _EXPECTED_FAR, alternative="greater")
    return bool(test.pvalue < _FLAG_P)
