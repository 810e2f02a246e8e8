"""The console command: every binary is a subcommand, help teaches, exit statuses pass through."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from absl import app, flags

from mpjax import __main__ as command
from mpjax import cli
from mpjax.cli import commands

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("jax", "pandas", "numpy", "absl", "ml_collections", "flax", "matplotlib", "scipy", "av")


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", "mpjax", *words], capture_output=True, text=True, cwd=ROOT
    )


def modules_loaded_by(code):
    code += "; import sys; print(' '.join(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n")[-2].split())


def test_every_binary_is_a_subcommand_and_every_subcommand_a_binary():
    sources = [
        path.relative_to(ROOT).with_suffix("")
        for room in ("mpjax", "data_prep")
        for path in (ROOT / room).rglob("*.py")
        if 'if __name__ == "__main__"' in path.read_text()
    ]
    binaries = {".".join(path.parts).removesuffix(".__main__") for path in sources}
    binaries -= {"mpjax", "mpjax.interop.stablehlo_loader"}  # the command itself; a file to copy
    assert set(commands.MODULES.values()) == binaries
    assert len(commands.MODULES) == len(binaries)


def test_importing_the_package_loads_nothing_heavy():
    assert not modules_loaded_by("import mpjax") & set(HEAVY)


def test_help_of_the_command_loads_nothing_heavy():
    code = "from mpjax import __main__ as command; text = command.describe(); assert 'init' in text"
    assert not modules_loaded_by(code) & set(HEAVY)


def test_the_projector_is_still_a_name_of_the_package():
    import mpjax

    assert callable(mpjax.load_projector)
    with pytest.raises(AttributeError, match="no attribute 'bogus'"):
        _ = mpjax.bogus


def test_help_tells_all_commands_and_a_labs_path_in_order():
    text = command.describe()
    for name in commands.MODULES:
        assert re.search(rf"^  {name} +\S.{{10,}}$", text, re.MULTILINE), name
    path = [text.index(f"  mpjax {name} ") for name in ("init", "check", "study", "predict")]
    assert path == sorted(path)
    assert max(map(len, text.splitlines())) <= 100


def test_an_unknown_command_is_one_error_with_the_nearest_name():
    done = run("stduy")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: mpjax has no command 'stduy'; did you mean `mpjax study`?\n"


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mpjax {importlib.metadata.version('mpjax')}\n"


def test_the_script_of_the_package_is_this_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"mpjax": "mpjax.__main__:main"}
    assert callable(command.main)


def test_help_of_a_subcommand_is_that_of_its_binary_and_short():
    done = run("study", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Runs a whole study: `mpjax study COHORT.csv --workdir=out/mine`")
    for word in ("--workdir=…", "Required.", "config.video", "--config.SECTION.FIELD=VALUE"):
        assert word in done.stdout
    assert "chex" not in done.stdout  # flags of libraries, of which absl's help is full
    assert len(done.stdout.splitlines()) < 60


def test_exit_status_and_error_of_a_binary_pass_through(tmp_path):
    by_command = run("check", f"{tmp_path}/gone.csv")
    assert by_command.returncode == 1
    assert by_command.stderr == f"error: {tmp_path}/gone.csv: no such file\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("check",), "name one file, as FILE or --cohort=FILE; got none"),
        (("study", "a.csv", "b.csv", "--workdir=w"), "give one cohort; got a.csv and b.csv"),
        (("init",), "name one folder of videos; got none"),
        (("predict", "v.mp4", "--model=m"), "the flag --out=… is required"),
        (("predict", "--modl=m"), "Unknown command line flag 'modl'. Did you mean: model ?"),
    ],
)
def test_a_wrong_command_line_is_one_error_with_the_way_to_help(words, told):
    done = run(*words)
    assert done.returncode == 1
    assert told in done.stderr
    assert "--help" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_file_is_named_by_a_word_or_by_a_flag_and_not_by_both():
    values = flags.FlagValues()
    named = flags.DEFINE_string("cohort", "", "Table.", flag_values=values)
    values(["program"])
    assert cli.one_word(["a.csv"], named) == "a.csv"
    assert cli.one_word([], named) == ""
    values(["program", "--cohort=b.csv"])
    assert cli.one_word([], named, needed=True) == "b.csv"
    with pytest.raises(app.UsageError, match=r"--cohort=FILE; got a\.csv and b\.csv"):
        cli.one_word(["a.csv"], named)


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        (
            "--config.video.strid=64",
            "config.video.strid: no such field; config.video has fps, ",
        ),
        ("--config.foo=3", "config.foo: no such field; config has baselines, "),
        ("--config.video=3", "config.video is a section, no single field; it has fps, frames, "),
        ("--config.motifs.run=maybe", "config.motifs.run: expected bool, got 'maybe'"),
        ("--config.video.frames=x", "config.video.frames: expected int, got 'x'"),
    ],
)
def test_a_setting_that_does_not_exist_is_one_clear_error(flag, told, tmp_path):
    done = run("embed", flag, f"--workdir={tmp_path}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("study", "--workdir=w"), ("embed", "--workdir=w"), ("train", "--workdir=w"),
        ("explain", "--workdir=w"), ("eval", "--workdir=w"), ("synthetic", "--out=w"),
        ("build", "--cohort=c.csv", "--out=w"), ("check", "c.csv"), ("aot", "--topology=v5e:2x2"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_config_that_there_is_not_is_one_line_with_the_names_that_there_are(words):
    for flags_of_config in (["--config=nope"], ["--config", "configs/nope.py"]):
        done = run(*words, *flags_of_config)
        assert done.returncode == 1
        name = flags_of_config[-1].removeprefix("--config=")
        assert done.stderr.startswith(f"error: {name}: no such config file; shipped ones, by name:")
        assert "ci, demo, " in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("named", [["--config=nope"], ["--config=ci"], ["--config", "ci"]])
def test_a_shipped_config_is_named_from_any_folder(named, tmp_path):
    command = [sys.executable, "-m", "mpjax", "embed", *named, f"--workdir={tmp_path / 'w'}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1
    told = "no such config file" if named == ["--config=nope"] else "no finished dataset"
    assert told in done.stderr


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("baseline=bsoid", "config.baseline is now config.baselines.bsoid (true or false)"),
        ("projector.turns=4", "config.projector.turns is now config.projector.rotations"),
    ],
)
def test_an_old_name_of_a_setting_is_one_error_that_says_the_new_one(flag, told, tmp_path):
    done = run("embed", f"--config.{flag}", f"--workdir={tmp_path}")
    assert (done.returncode, done.stderr.split("\n")[0]) == (1, f"error: {told}")
    name, value = flag.split("=")
    path = tmp_path / "config.py"
    path.write_text(
        "from mpjax.config import StudyConfig, to_config_dict\n\n\ndef get_config():\n"
        "    config = to_config_dict(StudyConfig())\n"
        f"    config.{name} = {value!r}\n    return config\n"
    )
    done = run("embed", f"--config={path}", f"--workdir={tmp_path}")
    assert (done.returncode, done.stderr) == (1, f"error: {told}\n")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("def get_config(:", "SyntaxError: invalid syntax"),
        ("import nosuchmodule", "ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("x = 1", "no attribute 'get_config'"),
        ("def get_config():\n    return 3", "fields and values are expected, not 3"),
        ("video,animal\na.mp4,m1", "NameError: name 'video' is not defined"),
    ],
)
def test_a_config_that_is_none_is_told_in_one_line(tmp_path, content, told):
    path = tmp_path / "config.py"
    path.write_text(content)
    done = run("check", "cohort.csv", f"--config={path}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["init", "check"])
def test_a_command_without_its_package_says_what_to_install(tmp_path, command):
    code = (
        "import sys; sys.modules['pandera'] = None\n"
        "from mpjax.__main__ import main\n"
        f"main(['{command}', 'cohort.csv'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith("; pip install 'mpjax[prep]'\n")
    assert len(done.stderr.splitlines()) == 1
