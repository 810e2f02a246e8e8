"""Video Swin: the projector of the paper."""

from mpjax.models.swin.network import FORMS, load

__all__ = ["FORMS", "load"]
