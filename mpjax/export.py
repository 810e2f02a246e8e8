"""Hands a study on to other tools: `python -m mpjax.export --workdir=out/mine --out=out/export`.

Of a finished study (its predictions, its motifs, its heads), `--what` writes any of

  csv    predictions, motif bouts and usage per recording, as .csv and as .parquet
  boris  projects that BORIS opens, motifs.boris and classes.boris, and tables of their events
  nwb    a Neurodata Without Borders file per recording (pip install 'mpjax[nwb]')
  model  projector and heads as one file of StableHLO, with load.py, which needs only jax and
         flatbuffers (pip install 'mpjax[export]')

Motifs are those of the codebook of all animals that may be trained on.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags
from etils import epath

from mpjax import cli
from mpjax.interop import study_tables
from mpjax.io import files
from mpjax.studies import evaluation, model

if TYPE_CHECKING:
    from mpjax.analysis.predictions import Predictions

WHAT = ("csv", "boris", "nwb", "model")
_AGE = re.compile(r"P(?=\w)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(/P(?=\w)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?)?")
SPECIES = "Mus musculus"
LIMITS = (
    "Knows the conditions and days of its own cohort and nothing else: a clip of any other "
    "condition, strain, camera or chamber gets probabilities all the same.",
    "p is the mean over heads that were trained on the study's animals; of these animals' own "
    "clips it is no held-out prediction (that is in predictions.csv).",
    "It cannot tell that a clip is unlike all that it was trained on, as `mpjax predict` does.",
    "The animal is the unit: compare animals, not clips.",
    "For research only; not for clinical or veterinary use.",
)


def run(
    workdir: epath.PathLike,
    out: epath.PathLike,
    *,
    what: Sequence[str] = WHAT,
    videos: str = "",
    session_start: str = "",
    species: str = SPECIES,
    age: str = "",
    weights: str = "",
) -> None:
    """Writes what is asked for into `out`.

    Args:
        workdir: folder of the study.
        out: folder to write.
        what: of `WHAT`.
        videos: folder that the names of the videos are relative to; empty: that of the cohort.
        session_start: ISO 8601, for recordings whose date is unknown (NWB).
        species: in Latin (NWB).
        age: of the animals, ISO 8601 (NWB).
        weights: of the study's projector, where they have moved (model).

    Raises:
        ValueError: a part of the study is missing, or is not of these predictions.
        ImportError: an extra is not installed.
    """
    from mpjax.analysis import predictions

    strange = [each for each in what if each not in WHAT]
    if strange or not what:
        raise ValueError(f"--what={','.join(what)}: choose of {', '.join(WHAT)}")
    if age and not _AGE.fullmatch(age):
        raise ValueError(f"--age={age}: not a duration of ISO 8601, such as P12W or P10W/P14W")
    files.check_tables_folder(out)
    workdir, out = epath.Path(workdir), epath.Path(out)
    read = predictions.read_predictions(workdir / "predictions.parquet")
    motifs = study_tables.Motifs.of(workdir)
    if "csv" in what:
        study_tables.write_csv(read, motifs, out)
    if "boris" in what or "nwb" in what:
        recordings = study_tables.find_recordings(workdir, read, videos)
        if "boris" in what:
            study_tables.write_boris(workdir, read, motifs, recordings, out)
        if "nwb" in what:
            study_tables.write_nwb(
                workdir,
                read,
                motifs,
                recordings,
                out,
                session_start=session_start,
                species=species,
                age=age,
            )
    if "model" in what:
        write_model(workdir, read, out, weights=weights)


def write_model(
    workdir: epath.Path, read: "Predictions", out: epath.Path, *, weights: str = ""
) -> None:
    """Writes projector and heads as one file that only JAX is needed for, with its description.

    Raises:
        FileNotFoundError, ValueError: as `trained.load`.
    """
    from mpjax.heads import probe
    from mpjax.interop import stablehlo
    from mpjax.training import artifacts

    study = model.load(workdir, weights=weights)
    told = artifacts.read_metadata(workdir / "heads") or {}
    made_by, views = told["embeddings"], study.views_meta
    made = stablehlo.write(
        out / "model",
        stablehlo.portable(study.projector),
        {name: study.heads[name] for name in probe.fine_heads(study.heads)},
        clip=(views["frames"] or study_tables.clip_frames(workdir), views["size"]),
        temperature=study.temperature["value"] or 1.0,
        description=_model_card(workdir, read, views, study.temperature)
        | {"fingerprints": _fingerprints(read, made_by, told)},
    )
    print(
        f"model {out / 'model' / stablehlo.MODEL}: {made['bytes'] / 1e6:.1f} MB for "
        f"{', '.join(made['platforms'])}, exported in {made['seconds_to_export']:.0f} s"
    )


def _fingerprints(read: "Predictions", made_by: Any, told: Any) -> dict[str, Any]:
    return {
        "dataset": made_by["dataset"],
        "projector": made_by["projector"],
        "embeddings": made_by["fingerprint"],
        "heads": told["fingerprint"],
        "division": told["division"],
        "versions": study_tables.provenance_of(read)["versions"],
    }


def _model_card(
    workdir: epath.Path, read: "Predictions", views: dict[str, Any], calibrated: dict[str, Any]
) -> dict[str, Any]:
    """Returns what a user of the model must know: classes, how clips are cut, limits."""
    from mpjax.data import records
    from mpjax.data.splits import fit_rows

    taxonomy = read.taxonomy
    video = records.read_manifest(workdir / "dataset")["video"]
    learnt = read.table[fit_rows(read.table, read.meta["scheme"])]
    return {
        "classes": list(taxonomy.fine),
        "coarse": list(taxonomy.coarse),
        "fine_to_coarse": list(taxonomy.fine_to_coarse),
        "calibration": calibrated,
        "clips": {
            "fps": sorted({float(fps) for fps in read.table["fps"]}),
            "cut": video,
            "views": views,
            "how": (
                "frames of the recording at `fps`, RGB, the shorter side resized (area averages) "
                f"to {video['short_side'] or 'its own'} px, stored as JPEG; then resized to "
                f"{views['size']} px and cut to squares, spread evenly along the longer side (one: "
                "from its middle); of several views, log_p is averaged by load.average_views"
            ),
        },
        "card": {
            "trained_on": {
                "animals": int(learnt["animal"].nunique()),
                "recordings": int(learnt["video"].nunique()),
                "scheme": read.meta["scheme"],
            },
            "accuracy_on_held_out_animals": _accuracy(workdir),
            "limits": list(LIMITS),
        },
    }


def _accuracy(workdir: epath.Path) -> dict[str, Any]:
    """Returns the recordings' accuracy of metrics.json, or why it is not there."""
    path = workdir / "metrics.json"
    if not path.exists():
        return evaluation.absent("metrics.json has not been made; run `python -m mpjax.eval`")
    metrics = files.read_json(path)
    return {
        task: metrics[task]["recording"]["accuracy"]
        for task in ("fine", "coarse")
        if "recording" in metrics.get(task, {})
    }


def main() -> None:
    """Runs the binary."""
    workdir = flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    out = flags.DEFINE_string("out", None, "Folder to write.", required=True)
    what = flags.DEFINE_list("what", ["csv", "boris"], f"Any of {', '.join(WHAT)}.")
    videos = flags.DEFINE_string("videos", "", "Folder of the videos, where they have moved.")
    start = flags.DEFINE_string(
        "session_start", "", "nwb: ISO 8601, of recordings whose date is not known."
    )
    species = flags.DEFINE_string("species", SPECIES, "nwb: in Latin.")
    age = flags.DEFINE_string("age", "", "nwb: of the animals, ISO 8601, e.g. P12W or P10W/P14W.")
    weights = flags.DEFINE_string("weights", "", "The study's projector weights, if they moved.")
    cli.start_plain(
        lambda: run(
            workdir.value,
            out.value,
            what=what.value,
            videos=videos.value,
            session_start=start.value,
            species=species.value,
            age=age.value,
            weights=weights.value,
        )
    )


if __name__ == "__main__":
    main()
