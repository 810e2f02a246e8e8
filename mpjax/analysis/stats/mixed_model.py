"""Fits a linear mixed model with random animals, within random cages where cages hold several.

Source: Laird & Ware (1982), doi:10.2307/2529876; statsmodels' MixedLM.
"""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from jaxtyping import Float
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from mpjax.analysis.stats.estimates import NotEstimableError
from mpjax.analysis.stats.t_test import t_test

_FAILURES = (np.linalg.LinAlgError, ConvergenceWarning, ValueError, ZeroDivisionError)


@dataclasses.dataclass(frozen=True)
class MixedModel:
    """A fitted model."""

    fitted: Any  # statsmodels' results
    rows: pd.DataFrame
    groups: str  # the outer random effect, `cage` or `animal`
    values: Float[np.ndarray, " terms"]  # the fixed effects
    covariance: Float[np.ndarray, "terms terms"]  # of the fixed effects

    def describe(
        self, formula: str, term: Callable[[str], str], df: Callable[[str], int]
    ) -> dict[str, Any]:
        """Describes the fit: {"formula", "n", "sd", "terms"}, a t test of each fixed effect.

        Args:
            formula: of the fixed part.
            term, df: a fixed effect's name, and its degrees of freedom, by patsy's name.
        """
        caged = self.groups == "cage"
        spread = {"residual": float(np.sqrt(self.fitted.scale))}
        spread[self.groups] = float(np.sqrt(np.asarray(self.fitted.cov_re)[0, 0]))
        if caged:
            spread["animal"] = float(np.sqrt(self.fitted.vcomp[0]))
        n = {"animals": self.rows["animal"].nunique(), "sessions": len(self.rows)}
        ses = np.sqrt(np.diag(self.covariance)).tolist()
        return {
            "formula": formula + (" + (1|cage/animal)" if caged else " + (1|animal)"),
            "n": n | {"cages": self.rows["cage"].nunique() if caged else 0},
            "sd": spread,
            "terms": [
                {"term": term(name), "se": se, "df": int(df(name))} | t_test(value, se, df(name))
                for (name, value), se in zip(self.fitted.fe_params.items(), ses, strict=True)
            ],
        }


def outer_group(rows: pd.DataFrame) -> str:
    """Returns `cage` where every animal has one and cages hold several animals; else `animal`."""
    caged = bool((rows["cage"] != "").all()) and rows["cage"].nunique() < rows["animal"].nunique()
    return "cage" if caged else "animal"


def fit(formula: str, rows: pd.DataFrame) -> MixedModel:
    """Fits a formula by REML, animals being random intercepts.

    `formula` is the fixed part, in patsy's notation; `rows` has its columns, `animal` and `cage`
    ("": not known).

    Raises:
        NotEstimableError: the rows do not determine the model, or the fit fails.
    """
    groups = outer_group(rows)
    random = {"animal": "0 + C(animal)"} if groups == "cage" else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            # A variance at its bound, 0, is found on the way and is no fault.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            model = smf.mixedlm(formula, rows, groups=groups, re_formula="1", vc_formula=random)
            rank, terms = np.linalg.matrix_rank(model.exog), model.exog.shape[1]
            if rank == terms:
                fitted = model.fit(reml=True, method=["lbfgs", "powell"])
    except _FAILURES as error:
        reason = str(error).splitlines()[0]
        raise NotEstimableError(f"the mixed model could not be fitted ({reason})") from error
    if rank < terms:
        raise NotEstimableError(
            f"the mixed model is not determined: {terms} terms, but only {rank} that differ (are "
            "two factors the same animals, such as sex and condition?)"
        )
    if not fitted.converged or not np.isfinite(fitted.bse_fe).all():
        raise NotEstimableError("the mixed model's fit did not converge")
    covariance = np.asarray(fitted.cov_params())[:terms, :terms]
    return MixedModel(fitted, rows, groups, np.asarray(fitted.fe_params), covariance)
