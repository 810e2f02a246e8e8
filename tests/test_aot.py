import importlib.util
import json
import os
import subprocess
import sys

import pytest

TOY = """\
from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.video.frames = 4
    config.projector.kind = "swin"
    config.projector.weights = "random"
    config.projector.dtype = "bfloat16"
    config.projector.size = 32
    config.projector.batch_size = 8
    config.projector.architecture.embed_dim = 32
    config.projector.architecture.depths = (2,)
    config.projector.architecture.num_heads = (2,)
    config.projector.architecture.window = (2, 4, 4)
    config.train.what = "all"
    config.train.batch_size = 8
    return config
"""


@pytest.fixture
def toy(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(TOY)
    return path


def aot(config, *arguments):
    command = [sys.executable, "-m", "mpjax.aot", f"--config={config}", *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topology=v9:2x2"], "topology 'v9:2x2': no data for chip 'v9'; choose v4"),
        (
            ["--topology=v5e:2x2", "--programs=fly"],
            "no program 'fly' with config.train.what=all; choose train, eval, embed",
        ),
        (
            ["--topology=v5e:2x2", "--config.train.what=probe", "--programs=train"],
            "no program 'train' with config.train.what=probe; choose embed",
        ),
    ],
)
def test_what_does_not_exist_is_refused_with_the_choices(toy, arguments, message):
    done = aot(toy, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is here")
def test_without_libtpu_the_message_says_how_to_get_it(toy):
    done = aot(toy, "--topology=v5e:2x2")
    assert done.returncode == 1
    assert "pip install 'mpjax[aot]'" in done.stderr


@pytest.mark.slow
def test_the_real_steps_compile_for_a_tpu_that_is_not_there(toy, tmp_path):
    pytest.importorskip("libtpu")
    done = aot(toy, "--topology=v5e:2x2", f"--json={tmp_path / 'figures.json'}")
    assert done.returncode == 0, done.stderr[-2000:]
    reports = {one["program"]: one for one in json.loads((tmp_path / "figures.json").read_text())}
    assert set(reports) == {"train", "eval", "embed"}
    assert all(one["fits"] and one["mesh"] == {"data": 4, "model": 1} for one in reports.values())
    train = reports["train"]
    assert set(train["costs"]["collectives"]) == {"all-reduce"}
    # An eighth of it is the kernel's, which XLA takes as declared.
    assert train["costs"]["flops"] / train["clips"] > 0.9 * train["model_flops"]
    assert 0 < train["roofline"]["mfu"] <= 1
    assert "train, v5e:2x2: mesh {'data': 4, 'model': 1}, 2 clips per chip" in done.stdout


@pytest.mark.slow
def test_an_unknown_slice_is_refused(toy):
    pytest.importorskip("libtpu")
    done = aot(toy, "--topology=v5e:3x17")
    assert done.returncode == 1
    assert "topology 'v5e:3x17': unknown to libtpu" in done.stderr
