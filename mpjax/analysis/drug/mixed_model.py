"""The mixed model of a drug trial: score ~ arm * time * pain type + sex + (1|cage/animal)."""

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from mpjax.analysis.stats.estimates import ALPHA, absent

_PARTS = {"C(arm": "arm", "C(phase": "phase", "C(coarse": "pain type", "sex": "sex"}


def fit_mixed_model(sessions: pd.DataFrame, *, vehicle: str, reference: str) -> dict[str, Any]:
    """Fits the sessions before the dose, and the means of those after it, by REML.

    Animals are random intercepts, within random cages where every animal has one and cages hold
    several. Terms that vary within an animal (those with the phase) have as many degrees of
    freedom as there are animals less the cells of arm and pain type; the others as there are
    cages (animals) less these cells (containment).

    Args:
        sessions: of `drug_sessions.score_sessions`.
        vehicle: the arm that others are compared with.
        reference: the pain type (coarse group) that others are compared with.

    Returns:
        {"formula", "terms": [{"term", "value", "se", "ci95", "p"}], "n": {"animals", "sessions",
        "cages"}, "method", "sd": {"animal", "residual", "cage"}}, or why there is none.

    Source: Laird & Ware (1982), doi:10.2307/2529876; statsmodels' MixedLM.
    """
    rows = sessions[sessions["phase"].isin(["pre", "post"])]
    # Several sessions after the dose are no replicates of an animal's answer to it.
    keep = ["animal", "cage", "sex", "coarse", "arm", "phase"]
    rows = rows.groupby(keep, as_index=False)["score"].mean()
    rows["phase"] = rows["phase"].map({"pre": "0pre", "post": "1post"})
    if rows.empty or np.isclose(np.ptp(rows["score"]), 0):
        return absent("all sessions score alike, so there is nothing to fit")
    types, sexes = rows["coarse"].nunique(), rows["sex"].nunique()
    sexes = 1 if (rows["sex"] == "").any() else sexes  # where some are not known
    nested = bool((rows["cage"] != "").all()) and rows["cage"].nunique() < rows["animal"].nunique()
    factors = [f"C(arm, Treatment({vehicle!r}))", "C(phase)"]
    if types > 1:
        factors.append(f"C(coarse, Treatment({reference!r}))")
    formula = "score ~ " + " * ".join(factors) + (" + C(sex)" if sexes > 1 else "")
    random = {"animal": "0 + C(animal)"} if nested else None
    groups = "cage" if nested else "animal"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            # A variance at its bound, 0, is found on the way and is no fault.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            model = smf.mixedlm(formula, rows, groups=groups, re_formula="1", vc_formula=random)
            fitted = model.fit(reml=True, method=["lbfgs", "powell"])
    except (np.linalg.LinAlgError, ConvergenceWarning, ValueError, ZeroDivisionError) as error:
        return absent(f"the mixed model could not be fitted ({str(error).splitlines()[0]})")
    if not fitted.converged or not np.isfinite(fitted.bse_fe).all():
        return absent("the mixed model's fit did not converge")
    cells = rows.groupby("animal")[["arm", "coarse"]].first().drop_duplicates().shape[0]
    df_within = rows["animal"].nunique() - cells
    df_between = rows[groups].nunique() - cells - (sexes > 1)
    if min(df_within, df_between) < 1:
        return absent("too few animals for the mixed model: no degree of freedom is left")
    spread = {"residual": float(np.sqrt(fitted.scale))}
    spread[groups] = float(np.sqrt(np.asarray(fitted.cov_re)[0, 0]))
    if nested:
        spread["animal"] = float(np.sqrt(fitted.vcomp[0]))
    return {
        "formula": "score ~ arm * phase"
        + (" * pain type" if types > 1 else "")
        + (" + sex" if sexes > 1 else "")
        + (" + (1|cage/animal)" if nested else " + (1|animal)"),
        "method": "REML; t tests with containment degrees of freedom",
        "n": {
            "animals": rows["animal"].nunique(),
            "sessions": len(rows),
            "cages": rows["cage"].nunique() if nested else 0,
        },
        "sd": spread,
        "terms": [
            _term(name, value, se, df_within if "phase" in name else df_between)
            for name, value, se in zip(
                fitted.fe_params.index, fitted.fe_params, fitted.bse_fe, strict=True
            )
        ],
    }


def _term(name: str, value: float, se: float, df: int) -> dict[str, Any]:
    half = stats.t.isf(ALPHA / 2, df) * se
    return {
        "term": _plain(name),
        "value": float(value),
        "se": float(se),
        "ci95": [float(value - half), float(value + half)],
        "p": float(2 * stats.t.sf(abs(value) / se, df)),
        "df": int(df),
    }


def _plain(name: str) -> str:
    """Turns patsy's name of a term into `arm gabapentin 100 mg/kg × phase post`."""
    parts = []
    for part in name.split(":"):
        level = re.search(r"\[T\.(.*)\]$", part)
        factor = next((plain for key, plain in _PARTS.items() if key in part), part)
        shown = (
            level[1].removeprefix("0").removeprefix("1") if level and factor == "phase" else None
        )
        parts.append(f"{factor} {shown or (level[1] if level else '')}".strip())
    return " × ".join(parts)
