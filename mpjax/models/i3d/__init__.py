"""Which projector comes with the package? I3D, with its Kinetics-400 weights."""

from mpjax.models.i3d.projector import load

__all__ = ["load"]
