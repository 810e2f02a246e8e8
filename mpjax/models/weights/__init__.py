"""How do public weights become parameters of ours: found, read without running code, converted?"""

from mpjax.models.weights.public import locate
from mpjax.models.weights.torch_reader import CheckpointError, read_checkpoint

__all__ = ["CheckpointError", "locate", "read_checkpoint"]
