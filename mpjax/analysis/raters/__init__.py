"""How well do blinded human experts classify the same clips?"""

from mpjax.analysis.raters import files, score

__all__ = ["files", "score"]
