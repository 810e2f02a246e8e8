"""Which class does an embedding belong to? Linear heads on frozen embeddings."""

from mpjax.heads.leakage import read as read_leakage
from mpjax.heads.probe import fine_heads, predict_by_every_head
from mpjax.heads.probe import predict as predict_clips
from mpjax.heads.probe import train as train_heads
from mpjax.heads.sweep import run as run_sweep

__all__ = [
    "fine_heads",
    "predict_by_every_head",
    "predict_clips",
    "read_leakage",
    "run_sweep",
    "train_heads",
]
