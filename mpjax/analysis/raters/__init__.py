"""How well do blinded human experts classify the same clips?"""

from mpjax.analysis.raters.files import Answers, Key, make_key, read_answers, read_key
from mpjax.analysis.raters.score import MODEL
from mpjax.analysis.raters.score import read as read_ratings
from mpjax.analysis.raters.score import score as score_raters

__all__ = [
    "MODEL",
    "Answers",
    "Key",
    "make_key",
    "read_answers",
    "read_key",
    "read_ratings",
    "score_raters",
]
