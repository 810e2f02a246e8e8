"""Imports Apache Beam without its warning about Google clients.

It also must not detect a notebook: there, Beam 2.77 imports its interactive runner to label steps
by cell, which fails with pandas 3 (no `DataFrame.first`).
"""

import logging

_disabled = logging.root.manager.disable  # the local runner's workers are silent already
logging.disable(logging.WARNING)
import apache_beam as beam  # noqa: E402
from apache_beam.utils import interactive_utils  # noqa: E402

logging.disable(_disabled)
interactive_utils.is_in_ipython = beam.pipeline.is_in_ipython = lambda: False

__all__ = ["beam"]
