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
# A whole study on mice that are drawn, so that the truth is known. A video network that learned
# human actions (Kinetics) turns clips into an action space; a linear head on it learns condition
# and day from some animals and is judged on others; recordings under a drug, never trained on, are
# scored by it. At the end stands the report that a study of your own videos gives too
# (`your_videos.ipynb`).
#
# *Runtime > Run all.* It runs on a CPU, GPU or TPU runtime alike, in less than 10 minutes.

# %% tags=["parameters"]
import os

# The address or the folder of mpjax's repository, if mpjax is not installed here.
REPOSITORY = ""  # @param {type:"string"}
WORKDIR = "out/demo"  # @param {type:"string"}
# Tiny settings, which show that everything runs.
FAST = os.environ.get("MPJAX_FAST") == "1"

# %% [markdown]
# ## Install
#
# Nothing is done where mpjax is installed already. Where Colab asks you to restart the session
# (because another version of a package was loaded), do so and run all again.

# %%
import importlib.util
import pathlib
import shutil
import subprocess

SOURCE = pathlib.Path("mpjax-source")
found = importlib.util.find_spec("mpjax")
if found is None or found.origin is None:
    if not REPOSITORY and not SOURCE.exists():
        raise SystemExit("set REPOSITORY in the cell above, or upload mpjax as mpjax-source")
    if not SOURCE.exists():
        subprocess.run(["git", "clone", "--depth=1", REPOSITORY, str(SOURCE)], check=True)
    extras = ["prep"]
    extras += ["cuda"] if shutil.which("nvidia-smi") else []
    extras += ["tpu"] if "TPU_ACCELERATOR_TYPE" in os.environ else []
    wanted = f"./{SOURCE}[{','.join(extras)}]"
    # %pip install --quiet -c {SOURCE}/constraints.txt "{wanted}"
elif not SOURCE.exists():
    SOURCE = pathlib.Path(found.origin).parents[1]
if not (SOURCE / "configs").exists():
    raise SystemExit(f"{SOURCE} has no folder configs: clone the repository as mpjax-source")

# %% [markdown]
# ## Study
#
# Six stages: the cohort is drawn, its videos become clips, clips become embeddings, heads are
# trained, their answers are explained, and the report is written. A stage that is done already is
# skipped, so run this cell again after an interruption.

# %%
from mpjax import notebook

if FAST:
    print("Tiny settings: a narrow network of random weights, so the figures mean nothing.")
config = notebook.load_config(SOURCE / "configs" / ("tiny.py" if FAST else "demo.py"))
study = notebook.run_study(config, WORKDIR)

# %% [markdown]
# ## The figures
#
# Every figure of the report stands in `metrics.json`. All of these are of animals that the head was
# not trained on; intervals resample animals (cages), never clips. The last row is the interaction:
# negative where the drug relieves more in neuropathic than in inflammatory pain.

# %%
metrics = study.metrics.to_dict()
notebook.key_figures(metrics)

# %% [markdown]
# What was put in: gabapentin takes 80 % off neuropathic and 25 % off inflammatory pain, and slows
# every animal by a tenth. What the study says of it:

# %%
for sentence in metrics["drug"]["summary"]:
    print("-", sentence)

# %% [markdown]
# ## The report
#
# One self-contained page: it reads offline, and every table of it downloads as CSV.

# %% tags=["large-output"]
notebook.report_frame(study.workdir.report)

# %% [markdown]
# To keep it, with clips and recordings as CSV:

# %%
notebook.download(study.pack_results())
