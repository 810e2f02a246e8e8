"""The planted confound: one condition is filmed in brighter light, and nothing else differs."""

import dataclasses
import json
from pathlib import Path

import av
import numpy as np
import pytest

from data_prep import synthetic
from data_prep.synthetic import plan, render
from mpjax.config import SyntheticConfig

TINY = SyntheticConfig(
    animals_per_condition=1, animals_per_arm=0, days=(1, 21), seconds=0.6, size=64
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return Path(synthetic.generate(tmp_path_factory.mktemp("cohort"), TINY, workers=1)).parent


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_planted_confound_brightens_one_conditions_videos_and_leaves_all_else(cohort, tmp_path):
    planted = dataclasses.replace(TINY, confound="neuropathic")
    other = Path(synthetic.generate(tmp_path / "planted", planted, workers=1)).parent
    plain, confounded = contents(cohort), contents(other)
    changed = {name for name in plain if plain[name] != confounded[name]}
    videos = {f"videos/{r.stem}.mp4" for r in plan.plan(TINY)
              if r.condition == "neuropathic"}  # fmt: skip
    assert changed == videos | {"truth.json", ".synthetic.json"}
    for name in videos:
        light = [mean_light(folder / name) for folder in (cohort, other)]
        assert light[1] / light[0] == pytest.approx(render.PLANTED_LIGHT, rel=0.05)


def mean_light(path):
    with av.open(str(path)) as container:
        return np.mean([f.to_ndarray(format="gray").mean() for f in container.decode(video=0)])


def test_without_a_confound_the_config_tells_of_none_so_that_older_cohorts_stay_theirs(cohort):
    truth = json.loads((cohort / "truth.json").read_text())
    assert "confound" not in truth["config"]
    assert "confound" not in plan.describe(TINY)
    planted = dataclasses.replace(TINY, confound="inflammatory")
    assert plan.describe(planted)["confound"] == "inflammatory"
    with pytest.raises(ValueError, match=r"confound='sham': expected '' or 'neuropathic'"):
        plan.check_config(dataclasses.replace(TINY, confound="sham"))
