"""Fits a linear mixed model with random animals, within random cages where cages hold several.

Source: Laird & Ware (1982), doi:10.2307/2529876; statsmodels' MixedLM.
"""

import dataclasses
import warnings
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

    @property
    def names(self) -> list[str]:
        """The fixed terms, as patsy names them."""
        return list(self.fitted.fe_params.index)

    @property
    def values(self) -> Float[np.ndarray, " terms"]:
        """The fixed effects."""
        return np.asarray(self.fitted.fe_params)

    @property
    def covariance(self) -> Float[np.ndarray, "terms terms"]:
        """Of the fixed effects."""
        count = len(self.fitted.fe_params)
        return np.asarray(self.fitted.cov_params())[:count, :count]

    def test_term(self, name: str, index: int, df: int) -> dict[str, Any]:
        """Returns {"term", "value", "se", "ci95", "p", "df"} of a fixed effect by its t test."""
        se = float(np.sqrt(self.covariance[index, index]))
        test = t_test(float(self.values[index]), se, df)
        return {"term": name, "se": se, "df": int(df)} | test

    def describe(self) -> dict[str, Any]:
        """Returns the rows behind the fit and the spread that it found: {"n", "sd"}."""
        caged = self.groups == "cage"
        spread = {"residual": float(np.sqrt(self.fitted.scale))}
        spread[self.groups] = float(np.sqrt(np.asarray(self.fitted.cov_re)[0, 0]))
        if caged:
            spread["animal"] = float(np.sqrt(self.fitted.vcomp[0]))
        n = {"animals": self.rows["animal"].nunique(), "sessions": len(self.rows)}
        return {"n": n | {"cages": self.rows["cage"].nunique() if caged else 0}, "sd": spread}

    @property
    def random(self) -> str:
        """The random part of the formula."""
        return " + (1|cage/animal)" if self.groups == "cage" else " + (1|animal)"


def outer_group(rows: pd.DataFrame) -> str:
    """Returns `cage` where every animal has one and cages hold several animals; else `animal`."""
    caged = bool((rows["cage"] != "").all()) and rows["cage"].nunique() < rows["animal"].nunique()
    return "cage" if caged else "animal"


def fit(formula: str, rows: pd.DataFrame) -> MixedModel:
    """Fits a formula by REML, animals being random intercepts.

    Args:
        formula: of the fixed part, in patsy's notation.
        rows: with `animal`, `cage` ("": not known) and the columns of the formula.

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
    return MixedModel(fitted, rows, groups)
