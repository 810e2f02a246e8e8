"""The mixed model of a drug trial: score ~ arm * time * pain type + sex + (1|cage/animal)."""

import re
from typing import Any

import numpy as np
import pandas as pd

from mpjax.analysis.stats import mixed_model
from mpjax.analysis.stats.estimates import NotEstimableError, absent

_PARTS = {"C(arm": "arm", "C(phase": "phase", "C(coarse": "pain type", "sex": "sex"}


def fit_mixed_model(sessions: pd.DataFrame, *, vehicle: str, reference: str) -> dict[str, Any]:
    """Fits the sessions before the dose, and the means of those after it, by REML.

    Terms that vary within an animal (those with the phase) have as many degrees of freedom as
    there are animals minus the cells of arm and pain type; the others as there are cages (animals)
    minus these cells (containment). Others are compared with the arm `vehicle` and the pain type
    `reference`.

    Returns:
        {"formula", "method", "n": {"animals", "sessions", "cages"}, "sd": {"animal", "residual",
        "cage"}, "terms": [{"term", "value", "se", "ci95", "p", "df"}]}, or why there is none.
    """
    rows = sessions[sessions["phase"].isin(["pre", "post"])]
    # Several sessions after the dose are no replicates of an animal's response.
    keep = ["animal", "cage", "sex", "coarse", "arm", "phase"]
    rows = rows.groupby(keep, as_index=False)["score"].mean()
    rows["phase"] = rows["phase"].map({"pre": "0pre", "post": "1post"})
    if rows.empty or np.isclose(np.ptp(rows["score"]), 0):
        return absent("all sessions score alike, so there is nothing to fit")
    typed = len(set(rows["coarse"])) > 1
    sexed = bool((rows["sex"] != "").all()) and len(set(rows["sex"])) > 1
    factors = [f"C(arm, Treatment({vehicle!r}))", "C(phase)"]
    if typed:
        factors.append(f"C(coarse, Treatment({reference!r}))")
    try:
        model = mixed_model.fit("score ~ " + " * ".join(factors) + " + C(sex)" * sexed, rows)
    except NotEstimableError as error:
        return absent(str(error))
    cells = len(rows.groupby("animal")[["arm", "coarse"]].first().drop_duplicates())
    within = rows["animal"].nunique() - cells
    between = rows[model.groups].nunique() - cells - sexed
    if min(within, between) < 1:
        return absent("too few animals for the mixed model: no degree of freedom is left")
    formula = "score ~ arm * phase" + " * pain type" * typed + " + sex" * sexed
    described = model.describe(formula, _plain, lambda name: within if "phase" in name else between)
    return described | {"method": "REML; t tests with containment degrees of freedom"}


def _plain(name: str) -> str:
    """Returns patsy's name of a term as `arm gabapentin 100 mg/kg × phase post`."""
    parts = []
    for part in name.split(":"):
        factor = next((plain for key, plain in _PARTS.items() if key in part), part)
        level = "".join(re.findall(r"\[T\.(.*)\]$", part))
        parts.append(f"{factor} {level.lstrip('01') if factor == 'phase' else level}".strip())
    return " × ".join(parts)
