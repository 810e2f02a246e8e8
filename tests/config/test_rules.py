"""Rules of config values: they name fields, refuse what nothing can be done with, and no more."""

import dataclasses
import importlib.util
import math
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from mpjax import config as configs
from mpjax.config import rules

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


def default_of(field):
    value = configs.StudyConfig()
    for name in field.split("."):
        value = getattr(value, name)
    return value


def build(**changes):
    """Builds a study's config with changed fields, `train__dropout` for `train.dropout`."""
    flat = {name.replace("__", "."): value for name, value in changes.items()}
    config = configs.to_config_dict(configs.StudyConfig())
    config.update_from_flattened_dict(flat)
    return configs.from_config_dict(config)


def refuse(**changes):
    """Returns what is said of a config that is refused."""
    with pytest.raises(ValueError) as caught:
        build(**changes)
    return str(caught.value)


def rules_of(section):
    """Returns the rules of a section's fields and those of its own sections, by dotted names."""
    found = {}
    for name, hint in typing.get_type_hints(section, include_extras=True).items():
        if dataclasses.is_dataclass(hint):
            found |= {f"{name}.{field}": rule for field, rule in rules_of(hint).items()}
        elif typing.get_origin(hint) is typing.Annotated:
            found[name] = hint.__metadata__[0]
    return found


RULES = rules_of(configs.StudyConfig)


@pytest.mark.parametrize("field", RULES)
def test_every_rule_names_a_field_and_refuses_something_of_its_type(field):
    default = default_of(field)
    assert not dataclasses.is_dataclass(default)
    bad = {int: -1, float: -1.0, str: "no: such/thing"}.get(type(default))
    if isinstance(default, tuple):
        bad = (type(default[0])(-1),)
    fault = f"config.{field} must be {RULES[field].allowed}, got {bad!r}"
    assert refuse(**{field.replace(".", "__"): bad}) == fault


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (rules.at_least(0), [0, 1, 0.5], [-1, math.nan, math.inf]),
        (rules.at_least(1), [1, 2], [0, 0.5]),
        (rules.between(1, 100), [1, 100], [0, 101, math.nan]),
        (rules.each(rules.POSITIVE), [(1e-4, 2.0), 3.0], [(), (0.0, 1.0), -1.0]),
        (rules.each(rules.CHANCE, 2), [(0.9, 0.1)], [(0.9,), (0.9, 1.0), 0.9]),
        (rules.one_of("clip", "recording"), ["clip", "recording"], ["", "cli", "day"]),
        (
            rules.each(rules.SHARE, 2, ascending=True),
            [(0.08, 1.0), (1.0, 1.0)],
            [(0.5,), (1.0, 0.5), (0.0, 1.0), (0.5, 1.5), (0.1, 0.2, 0.3), (0.5, math.nan)],
        ),
        (rules.POSITIVE, [1e-9, 5], [0.0, -1.0, math.inf, math.nan]),
        (rules.SHARE, [0.01, 1.0], [0.0, 1.01]),
        (rules.CHANCE, [0.0, 0.999], [1.0, -0.1, math.nan]),
        (rules.SEED, [0, 2**32 - 1], [-1, 2**32]),
        (
            rules.ADDRESS,
            ["", "HOST0:1234", "10.0.0.1:1", "[::1]:65535"],
            ["HOST0", "HOST0:", ":1234", "HOST0:port", "HOST0:0", "HOST0:65536"],
        ),
        (rules.DATASET_NAME, ["clips", "Clips_2"], ["", "my-clips", "2clips", "a/b"]),
    ],
)
def test_a_rule_allows_its_bounds_and_nothing_beyond(rule, good, bad):
    assert [value for value in good if not rule.holds(value)] == []
    assert [value for value in bad if rule.holds(value)] == []


@pytest.mark.parametrize(
    "field",
    [
        "video.frames",
        "video.stride",
        "build.clips_per_shard",
        "projector.batch_size",
        "projector.views",
        "train.batch_size",
        "train.save_every",
        "train.eval_every",
        "train.log_every",
        "train.keep",
        "train.optim.accumulate",
        "sweep.batch_size",
        "sweep.parallel_trials",
        "mesh.model",
        "mesh.timeout",
    ],
)
def test_zero_is_refused_where_it_is_divided_by_or_leaves_nothing(field):
    assert refuse(**{field.replace(".", "__"): 0}) == f"config.{field} must be 1 or more, got 0"


