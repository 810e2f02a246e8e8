import pytest
from absl import app

from mpjax import weights
from mpjax.models.weights import public


def test_list_tells_of_every_checkpoint_and_which_are_here(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(public.files, "sha256", lambda path: "7615ae03" + "0" * 56)
    (tmp_path / "swin3d_t-7615ae03.pth").write_text("")
    (tmp_path / "swin3d_s-da41c237.pth").write_text("")  # of another hash
    weights.run("list", cache=str(tmp_path))
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert {row.name for row in public.PUBLIC} | {"kinetics400"} < lines.keys()
    assert lines["swin3d_t"].split()[1:5] == ["Kinetics-400", "77.7", "121.5", "yes"]
    assert lines["swin3d_s"].split()[1:5] == ["Kinetics-400", "79.5", "218.3", "-"]
    assert lines["uas_k700"].split()[1:5] == ["Kinetics-700", "-", "-", "-"]
    assert "built in" in lines["kinetics400"]


def test_get_prints_the_path_and_the_next_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(public.files, "sha256", lambda path: "7615ae03" + "0" * 56)
    path = tmp_path / "swin3d_t-7615ae03.pth"
    path.write_text("")  # here already: nothing is downloaded
    weights.run("get", "swin3d_t", cache=str(tmp_path))
    first, following = capsys.readouterr().out.splitlines()
    assert first == str(path)
    assert following.startswith("next: python -m mpjax.study ")
    assert following.endswith(f"--config.projector.weights={path}")


def test_a_name_that_does_not_exist_is_told_with_the_choices(tmp_path):
    with pytest.raises(ValueError, match=r"'swin3d_l'; there are swin3d_t, .*uas_k700"):
        weights.run("get", "swin3d_l", cache=str(tmp_path))


@pytest.mark.parametrize("words", [(), ("get",), ("fetch", "swin3d_t"), ("list", "all")])
def test_other_words_are_told_the_usage(words):
    with pytest.raises(app.UsageError, match="write `list` or `get NAME`"):
        weights.run(*words)
