"""Imports Apache Beam without its warning of Google clients that nobody asked for."""

import logging

_disabled = logging.root.manager.disable  # the local runner's workers are silent already
logging.disable(logging.WARNING)
import apache_beam as beam  # noqa: E402

logging.disable(_disabled)

__all__ = ["beam"]
