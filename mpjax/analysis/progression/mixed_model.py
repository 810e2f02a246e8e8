"""The mixed model of the course of pain: score ~ condition * day + sex + (1|cage/animal).

Day is categorical. A study films a few chosen days and asks on which day pain begins; a spline
through them would transfer the excess of later days to earlier ones, and pain that peaks at once
and fades has no shape that few knots can follow.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mpjax.analysis.stats import mixed_model
from mpjax.analysis.stats.estimates import NotEstimableError, absent
from mpjax.analysis.stats.mixed_model import MixedModel
from mpjax.analysis.stats.t_test import t_interval


def fit_course(sessions: pd.DataFrame, *, reference: str) -> dict[str, Any]:
    """Fits the scores of all conditions on the days that all of them were recorded, by REML.

    Animals are random intercepts, within random cages where every animal has one and cages hold
    several. Terms that vary within an animal (those with the day) have as many degrees of freedom
    as there are animals minus the conditions. That is fewer than containment would give, as scores
    of near days may resemble each other more than those of far ones. The others have as many as
    there are cages (animals) minus the conditions and all but one of the sexes. The other
    conditions are compared with `reference`.

    Returns:
        {"formula", "method", "days", "left_out_days", "n": {"animals", "sessions", "cages"}, "sd",
        "terms": [{"term", "value", "se", "ci95", "p", "df"}], "tests": [{"term", "f", "df", "p"}],
        "means": [{"condition", "day", "value", "ci95", "n"}], both sexes weighted equally}, or why
        there is none.

    Source: means: Searle, Speed & Milliken (1980), doi:10.1080/00031305.1980.10483031.
    """
    recorded = sessions.groupby("day")["condition"].nunique()
    common = recorded[recorded == sessions["condition"].nunique()].index
    rows = sessions[sessions["day"].isin(common)].reset_index(drop=True)
    conditions = sorted(set(rows["condition"]), key=lambda name: (name != reference, name))
    if len(conditions) < 2 or len(common) < 2:
        return absent(
            "at least 2 conditions recorded on 2 common days are needed; there are "
            f"{len(conditions)} condition(s) on {len(common)} such day(s)"
        )
    if np.isclose(np.ptp(rows["score"]), 0):
        return absent("all scores are alike, so there is nothing to fit")
    sexes = [] if (rows["sex"] == "").any() else sorted(set(rows["sex"]))
    groups = mixed_model.outer_group(rows)
    within = rows["animal"].nunique() - len(conditions)
    between = rows[groups].nunique() - len(conditions) - max(0, len(sexes) - 1)
    if min(within, between) < 1:
        return absent(f"too few {groups}s for the mixed model: no degree of freedom is left")
    rows["condition"] = rows["condition"].map(conditions.index)  # names may hold anything
    rows["sex"] = rows["sex"].map(sexes.index) if sexes else 0
    sexed = len(sexes) > 1
    try:
        model = mixed_model.fit("score ~ C(condition) * C(day)" + " + C(sex)" * sexed, rows)
    except NotEstimableError as error:
        return absent(str(error))
    named = {"condition": conditions, "sex": sexes}

    def plain(name: str) -> str:
        levels = [f"{k} {named[k][i] if k in named else i}" for k, i in _parse(name).items()]
        return " × ".join(levels) or "Intercept"

    formula = "score ~ condition * day (categorical)" + " + sex" * sexed
    return {
        **model.describe(formula, plain, lambda name: within if "C(day)" in name else between),
        "method": "REML; t and F tests, degrees of freedom by animals (with the day) or units",
        "days": common.tolist(),
        "left_out_days": sorted(set(sessions["day"].tolist()) - set(common)),
        "tests": [
            _test(model, "condition, on any day", {"condition"}, min(within, between)),
            _test(model, "condition × day", {"condition", "day"}, within),
        ],
        "means": _means(model, conditions, sexes=max(1, len(sexes)), df=between),
    }


def _parse(name: str) -> dict[str, int]:
    """Splits patsy's name of a term into its factors and their levels; the intercept has none."""
    return {key: int(level) for key, level in re.findall(r"C\((\w+)\)\[T\.(-?\d+)\]", name)}


def _test(model: MixedModel, name: str, factors: set[str], df: int) -> dict[str, Any]:
    """Tests by F whether any of the terms with these factors differs from 0."""
    terms = enumerate(model.fitted.fe_params.index)
    columns = [i for i, term in terms if factors <= set(_parse(term))]
    part, values = model.covariance[np.ix_(columns, columns)], model.values[columns]
    f = float(values @ np.linalg.solve(part, values)) / len(columns)
    p = float(stats.f.sf(f, len(columns), df))
    return {"term": name, "f": f, "df": [len(columns), int(df)], "p": p}


def _means(
    model: MixedModel, conditions: Sequence[str], *, sexes: int, df: int
) -> list[dict[str, Any]]:
    """Estimates the mean of each condition and day, both sexes weighted equally."""
    found = []
    for (code, day), members in model.rows.groupby(["condition", "day"]):
        line = np.array(model.fitted.model.exog[members.index[0]])
        line[["C(sex)" in term for term in model.fitted.fe_params.index]] = 1 / sexes
        value, se = float(line @ model.values), np.sqrt(line @ model.covariance @ line)
        row = {"condition": conditions[code], "day": int(day), "value": value}
        found.append(row | {"ci95": t_interval(value, se, df), "n": members["animal"].nunique()})
    return found
