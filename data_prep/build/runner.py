"""Apache Beam, and its local runner on all cores, without their log output.

Beam is imported without its warning about Google clients. It also must not detect a notebook:
there, Beam 2.77 imports its interactive runner to label steps by cell, which fails with pandas 3
(no `DataFrame.first`).
"""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

_disabled = logging.root.manager.disable  # the local runner's workers are silent already
logging.disable(logging.WARNING)
import apache_beam as beam  # noqa: E402
from apache_beam.utils import interactive_utils  # noqa: E402

logging.disable(_disabled)
interactive_utils.is_in_ipython = beam.pipeline.is_in_ipython = lambda: False

# The worker of Beam's multi_processing mode, but silent: the local runner's workers ignore
# `--default_sdk_harness_log_level`, and print and log errors that the caller gets anyway.
_WORKER = (
    "import logging; logging.disable(logging.ERROR); "
    "from apache_beam.runners.worker import sdk_worker; sdk_worker.print = lambda *_, **__: None; "
    "from apache_beam.runners.worker.sdk_worker_main import main; main([])"
)


def make_pipeline(options: Sequence[str], *, workers: int) -> Any:
    """Returns a Beam pipeline on the runner that `options` choose.

    Without options that is the local runner, with `workers` processes; 0: one per core.
    """
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    if options:
        return beam.Pipeline(options=PipelineOptions(list(options)))
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    count = workers or os.cpu_count() or 1
    if count == 1:
        return beam.Pipeline(runner=FnApiRunner())
    environment = SubprocessSDKEnvironment(command_string=f'"{sys.executable}" -c "{_WORKER}"')
    return beam.Pipeline(
        runner=FnApiRunner(default_environment=environment),
        options=PipelineOptions([f"--direct_num_workers={count}"]),
    )
