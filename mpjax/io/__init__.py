"""How are files read and written, completely or not at all, on disks and in object stores?"""

from mpjax.io import files, stores

__all__ = ["files", "stores"]
