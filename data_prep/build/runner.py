"""Beam's local runner on all cores, without its log output."""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from data_prep.build._beam import beam

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
