"""Imports Apache Beam without its warning of Google clients that nobody asked for."""

import logging

logging.disable(logging.WARNING)
import apache_beam as beam  # noqa: E402

logging.disable(logging.NOTSET)

__all__ = ["beam"]
