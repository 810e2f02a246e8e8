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
# # mpjax: your own videos
#
# From a folder of recordings and a table to a report. You edit one cell.
#
# ## How to film
#
# - **Long rather than often.** A recording's score is the mean over its clips. In short recordings,
#   most of its noise is what the mouse happened to do.
# - **Keep everything equal except the pain.** Use the same chamber, camera, distance, light, time
#   of day and settings (compression too) in all groups, and mix the groups within every session and
#   cage. A network first learns whatever else differs between groups. The report checks for it.
# - **One animal in view**, completely and all the time. Infrared is fine, and so is any format that
#   FFmpeg reads. Avoid captions and timers in the video; if there are some, blacken them
#   (`CHANGES` below: `{"video.mask": ("x:y:w:h",)}`, in px).
# - **From above or below?** Set it below. Every clip is then also embedded in all four rotations,
#   which takes four times as long.
# - For a drug, record each animal **before and after** the dose, with a **vehicle** arm, if
#   possible with animals of every arm in every cage. Animals of the drug part are never trained on,
#   so you need other, untreated animals to train the head.
#
# ## The table
#
# `cohort.csv` has a row per recording. From Excel or Google Sheets, save as CSV (semicolons are
# fine):
#
# | video | animal | cage | sex | condition | day | drug | dose_mg_per_kg | minutes_post_dose |
# | --- | --- | --- | --- | --- | --- | --- | --- | --- |
# | m01_d03.mp4 | m01 | c1 | F | neuropathic | 3 | | | |
# | m01_d14.mp4 | m01 | c1 | F | neuropathic | 14 | | | |
# | m21_pre.mp4 | m21 | c9 | M | neuropathic | 14 | | | |
# | m21_gbp.mp4 | m21 | c9 | M | neuropathic | 14 | gabapentin | 100 | 60 |
# | m22_veh.mp4 | m22 | c9 | M | neuropathic | 14 | vehicle | | 60 |
#
# - `video`: the file's name, relative to the table. `animal`: its name, the same on all its rows.
# - `condition` (for example neuropathic, inflammatory, sham, none) and `day`: whole days after
#   induction, negative before it. For any other classes, use one column `label` instead.
# - `drug`: empty for untreated recordings, `vehicle` in the control arm, otherwise the drug's name.
# - Optional: `cage`, `sex` (F or M), `route`, `fps`, `roi` (x:y:w:h in px, if the video shows more
#   than the chamber; for several chambers, a copy of the file per animal), `date`, `camera`. With
#   `cage`, a cage is never on both sides of a split. `date` and `camera` are checked as confounds.
#
# ## How many animals?
#
# The animal is the unit: more clips of the same animals do not make a trial larger. In simulated
# trials, 500 for each n, a drug lowers neuropathic pain by 0.8 logits and inflammatory pain by 0.3,
# and a session's score has a standard deviation of 0.35. That it *works better in neuropathic than
# in inflammatory pain* (the interaction, p < 0.05) was found this often
# (`python tests/benchmarks/bench_drug_statistics.py`):
#
# | animals per arm and pain type | 3 | 4 | 6 | 8 | 12 | 16 |
# | --- | --- | --- | --- | --- | --- | --- |
# | found | 9.6 % | 16.2 % | 21.4 % | 29.4 % | 42.4 % | 49.4 % |
#
# A comparison of two effects needs many animals. Whether a drug relieves *one* pain type needs
# fewer. The report states the effect that your n could have found.

# %% tags=["parameters"]
import os

# URL or folder of mpjax's repository, if mpjax is not installed here.
REPOSITORY = ""  # @param {type:"string"}
# Folder with cohort.csv and the videos. On Google Drive, for example
# /content/drive/MyDrive/mice. Empty: you will be asked to upload, or an example is generated.
FOLDER = ""  # @param {type:"string"}
# Where the results go; a folder on Drive is kept after the session.
WORKDIR = "out/mine"  # @param {type:"string"}
FROM_ABOVE_OR_BELOW = False  # @param {type:"boolean"}
# Fields of configs/lab.py to change, e.g. {"video.stride": 64} to process fewer clips.
CHANGES = {}

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
# ## Videos
#
# From Google Drive, or uploaded (select `cohort.csv` and all videos together). With neither, a few
# videos are generated as an example.

# %%
from data_prep import cohort, synthetic
from mpjax import notebook

folder = pathlib.Path(FOLDER or "my_videos")
if notebook.on_colab() and any(path.startswith("/content/drive") for path in (FOLDER, WORKDIR)):
    from google.colab import drive

    drive.mount("/content/drive")
if notebook.on_colab() and not FOLDER and not folder.exists():
    from google.colab import files as colab_files

    colab_files.upload(str(folder))

given = FOLDER != "" or (folder.exists() and any(folder.iterdir()))
recipe = "lab" if given else "tiny"
folder = folder if given else pathlib.Path("example")
changes = {"cohort": str(folder / "cohort.csv"), **CHANGES}
if FROM_ABOVE_OR_BELOW:
    changes["projector.rotations"] = 4
with notebook.plain_errors():
    config = notebook.load_config(recipe, changes)
if not given:
    print("No videos were given: an example is generated. Its scores mean nothing.")
    synthetic.generate(folder, config.synthetic, workers=1)

# %% [markdown]
# ## Check
#
# Lists all faults of the table at once, with row, column, value and rule, and all videos that
# cannot be read. Fix them and run this cell again. Then check the counts: do they match your
# experiment?

# %%
with notebook.plain_errors():
    unreadable = cohort.check(config, config.cohort)
if unreadable:
    raise notebook.Stop("fix the videos named above, or remove their rows from the table")

# %% [markdown]
# This is what faults look like:

# %%
faulty = pathlib.Path("faulty.csv")
faulty.write_text(
    "video,animal,condition,day,drug,dose_mg_per_kg\n"
    "m01_d03.mp4,m01,neuropathic,three,,\n"
    "m01_d14.mp4,m01,inflammatory,14,gabapentin,\n"
)
try:
    cohort.read_cohort(faulty)
except cohort.CohortError as error:
    print(error)

# %% [markdown]
# ## Study
#
# After an interruption, run this cell again: the study continues where it stopped. A GPU runtime
# (*Runtime > Change runtime type*) is far faster.

# %%
study = notebook.run_study(config, WORKDIR)

# %% [markdown]
# ## Results
#
# All numbers are for animals that the head was not trained on. Intervals resample animals (cages),
# never clips. The interaction of drug and pain type is negative if the drug relieves neuropathic
# pain more than inflammatory pain. A dash means that something cannot be estimated; the report says
# why.

# %%
metrics = study.metrics.to_dict()
notebook.key_figures(metrics)

# %% [markdown]
# The drug's effect in words, and whether anything other than behaviour could explain the classes:

# %%
for sentence in metrics["drug"].get("summary", []):
    print("-", sentence)
if metrics["confounds"].get("sentences"):
    print(f"- Confounds: {metrics['confounds']['status']}.", *metrics["confounds"]["sentences"])

# %% [markdown]
# ## The report

# %% tags=["large-output"]
notebook.report_frame(study.workdir.report)

# %% [markdown]
# ## Download
#
# `results.zip` contains the report, `metrics.json`, and CSV files of every clip, every recording
# and every window's motif.

# %%
notebook.download(study.pack_results())
