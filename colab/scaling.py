# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # mpjax: scaling
#
# This notebook trains a Video Swin on clips over all devices of this machine, kills it without
# warning and resumes it. Then it compiles the steps ahead of time for a TPU slice, to check before
# you rent one whether they fit. Choose a TPU runtime (*Runtime > Change runtime type*); without
# one, the CPU acts as eight devices. On a pod, run the same commands on every host.

# %% tags=["parameters"]
import os

# URL or folder of mpjax's repository, if mpjax is not installed here.
REPOSITORY = ""  # @param {type:"string"}
WORKDIR = "out/scaling"  # @param {type:"string"}
TOPOLOGY = "v5e:2x2"  # @param {type:"string"}
# A toy network and a few clips, only to show that everything runs.
FAST = os.environ.get("MPJAX_FAST") == "1"

# %% [markdown]
# ## Install
#
# Does nothing if mpjax is installed already. Packages of the runtime are kept where mpjax can use
# them. If one that is loaded had to change, the cell stops and asks you to restart the session.

# %%
import importlib.metadata
import importlib.util
import pathlib
import shutil
import subprocess
import sys


def is_installed():
    """Returns whether mpjax can be imported; a folder of that name is not enough."""
    found = importlib.util.find_spec("mpjax")
    return found is not None and found.origin is not None


if not is_installed():
    source = pathlib.Path("mpjax-source")
    if not source.exists():
        if not REPOSITORY:
            raise SystemExit("set REPOSITORY in the cell above, or upload mpjax as mpjax-source")
        subprocess.run(["git", "clone", "--depth=1", REPOSITORY, str(source)], check=True)
    runtime = "jax"  # if it has to change, so has its part for the devices that are here
    if shutil.which("nvidia-smi"):
        runtime = "jax[cuda13]" if importlib.util.find_spec("jax_cuda13_plugin") else "jax[cuda12]"
    elif "TPU_ACCELERATOR_TYPE" in os.environ:
        runtime = "jax[tpu]"
    # %pip install --quiet "./{source}[prep]" "{runtime}"
    importlib.invalidate_caches()
    if not is_installed():
        raise SystemExit("mpjax was not installed; pip says why above")
    for name in ("numpy", "pandas", "jax"):
        loaded = sys.modules.get(name)
        if loaded and loaded.__version__ != importlib.metadata.version(name):
            raise SystemExit(f"{name} has a new version: Runtime > Restart session, then Run all")

# %% [markdown]
# ## Devices
#
# Only one process at a time can use a TPU, so this notebook leaves the devices to the processes
# that it starts. Compiled programs are cached, so a second run does not compile them again.

# %%
import json
import signal
import sys
import time

from mpjax import notebook

