"""I3D on Kinetics-400: the projector that comes with the package."""

from mpjax.models.i3d.projector import load

__all__ = ["load"]
