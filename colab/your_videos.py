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
# From a folder of recordings and a table of them to a report. You edit one cell.
#
# ## How to film
#
# - **Long rather than often.** A recording's score is the mean over its clips; in short recordings,
#   chance in what a mouse does in them is most of the noise.
# - **Everything alike but the pain.** Same chamber, camera, distance, light, time of day and
#   settings (compression too) in all groups, the groups mixed within every session and cage. What
#   differs between groups besides pain, a network learns first. The report looks for it.
# - **One animal in the picture**, all of it, the whole time; infrared is fine. Any format that
#   FFmpeg reads. No captions or timers in the picture; if there are some, blacken them
#   (`CHANGES` below: `{"video.mask": ("x:y:w:h",)}`, in px).
# - **From above or below?** Say so below: every clip is then also shown turned by each right angle,
#   which takes four times as long.
# - For a drug: record each animal **before and after** the dose, and have a **vehicle** arm, best
#   with animals of every arm in every cage. Animals of the drug part are never trained on, so the
#   untreated animals that teach the head are others.
#
# ## The table
#
# `cohort.csv`, a row per recording; from Excel or Google Sheets, save as CSV (semicolons are fine):
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
#   induction, negative before it. For any other classes, one column `label` in their place.
# - `drug`: empty on untreated recordings, `vehicle` in the control arm, else the drug's name.
# - Optional: `cage`, `sex` (F or M), `route`, `fps`, `roi` (x:y:w:h in px, where more than the
#   chamber is in the picture; several chambers: a copy of the file per animal), `date`, `camera`.
#   Give `cage`: then a cage is never on both sides of a split. Give `date` and `camera`: then
#   they can be audited as confounds.
#
# ## How many animals?
#
# The animal is the unit: more clips of the same animals do not make a trial larger. In simulated
# trials, 500 for each n, a drug takes 0.8 logits off neuropathic and 0.3 off inflammatory pain, and
# a session's score has a standard deviation of 0.35. That it *works better in neuropathic than in
# inflammatory pain* (the interaction, p < 0.05) was found this often
# (`python tests/benchmarks/bench_drug_statistics.py`):
#
# | animals per arm and pain type | 3 | 4 | 6 | 8 | 12 | 16 |
# | --- | --- | --- | --- | --- | --- | --- |
# | found | 9.6 % | 16.2 % | 21.4 % | 29.4 % | 42.4 % | 49.4 % |
#
# So a comparison of two comparisons wants many animals. Whether a drug relieves *one* pain type
# wants fewer. The report states the effect that the n at hand could have found.

# %% tags=["parameters"]
import os

# The address or the folder of mpjax's repository, if mpjax is not installed here.
REPOSITORY = ""  # @param {type:"string"}
# Folder with cohort.csv and the videos. On Google Drive, for example
# /content/drive/MyDrive/mice; empty: you will be asked to upload, or an example is drawn.
FOLDER = ""  # @param {type:"string"}
# Where the results go; a folder on Drive outlasts the session.
WORKDIR = "out/mine"  # @param {type:"string"}
FROM_ABOVE_OR_BELOW = False  # @param {type:"boolean"}
# Fields of configs/lab.py to change, e.g. {"video.stride": 64} to look at fewer clips.
CHANGES = {}

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
# ## Videos
#
# From Google Drive, or uploaded (choose `cohort.csv` and the videos at once), or, with neither, a
# handful of videos that are drawn here as an example.

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
recipe = "lab.py" if given else "tiny.py"
folder = folder if given else pathlib.Path("example")
changes = {"cohort": str(folder / "cohort.csv"), **CHANGES}
if FROM_ABOVE_OR_BELOW:
    changes["projector.rotations"] = 4
with notebook.plain_errors():
    config = notebook.load_config(SOURCE / "configs" / recipe, changes)
if not given:
    print("No videos were given: an example is drawn. Its figures mean nothing.")
    synthetic.generate(folder, config.synthetic, workers=1)

# %% [markdown]
# ## Check
#
# All faults of the table are told at once, each with its row, column, value and the rule it broke;
# so are videos that cannot be read. Mend them and run on from here. Then look at the counts: are
# they those of your experiment?

# %%
with notebook.plain_errors():
    unreadable = cohort.main(config, config.cohort)
if unreadable:
    raise notebook.Stop("mend the videos named above, or leave their rows out of the table")

# %% [markdown]
# So that you know faults when you see them, a table that has some:

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
# A study that was interrupted goes on where it stopped when you run this cell again; what is done
# already is skipped. A GPU runtime (*Runtime > Change runtime type*) is far faster.

# %%
study = notebook.run_study(config, WORKDIR)

# %% [markdown]
# ## The figures
#
# All of these are of animals that the head was not trained on; intervals resample animals (cages),
# never clips. The interaction of drug and pain type is negative where the drug relieves more in
# neuropathic than in inflammatory pain. What cannot be estimated is a dash here and has its reason
# in the report.

# %%
metrics = study.metrics.to_dict()
notebook.key_figures(metrics)

# %% [markdown]
# The drug, in words, and whether anything but behaviour could have told the classes:

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
# `results.zip` holds the report, `metrics.json`, and as CSV every clip, every recording and every
# window's motif.

# %%
notebook.download(study.pack_results())
