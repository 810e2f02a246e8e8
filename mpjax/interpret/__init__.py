"""Which pixels and moments of a clip decided a prediction, and what does a motif look like?"""

from mpjax.interpret.explain_clips import explain
from mpjax.interpret.motif_exemplars import make as make_gallery
from mpjax.interpret.motif_exemplars import read as read_gallery

__all__ = ["explain", "make_gallery", "read_gallery"]
