"""The pain score of a clip, and its mean over an animal's recordings."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import logit

from mpjax.taxonomy import NO_PAIN, Taxonomy

# A clip's probability is kept this far from 0 and 1, so that one clip cannot outweigh a session:
# at 1e-4 the logit is 9.2, some three times what calibrated heads give.
MARGIN = 1e-4


def why_no_pain_score(taxonomy: Taxonomy) -> str | None:
    """Says why these classes give no probability of pain; None where they do."""
    if not taxonomy.coarse:
        return "a label cohort has no conditions, so no probability of pain"
    if NO_PAIN not in taxonomy.coarse:
        return f"no coarse class is called {NO_PAIN!r}; there are {', '.join(taxonomy.coarse)}"
    return None


def pain_probability(taxonomy: Taxonomy, p: Float[np.ndarray, "n fine"]) -> Float[np.ndarray, " n"]:
    """Returns the predicted probability of any pain: 1 - p(no_pain); see `why_no_pain_score`."""
    return 1 - taxonomy.coarse_probabilities(p)[:, taxonomy.coarse.index(NO_PAIN)]


def pain_score(taxonomy: Taxonomy, p: Float[np.ndarray, "n fine"]) -> Float[np.ndarray, " n"]:
    """Returns the pain score of each clip: the logit of its calibrated probability of any pain."""
    return logit(np.clip(pain_probability(taxonomy, p), MARGIN, 1 - MARGIN))


def average_by_animal(rows: pd.DataFrame, value: str, *, by: list[str]) -> pd.DataFrame:
    """Averages the column `value` over the clips of a recording, then over an animal's recordings.

    There is a row per animal and `by`, which distinguishes an animal's sessions, sorted by them.
    """
    recordings = rows.groupby([*by, "animal", "video"], as_index=False)[value].mean()
    return recordings.groupby([*by, "animal"], as_index=False)[value].mean()
