"""The mixed model of the course of pain: score ~ condition * day + sex + (1|cage/animal).

Day is categorical. A study films a few chosen days, and asks for the day on which pain begins; a
spline through them would lend the excess of later days to earlier ones, and pain that peaks at once
and fades has no shape that few knots follow.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mpjax.analysis.stats import mixed_model
from mpjax.analysis.stats.estimates import ALPHA, NotEstimableError, absent
from mpjax.analysis.stats.mixed_model import MixedModel

Term = dict[str, str]  # level (a number, as text) by factor
Names = Mapping[str, Sequence[str] | None]  # of a factor's levels; None: the number itself


@dataclasses.dataclass(frozen=True)
class Freedom:
    """Degrees of freedom of terms that vary within animals, and of those that do not."""

    within: int
    between: int

    def of(self, term: Term) -> int:
        """Returns those of a term."""
        return self.within if "day" in term else self.between


def fit_course(sessions: pd.DataFrame, *, reference: str) -> dict[str, Any]:
    """Fits the scores of all conditions on the days that all of them were recorded, by REML.

    Animals are random intercepts, within random cages where every animal has one and cages hold
    several. Terms that vary within an animal (those with the day) have as many degrees of freedom
    as there are animals less the conditions: fewer than containment gives them, as scores of near
    days may resemble each other more than those of far ones. The others have as many as there are
    cages (animals) less the conditions and the sexes but one.

    Args:
        sessions: of `trajectories.score_days`.
        reference: the condition that others are compared with.

    Returns:
        {"formula", "method", "days", "left_out_days", "n": {"animals", "sessions", "cages"}, "sd",
        "terms": [{"term", "value", "se", "ci95", "p", "df"}], "tests": [{"term", "f", "df", "p"}],
        "means": [{"condition", "day", "value", "ci95", "n"}], both sexes counted alike}, or why
        there is none.

    Source: Laird & Ware (1982), doi:10.2307/2529876; statsmodels' MixedLM; means: Searle, Speed &
        Milliken (1980), doi:10.1080/00031305.1980.10483031.
    """
    days = _common_days(sessions)
    rows = sessions[sessions["day"].isin(days)].reset_index(drop=True)
    conditions = sorted(set(rows["condition"]), key=lambda name: (name != reference, name))
    if len(conditions) < 2 or len(days) < 2:
        return absent(
            f"it takes 2 conditions recorded on 2 days in common; there are {len(conditions)} "
            f"condition(s) on {len(days)} such day(s)"
        )
    if np.isclose(np.ptp(rows["score"]), 0):
        return absent("all scores are alike, so there is nothing to fit")
    sexes = [] if (rows["sex"] == "").any() else sorted(set(rows["sex"]))
    groups = mixed_model.outer_group(rows)
    df = Freedom(
        within=rows["animal"].nunique() - len(conditions),
        between=rows[groups].nunique() - len(conditions) - max(0, len(sexes) - 1),
    )
    if min(df.within, df.between) < 1:
        return absent(f"too few {groups}s for the mixed model: no degree of freedom is left")
    rows["condition"] = rows["condition"].map(conditions.index)  # names may hold anything
    rows["sex"] = rows["sex"].map(sexes.index) if sexes else 0
    formula = "score ~ C(condition) * C(day)" + (" + C(sex)" if len(sexes) > 1 else "")
    try:
        model = mixed_model.fit(formula, rows)
    except NotEstimableError as error:
        return absent(str(error))
    names: Names = {"condition": conditions, "sex": sexes, "day": None}
    terms = [_parse(name) for name in model.names]
    return {
        "formula": "score ~ condition * day (categorical)"
        + (" + sex" if len(sexes) > 1 else "")
        + model.random,
        "method": "REML; t and F tests, degrees of freedom by animals (with the day) or units",
        "days": days,
        "left_out_days": sorted({int(day) for day in sessions["day"]} - set(days)),
        **model.describe(),
        "terms": [
            model.test_term(_plain(term, names), i, df.of(term)) for i, term in enumerate(terms)
        ],
        "tests": _test(model, terms, df),
        "means": _means(model, terms, names=names, df=df.between),
    }


def _common_days(sessions: pd.DataFrame) -> list[int]:
    """Returns the days on which every condition was recorded."""
    conditions = sessions.groupby("day")["condition"].nunique()
    return [int(day) for day in conditions.index[conditions == sessions["condition"].nunique()]]


def _parse(name: str) -> Term:
    """Turns patsy's name of a term into its factors and their levels; the intercept has none."""
    return dict(re.findall(r"C\((\w+)\)\[T\.(-?\d+)\]", name))


def _plain(term: Term, names: Names) -> str:
    """Returns a term as `condition sni × day 7`."""
    parts = [
        f"{factor} {level if (known := names[factor]) is None else known[int(level)]}"
        for factor, level in term.items()
    ]
    return " × ".join(parts) or "Intercept"


def _test(model: MixedModel, terms: Sequence[Term], freedom: Freedom) -> list[dict[str, Any]]:
    """Tests by F whether conditions differ on any day, and whether their courses do."""
    values, covariance = model.values, model.covariance
    conditions = [i for i, term in enumerate(terms) if "condition" in term]
    families = {
        "condition, on any day": (conditions, min(freedom.within, freedom.between)),
        "condition × day": ([i for i in conditions if "day" in terms[i]], freedom.within),
    }
    rows = []
    for name, (columns, df) in families.items():
        part = covariance[np.ix_(columns, columns)]
        f = float(values[columns] @ np.linalg.solve(part, values[columns])) / len(columns)
        p = float(stats.f.sf(f, len(columns), df))
        rows.append({"term": name, "f": f, "df": [len(columns), int(df)], "p": p})
    return rows


def _means(
    model: MixedModel, terms: Sequence[Term], *, names: Names, df: int
) -> list[dict[str, Any]]:
    """Estimates the mean of each condition and day, both sexes counted alike."""
    values, covariance, rows = model.values, model.covariance, model.rows
    conditions, sexes = names["condition"] or [], names["sex"] or []
    sexed = ["sex" in term for term in terms]
    found = []
    for (code, day), members in rows.groupby(["condition", "day"]).groups.items():
        line = np.array(model.fitted.model.exog[members[0]])
        line[sexed] = 1 / max(1, len(sexes))
        value, half = line @ values, stats.t.isf(ALPHA / 2, df)
        half *= np.sqrt(line @ covariance @ line)
        found.append(
            {"condition": conditions[code], "day": int(day), "value": float(value),
             "ci95": [float(value - half), float(value + half)],
             "n": rows["animal"][members].nunique()}
        )  # fmt: skip
    return found
