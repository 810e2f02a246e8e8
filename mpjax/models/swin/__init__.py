"""Which projector does the paper use? Video Swin: network, faster attention, checkpoints."""

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
