"""Video Swin, the projector of the paper: network, attention and its faster forms, checkpoints."""

from mpjax.models.swin.config import ATTENTION_IMPLS, SwinConfig
from mpjax.models.swin.network import VideoSwin, init_params
from mpjax.models.swin.projector import config_of, load, make_projector, plain_form

__all__ = [
    "ATTENTION_IMPLS",
    "SwinConfig",
    "VideoSwin",
    "config_of",
    "init_params",
    "load",
    "make_projector",
    "plain_form",
]
