"""Hands a finished study on to other tools: tables, BORIS, NWB, and the model as one file."""

import re
from collections.abc import Sequence
from typing import Any

from etils import epath

from mpjax import interop
from mpjax.analysis import predictions
from mpjax.analysis.motifs import codebook
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats.estimates import absent
from mpjax.data import records, video_metadata
from mpjax.data.splits import fit_rows
from mpjax.interop import Motifs
from mpjax.io import files
from mpjax.studies.windows import FINAL, read_motifs
from mpjax.studies.workdir import Workdir, check_output_folder

WHAT = ("csv", "boris", "nwb", "model")
SPECIES = "Mus musculus"
LIMITS = (
    "Knows the conditions and days of its own cohort and nothing else: a clip of any other "
    "condition, strain, camera or chamber gets probabilities too.",
    "p is the mean over heads that were trained on the study's animals; of these animals' own "
    "clips it is no held-out prediction (that is in predictions.csv).",
    "It does not flag clips that are unlike all that it was trained on, as `mpjax predict` does.",
    "The animal is the unit: compare animals, not clips.",
    "For research only; not for clinical or veterinary use.",
)
_AGE = re.compile(r"P(?=\w)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(/P(?=\w)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?)?")


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
    """Writes the formats `what` of a study; the arguments are the flags of `mpjax.export`.

    Raises:
        FileNotFoundError, ValueError: a part of the study is missing, or is not of these
            predictions.
        ImportError: an extra is not installed.
    """
    strange = [each for each in what if each not in WHAT]
    if strange or not what:
        raise ValueError(f"--what={','.join(what)}: choose from {', '.join(WHAT)}")
    if age and not _AGE.fullmatch(age):
        raise ValueError(f"--age={age}: not a duration of ISO 8601, such as P12W or P10W/P14W")
    out, workdir = check_output_folder(out), Workdir(workdir)
    read = predictions.read_predictions(workdir.predictions)
    motifs = _read_motifs(workdir)
    if motifs is None and set(what) != {"model"}:
        print(
            f"{workdir.windows}: no such file, so no motifs are written; "
            "`python -m mpjax.explain` finds them"
        )
    if "csv" in what:
        interop.write_csv(read, motifs, out)
    if "boris" in what or "nwb" in what:
        about = video_metadata.read(workdir.dataset)
        if about is None:
            raise FileNotFoundError(
                f"{workdir.dataset / video_metadata.FILE}: no such file; BORIS and NWB need the "
                "length and rate of the videos, which `python -m data_prep.build` writes there"
            )
        recordings = interop.list_recordings(read, about, videos)
        frames = records.read_manifest(workdir.dataset)["video"]["frames"]
        if "boris" in what:
            interop.write_boris(read, motifs, recordings, out, frames=frames)
        if "nwb" in what:
            interop.write_nwb(
                read,
                motifs,
                recordings,
                out,
                frames=frames,
                session_start=session_start,
                species=species,
                age=age,
            )
    if "model" in what:
        _write_model(workdir, read, out, weights=weights)


def _read_motifs(workdir: Workdir) -> Motifs | None:
    if not workdir.windows.exists():
        return None
    windows, found = read_motifs(workdir)
    book = codebook.load(workdir.codebook(FINAL))
    return Motifs(windows, found[FINAL], len(book.centres))


def _write_model(workdir: Workdir, read: Predictions, out: epath.Path, *, weights: str) -> None:
    """Writes projector and heads as one file that needs only JAX, with its description."""
    from mpjax.heads import probe
    from mpjax.interop import stablehlo
    from mpjax.models import swin
    from mpjax.studies import model
    from mpjax.training import artifacts

    study = model.load(workdir, weights=weights)
    trained = artifacts.read_metadata(workdir.heads)
    embedded, views = trained["embeddings"], study.views_meta
    fingerprints = {
        "dataset": embedded["dataset"],
        "projector": embedded["projector"],
        "embeddings": embedded["fingerprint"],
        "heads": trained["fingerprint"],
        "division": trained["division"],
        "versions": interop.provenance_of(read)["versions"],
    }
    made = stablehlo.write(
        out / "model",
        swin.plain_form(study.projector, scan=False),
        {name: study.heads[name] for name in probe.fine_heads(study.heads)},
        clip=(views["frames"] or study.video.frames, views["size"]),
        temperature=study.temperature["value"] or 1.0,
        description=_model_card(workdir, read, views)
        | {"calibration": study.temperature, "fingerprints": fingerprints},
    )
    print(
        f"model {out / 'model' / stablehlo.MODEL}: {made['bytes'] / 1e6:.1f} MB for "
        f"{', '.join(made['platforms'])}, exported in {made['seconds_to_export']:.0f} s"
    )


def _model_card(workdir: Workdir, read: Predictions, views: dict[str, Any]) -> dict[str, Any]:
    """Returns what a user of the model must know: classes, how clips are cut, limits."""
    video = records.read_manifest(workdir.dataset)["video"]
    fitted = read.table[fit_rows(read.table, read.meta["scheme"])]
    return {
        "classes": list(read.taxonomy.fine),
        "coarse": list(read.taxonomy.coarse),
        "fine_to_coarse": list(read.taxonomy.fine_to_coarse),
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
                "animals": int(fitted["animal"].nunique()),
                "recordings": int(fitted["video"].nunique()),
                "scheme": read.meta["scheme"],
            },
            "accuracy_on_held_out_animals": _accuracy(workdir),
            "limits": list(LIMITS),
        },
    }


def _accuracy(workdir: Workdir) -> dict[str, Any]:
    """Returns the accuracy of metrics.json over recordings, or why it is not there."""
    if not workdir.metrics.exists():
        return absent("metrics.json has not been made; run `python -m mpjax.eval`")
    metrics = files.read_json(workdir.metrics)
    return {
        task: metrics[task]["recording"]["accuracy"]
        for task in ("fine", "coarse")
        if "recording" in metrics.get(task, {})
    }