def test_all_faults_are_named_at_once_as_the_user_types_them():
    told = refuse(
        train__dropout=1.0,
        train__augment__scale=(0.5,),
        train__optim__accumulate=0,
        mesh__model=0,
        mesh__coordinator="HOST0",
        profile=-1,
    )
    assert told.split("; ")[:2] == [
        "config.train.dropout must be at least 0 and below 1, got 1.0",
        "config.train.augment.scale must be two numbers, each above 0 and at most 1, in ascending "
        "order, got (0.5,)",
    ]
    for fault in (
        "config.train.optim.accumulate must be 1 or more, got 0",
        "config.mesh.model must be 1 or more, got 0",
        "config.mesh.coordinator must be HOST:PORT, with a port from 1 to 65535, or empty, got",
        "config.profile must be 0 or more, got -1",
    ):
        assert fault in told


def test_a_wrong_value_is_named_together_with_a_wrong_type_and_an_unknown_field():
    values = {"train": {"keep": 0, "epochs": "many", "bogus": 1}, "head": {"l2": (0.0,)}}
    with pytest.raises(ValueError) as caught:
        configs.from_config_dict(values)
    told = str(caught.value)
    assert "config.train.keep must be 1 or more, got 0" in told
    assert "config.train.epochs: expected float, got 'many'" in told
    assert "config.train.bogus: no such field" in told


@pytest.mark.parametrize("old", rules.RENAMED)
def test_an_old_name_is_refused_with_the_new_one(old):
    new = rules.RENAMED[old].split()[0]
    assert default_of(new) is not None
    section, _, field = old.rpartition(".")
    values = {section: {field: 1}} if section else {field: "bsoid"}
    with pytest.raises(ValueError, match=rf"^config\.{old} is now config\.{new}( |$)"):
        configs.from_config_dict(values)


def test_a_projector_noted_under_old_names_is_read():
    old = {"kind": "swin", "turns": 4, "form": "xla", "size": 64}
    new = rules.rename_fields(old, "projector")
    assert new == {"kind": "swin", "rotations": 4, "attention_impl": "xla", "size": 64}


def test_a_section_that_is_no_section_is_refused():
    with pytest.raises(ValueError, match=r"^config\.head: fields and values are expected, not 3$"):
        configs.from_config_dict({"head": 3})


def test_motifs_are_fitted_on_more_windows_than_there_are_motifs():
    told = refuse(motifs__max_windows=48)
    assert (
        told == "config.motifs.max_windows must exceed the 48 of config.motifs.candidates, got 48"
    )


def test_values_that_mean_none_or_all_stay_legal():
    config = build(
        video__fps=0.0,
        video__short_side=0,
        build__workers=0,
        projector__frames=0,
        train__processes=0,
        train__optim__clip_norm=0.0,
        train__optim__ema=0.0,
        train__optim__projector_scale=0.0,
        mesh__data=0,
        mesh__coordinator="",
        motifs__exemplars=0,
        profile=0,
    )
    assert config.mesh.data == 0


def test_fields_that_are_not_given_are_the_defaults_and_those_are_legal():
    assert configs.from_config_dict({}) == configs.StudyConfig()
    assert build() == configs.StudyConfig()


def test_a_lone_number_is_a_tuple_of_one_as_ever():
    assert configs.from_config_dict({"sweep": {"seeds": 3}}).sweep.seeds == (3,)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_no_rule_refuses_a_config_of_the_repository(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert configs.from_config_dict(module.get_config()).name


def test_configs_are_checked_without_jax():
    code = "import sys; from mpjax import config; config.from_config_dict({'profile': 1}); "
    code += "assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_command_line_names_a_wrong_value_in_one_line(tmp_path):
    command = [sys.executable, "-m", "mpjax.train", "--config=configs/ci.py"]
    done = subprocess.run(
        [*command, "--config.mesh.model=0", f"--workdir={tmp_path}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 1
    assert done.stderr == "error: config.mesh.model must be 1 or more, got 0\n"
    assert done.stdout == ""
