"""Predicts a TPU pod's run, without one: `python -m mpjax.aot --config=… --topology=v5e:16x16`.

Compiles the steps of training, evaluation and embedding for a TPU topology by libtpu
(`pip install 'mpjax[aot]'`) and prints, per chip: memory, FLOPs, collective operations, and the
limits that they set to time and MFU. Each program takes minutes. The exit status is 1 where one
does not fit.
"""

import json
import os

from absl import flags
from etils import epath

from mpjax import cli
from mpjax.config import StudyConfig


def main(config: StudyConfig) -> int:
    """Reports on the programs, one after the other, and writes the figures."""
    os.environ["JAX_PLATFORMS"] = "cpu"  # read when JAX is imported; no TPU is needed
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # nor a metadata server
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # several may compile at once
    from mpjax.profiling import aot

    values, reports = flags.FLAGS, []
    topology = values.topology
    for name in aot.choose_programs(config, values.programs):
        print(f"compiling {name} for {topology} …", flush=True)
        try:
            report = aot.report(name, config, topology)
        except aot.DoesNotFit as error:
            print(f"{name}, {topology}: DOES NOT FIT: {error}", flush=True)
            failed = {"program": name, "topology": topology, "fits": False, "why": str(error)}
            reports.append(failed)
            continue
        print(report, flush=True)
        reports.append(report.to_json())
    if values.json:
        epath.Path(values.json).write_text(json.dumps(reports, indent=1))
    return 0 if all(report["fits"] for report in reports) else 1


if __name__ == "__main__":
    flags.DEFINE_string("topology", None, "TPU slice, e.g. v5e:4x4.", required=True)
    flags.DEFINE_list("programs", [], "train, eval or embed; default: all of them.")
    flags.DEFINE_string("json", None, "File for the figures.")
    cli.start(main)
