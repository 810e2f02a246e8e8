"""Runs the pipeline on a runner of Apache Beam, such as Dataflow, Flink or Spark.

Beam is imported without its warning about Google clients. It also must not detect a notebook:
there, Beam 2.77 imports its interactive runner to label steps by cell, which fails with pandas 3
(no `DataFrame.first`).
"""

import logging
import re
from collections.abc import Sequence

from etils import epath

from data_prep.build.pipeline import decode, gather
from mpjax.config import VideoConfig
from mpjax.data.video import Recording

_disabled = logging.root.manager.disable
logging.disable(logging.WARNING)
import apache_beam as beam  # noqa: E402
from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402
from apache_beam.utils import interactive_utils  # noqa: E402

logging.disable(_disabled)
interactive_utils.is_in_ipython = beam.pipeline.is_in_ipython = lambda: False

# The last line of a worker's traceback, if the error is the system's, not the code's.
_OS_ERROR = re.compile(
    r"\b(?:OS|Permission|FileNotFound|FileExists|IsADirectory|NotADirectory|Timeout|Connection\w*)"
    r"Error: (.+) \[while running"
)


def run(
    recordings: list[Recording],
    directory: epath.Path,
    config: VideoConfig,
    *,
    options: Sequence[str],
) -> None:
    """As `pipeline.run`, by Beam's `options`; all workers must reach `directory`.

    Raises:
        OSError: a file cannot be written.
    """
    shards = sorted({shard for recording in recordings for shard in recording.shards})
    try:
        with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
            clips = (
                pipeline
                | "Recordings" >> beam.Create(recordings)
                | "Spread" >> beam.Reshuffle()
                | "Decode" >> beam.FlatMap(decode, str(directory), config)
            )
            seeds = pipeline | "Shards" >> beam.Create([(shard, None) for shard in shards])
            written = (clips, seeds) | beam.Flatten() | beam.GroupByKey()
            _ = written | "Write" >> beam.Map(gather, str(directory))
    except (OSError, RuntimeError) as error:  # a worker's, unchanged or as text
        text = str(error)
        causes = [text] if isinstance(error, OSError) else _OS_ERROR.findall(text)
        if not causes:
            raise
        raise OSError(causes[-1].split(" [while running")[0]) from error
