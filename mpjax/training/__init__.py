"""How is a head, an adapter or a whole projector trained on clips, on any number of devices?"""

from mpjax.training.artifacts import CheckpointError
from mpjax.training.checkpoint_manager import Checkpoints, restore_params
from mpjax.training.loop import Stopped
from mpjax.training.partitioning import make_mesh, start_hosts

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "Stopped",
    "make_mesh",
    "restore_params",
    "start_hosts",
]
