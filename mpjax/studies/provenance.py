"""How a study was made: its cohort and settings, noted in its folder."""

import dataclasses
import json
import os
from typing import Any

from etils import epath

from mpjax.config import SYNTHETIC_MARK, StudyConfig, rules
from mpjax.io import files, stores
from mpjax.studies.workdir import Workdir

# Sections and fields that the report depends on, besides the predictions.
REPORTED = ("name", "eval", "motifs", "saliency", "confounds", "baselines")


def claim(workdir: Workdir, config: StudyConfig) -> None:
    """Notes cohort and settings of the study that is about to run in `workdir`.

    Raises:
        ValueError: `workdir` is a study of another cohort, whose files this one would replace.
    """
    cohort = os.fspath(files.absolute(config.cohort)) if config.cohort else ""
    before = _read(workdir)
    if workdir.dataset.exists() and before and before["cohort"] != cohort:
        raise ValueError(
            f"{workdir}: holds a study of {before['cohort'] or 'a synthetic cohort'}, not of "
            f"{cohort or 'a synthetic one'}; choose another --workdir (if the table has only "
            f"moved, delete {workdir.settings})"
        )
    note = {"cohort": cohort, "config": _plain(config)}
    if note != before:
        files.write_json(workdir.settings, note)


def is_synthetic(workdir: Workdir, table: str) -> bool:
    """Returns whether a cohort was drawn: by the study, or before (a mark lies beside `table`)."""
    if _read(workdir).get("cohort") == "":
        return True
    local = bool(table) and not stores.is_remote(table)
    return local and (epath.Path(table).parent / SYNTHETIC_MARK).exists()


def differing(workdir: Workdir, config: StudyConfig) -> list[str]:
    """Returns the settings of the report that differ from the study's, in words."""
    before = _read(workdir).get("config", {})
    reported = {name: before[name] for name in REPORTED if name in before}
    for name, was in reported.items():
        reported[name] = rules.rename_fields(was, name) if isinstance(was, dict) else was
    return _compare("config", reported, _plain(config))


def _compare(name: str, was: Any, now: Any) -> list[str]:
    if isinstance(was, dict) and isinstance(now, dict):
        inner = (_compare(f"{name}.{key}", was[key], now[key]) for key in was if key in now)
        return [line for lines in inner for line in lines]
    return [] if was == now else [f"{name} was {was!r}, is {now!r}"]


def _plain(config: StudyConfig) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _read(workdir: Workdir) -> dict[str, Any]:
    return files.read_json(workdir.settings) if workdir.settings.exists() else {}