workdir = pathlib.Path(WORKDIR)
environment = os.environ | {
    "JAX_COMPILATION_CACHE_DIR": str(workdir.absolute() / "compiled"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    # Has an effect on CPUs only.
    "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
}
if not shutil.which("nvidia-smi") and "TPU_ACCELERATOR_TYPE" not in os.environ:
    environment["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_PLATFORMS"] = "cpu"  # for this notebook itself, which only reads results


def python(*arguments):
    """Runs Python with these arguments in another process; returns what it printed."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise notebook.Stop(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


code = "import jax; print(jax.device_count(), jax.devices()[0].device_kind)"
devices, kind = python("-c", code).strip().split(maxsplit=1)
devices = int(devices)
print(f"{devices} x {kind}")

# %% [markdown]
# ## Clips
#
# Synthetic mice that each show one behaviour, as TFRecord shards. The config is
# `configs/synthetic_behaviours.py`, with the changes in this cell.

# %%
from data_prep import build, cohort, synthetic

recipe = "synthetic_behaviours"
changes = {"mesh.model": 2 if devices % 2 == 0 else 1, "mesh.fully_sharded": True}
if FAST:
    changes |= {
        "synthetic.animals": 6,
        "synthetic.clips_per_behaviour": 1,
        "synthetic.seconds": 2.0,
        "synthetic.size": 64,
        "video.frames": 8,
        "video.stride": 8,
        "video.short_side": 32,
        "split.group": "animal",
        "build.workers": 1,
        "projector.size": 32,
        "projector.attention_impl": "xla",
        "projector.architecture.embed_dim": 32,
        "projector.architecture.depths": (1,),
        "projector.architecture.num_heads": (2,),
        "projector.architecture.patch": (2, 4, 4),
        "projector.architecture.window": (4, 4, 4),
        "train.epochs": 6.0,
        "train.save_every": 4,
        "train.eval_every": 12,
        "train.log_every": 1,
    }
config = notebook.load_config(recipe, changes)
csv = synthetic.generate(workdir / "cohort", config.synthetic, workers=1)
dataset = workdir / "unbroken" / "dataset"
build.build(
    cohort.read_cohort(csv, split=config.split),
    dataset,
    clip_config=config.video,
    config=config.build,
)
print(len(list(dataset.glob("*.tfrecord*"))), "shards in", dataset)

# %% [markdown]
# ## Train over all devices
#
# The mesh has two axes. The batch is split over `data`, attention heads and hidden units over
# `model`. Fully sharded, large parameters and their optimiser state are split over `data` too.
# Every mesh gives the same losses, up to rounding.

# %%
flags = [f"--config={recipe}", *notebook.as_flags(changes)]
print(python("-m", "mpjax.train", *flags, f"--workdir={workdir / 'unbroken'}"))


def read_log(name):
    """Returns the lines of the metric log of a run."""
    text = (workdir / name / "train" / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


log = read_log("unbroken")

# %%
import matplotlib.pyplot as plt

figure, axis = plt.subplots(figsize=(6, 2.5), layout="constrained")
for split in ("train", "val"):
    rows = [row for row in log if row["split"] == split]
    axis.plot([row["step"] for row in rows], [row["loss"] for row in rows], "o-", ms=3, label=split)
axis.set(xlabel="step", ylabel="cross-entropy")
axis.legend()
plt.show()
# %% [markdown]
# How the parameters are laid out:

# %%
from mpjax.training import checkpoint_manager, partitioning

last = max(row["step"] for row in log)
learned = checkpoint_manager.restore_params(workdir / "unbroken" / "train" / "checkpoints", last)
axes = {"data": devices // config.mesh.model, "model": config.mesh.model}
partitioning.layout_table(learned, axes, fully_sharded=config.mesh.fully_sharded).head(12)

# %% [markdown]
# ## Killed, and resumed
#
# The same run in another folder is ended by SIGKILL, which no process can catch, as soon as its
# first checkpoint is written. Then the same command runs again.

# %%
killed = workdir / "killed"
shutil.rmtree(killed, ignore_errors=True)
shutil.copytree(dataset, killed / "dataset")
command = [sys.executable, "-m", "mpjax.train", *flags, f"--workdir={killed}"]
first = killed / "train" / "checkpoints" / str(config.train.save_every)
process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
while process.poll() is None and not first.exists():
    time.sleep(0.02)
process.send_signal(signal.SIGKILL)
print("ended with", process.wait())
saved = sorted(int(path.name) for path in first.parent.iterdir() if path.name.isdigit())
print("checkpoints of step", saved, "of", last)

# %%
print(python("-m", "mpjax.train", *flags, f"--workdir={killed}"))

# %% [markdown]
# Both runs end with the same parameters and the same metric log, bit for bit:

# %%
import jax
import numpy as np

resumed = checkpoint_manager.restore_params(killed / "train" / "checkpoints", last)
same = jax.tree.map(np.array_equal, learned, resumed)
print("parameters:", f"{sum(jax.tree.leaves(same))} of {len(jax.tree.leaves(same))} arrays equal")
print("metric log:", "equal" if read_log("killed") == log else "DIFFERS", f"({len(log)} lines)")
assert all(jax.tree.leaves(same))
assert read_log("killed") == log

# %% [markdown]
# ## A pod, ahead of time
#
# `mpjax.aot` compiles the real steps of training, evaluation and embedding for a TPU slice without
# having one (it only needs libtpu). It prints, per chip: memory, FLOPs, memory traffic, collective
# operations and the resulting bounds. It exits with 1 if a step does not fit. A large network takes
# long: Swin-B with the shapes of Kinetics (`configs/swin_b.py`) takes about 10 minutes of one core
# per program. For this toy network all figures are tiny.

# %%
if importlib.util.find_spec("libtpu"):
    step = "embed" if FAST else "train"
    print(python("-m", "mpjax.aot", *flags, f"--topology={TOPOLOGY}", f"--programs={step}"))
else:
    print("libtpu is not installed: run  %pip install 'mpjax[aot]'")
