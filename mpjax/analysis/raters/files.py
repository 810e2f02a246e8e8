"""The files of blinded ratings: the sealed key of a package, and the raters' answers.

A package (`python -m mpjax.rate make`) is a page with clips under neutral names. Its key says what
each clip shows. The package's id is a hash of the key, so a changed key is noticed; answers name
the package that they belong to.

    key      {"format": "mpjax.rating_key/1", "package": id, "body": {...}}
    answers  {"format": "mpjax.answers/1", "package": id, "rater", "trials": [...], "sha256", ...}

The sha256 is that of the answers themselves, as `seal` writes them. It shows changes made by
accident or by hand; it is not a signature.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from etils import epath

from mpjax.io import files
from mpjax.taxonomy import Taxonomy

KEY_FORMAT = "mpjax.rating_key/1"
ANSWERS_FORMAT = "mpjax.answers/1"
CONFIDENCE = ("guessing", "unsure", "half sure", "fairly sure", "certain")  # 1 to 5
_KEY_FIELDS = frozenset(
    ("clips", "dataset", "division", "examples", "group", "scheme", "seed", "short", "taxonomy",
     "wanted")
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Key:
    """What the clips of a package show."""

    package: str  # its id
    taxonomy: Taxonomy
    clips: pd.DataFrame  # by neutral name: clip_id, video, animal, cage, label, fold
    group: str  # animal or cage, the unit of every interval
    body: dict[str, Any]  # the whole content of the key


@dataclasses.dataclass(frozen=True)
class Answers:
    """The answers of one rater.

    Trials are a row per answered clip, in the order of answering: `clip` (neutral name), `fine` and
    `coarse` (index of the class; coarse is -1 where there are no groups), `confidence` (1 to 5),
    `response_ms` (while the page was in view), `revised` (how often undone).
    """

    rater: str  # name
    trials: pd.DataFrame
    undone: int  # answers taken back
    sessions: int  # how often the page was opened


def make_key(body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a key file, sealed by the package's id.

    `body` holds `clips` (neutral name -> clip_id, video, animal, cage, label, fold), `taxonomy`,
    `group`, `scheme`, `dataset`, `division` (fingerprints), `seed`, `wanted` (clips per class),
    `short` (class -> clips, where fewer) and `examples` (neutral name -> clip_id, animal, label).
    """
    return {"format": KEY_FORMAT, "package": files.fingerprint(body), "body": dict(body)}


def read_key(path: epath.PathLike) -> Key:
    """Reads the key of a package; a ValueError where it is of another version or was changed."""
    value = _read(path, KEY_FORMAT, "the key that `python -m mpjax.rate make` wrote next to OUT")
    body = value.get("body")
    if not isinstance(body, dict) or files.fingerprint(body) != value.get("package"):
        raise ValueError(
            f"{path}: changed since it was made (its content is not that of package "
            f"{value.get('package')}); restore it, or make a new package"
        )
    if set(body) != _KEY_FIELDS:
        raise ValueError(f"{path}: has {sorted(body)}, needs {sorted(_KEY_FIELDS)}")
    table = pd.DataFrame.from_dict(body["clips"], orient="index")
    taxonomy = Taxonomy.from_dict(body["taxonomy"])
    return Key(value["package"], taxonomy, table.sort_index(), body["group"], body)


