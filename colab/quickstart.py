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
# # mpjax: quickstart
#
# A whole study on synthetic mice, where the truth is known. A video network trained on human
# actions (Kinetics) maps clips to embeddings. A linear classifier on them (the head) learns
# condition and day from some animals and is tested on others. It then scores recordings under a
# drug, on which it was never trained. The result is a report, as for a study of your own videos
# (`your_videos.ipynb`).
#
# Choose *Runtime > Run all.* It takes less than 10 minutes on a CPU, GPU or TPU runtime.

# %% tags=["parameters"]
import os

# URL or folder of mpjax's repository, if mpjax is not installed here.
REPOSITORY = ""  # @param {type:"string"}
WORKDIR = "out/demo"  # @param {type:"string"}
# Tiny settings, only to show that everything runs.
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
# ## Study
#
# Six stages: generate the cohort, cut its videos into clips, embed the clips, train the heads,
# explain their predictions, write the report. Finished stages are skipped, so run this cell again
# after an interruption.

# %%
from mpjax import notebook

if FAST:
    print("Tiny settings: a narrow network of random weights, so the scores mean nothing.")
config = notebook.load_config("tiny" if FAST else "demo")
study = notebook.run_study(config, WORKDIR)

# %% [markdown]
# ## Results
#
# All numbers of the report are in `metrics.json`. They are for animals that the head was not
# trained on. Intervals resample animals (cages), never clips. The last row is the interaction: it
# is negative if the drug relieves neuropathic pain more than inflammatory pain.

# %%
metrics = study.metrics.to_dict()
notebook.key_figures(metrics)

# %% [markdown]
# The truth: gabapentin removes 80 % of neuropathic and 25 % of inflammatory pain, and slows every
# animal by a tenth. What the study found:

# %%
for sentence in metrics["drug"]["summary"]:
    print("-", sentence)

# %% [markdown]
# ## The report
#
# One self-contained page. It works offline, and every table downloads as CSV.

# %% tags=["large-output"]
notebook.report_frame(study.workdir.report)

# %% [markdown]
# Download it, with clips and recordings as CSV:

# %%
notebook.download(study.pack_results())