def seal(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns answers with their sha256, as the page exports them."""
    body = {name: value for name, value in answers.items() if name != "sha256"}
    # JSON in one fixed way, as the page's JavaScript writes it: names sorted, no spaces.
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return body | {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def read_answers(
    paths: Sequence[epath.PathLike], key: Key, *, allow_incomplete: bool = False
) -> list[Answers]:
    """Reads answer files, one per rater, and checks that they belong to the package and are whole.

    `allow_incomplete` accepts raters who have not answered every clip.

    Raises:
        ValueError: unusable files; the faults of all files at once, each with what to do.
    """
    if not paths:
        raise ValueError("no answer files; name them after `score`, one per rater")
    answers, faults, seen = [], [], dict[str, epath.Path]()
    for path in map(epath.Path, paths):
        try:
            read = _read_one(path, key, allow_incomplete=allow_incomplete)
        except (ValueError, OSError) as error:
            faults.append(str(error))
            continue
        name = read.rater.casefold()
        if name in seen:
            faults.append(
                f"{path}: rater {read.rater!r} again, as in {seen[name]}; leave one of them out"
            )
        seen.setdefault(name, path)
        answers.append(read)
    if faults:
        raise ValueError("\n".join(faults))
    return answers


def _read(path: epath.PathLike, kind: str, wanted: str) -> dict[str, Any]:
    """Reads a JSON object of a format."""
    path = epath.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; give {wanted}")
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); give {wanted}") from error
    fault = "holds no JSON object"
    if isinstance(value, dict):
        if value.get("format") == kind:
            return value
        fault = f"format {value.get('format')!r}, this version needs {kind!r}"
    raise ValueError(f"{path}: {fault}; give {wanted}")


def _read_one(path: epath.Path, key: Key, *, allow_incomplete: bool) -> Answers:
    value = _read(path, ANSWERS_FORMAT, "the file that the rating page exported")
    if value.get("package") != key.package:
        raise ValueError(
            f"{path}: answers to package {value.get('package')}, but the key is of {key.package}; "
            "give the key of that package, or leave the file out"
        )
    if seal(value)["sha256"] != value.get("sha256"):
        raise ValueError(
            f"{path}: changed since it was exported (its sha256 differs); export it again on the "
            "rater's device, or leave it out"
        )
    if faults := _faults(value, key):
        raise ValueError(f"{path}: {'; '.join(faults)}; export it again, or leave it out")
    trials, taxonomy = pd.DataFrame(value["trials"]), key.taxonomy
    if len(trials) < len(key.clips) and not (allow_incomplete and len(trials)):
        raise ValueError(
            f"{path}: {value['rater']} has answered {len(trials)} of {len(key.clips)} clips; open "
            "the page again to finish, or "
            + ("pass --allow_incomplete" if len(trials) else "leave it out")
        )
    trials["fine"] = trials["fine"].map(taxonomy.fine.index)
    trials["coarse"] = trials["coarse"].map(taxonomy.coarse.index) if taxonomy.coarse else -1
    return Answers(value["rater"].strip(), trials, value["undone"], value["sessions"])


def _faults(value: Mapping[str, Any], key: Key) -> list[str]:
    """Lists everything that the page of this package cannot have exported."""
    trials, rater = value.get("trials"), value.get("rater")
    if not isinstance(trials, list) or not all(isinstance(trial, dict) for trial in trials):
        return ["trials: must be a list of answers"]
    faults = []
    if not isinstance(rater, str) or not rater.strip():
        faults.append(f"rater: must be a name, got {rater!r}")
    faults += [
        f"{name}: must be a whole number, got {value.get(name)!r}"
        for name in ("undone", "sessions")
        if not _is_count(value.get(name))
    ]
    allowed = {
        "fine": key.taxonomy.fine,
        "coarse": key.taxonomy.coarse or (None,),
        "confidence": range(1, len(CONFIDENCE) + 1),
    }
    clips = [trial.get("clip") for trial in trials]
    for number, trial in enumerate(trials, 1):
        once = trial.get("clip") in key.clips.index and clips.count(trial["clip"]) == 1
        wrong = [] if once else ["clip"]
        wrong += [name for name, values in allowed.items() if trial.get(name) not in values]
        wrong += [name for name in ("response_ms", "revised") if not _is_count(trial.get(name))]
        faults += [
            f"trial {number}: {name} {trial.get(name)!r} is not one of this package, or twice"
            for name in wrong
        ]
    return faults


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
