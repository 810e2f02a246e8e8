import hashlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mpjax import load_projector
from mpjax.io import files
from mpjax.models.swin import checkpoint as swin_files
from mpjax.models.weights import conversion
from tests.models.weights.test_torch_port import lora_tensors, official_state

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("licking", "rearing", "grooming", "still", "walking")  # the head has 5 classes


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_file(official_state(), path)
    return path


def names_file(tmp_path, names=NAMES):
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n\n")
    return str(tmp_path / "names.txt")


def test_the_directory_gives_what_the_checkpoint_gives(checkpoint, tmp_path):
    conversion.convert(str(checkpoint), tmp_path / "out")
    clips = np.random.default_rng(0).integers(0, 256, (1, 4, 12, 6, 3), np.uint8)
    direct, converted = (load_projector(str(p)) for p in (checkpoint, tmp_path / "out"))
    assert converted.fingerprint == direct.fingerprint
    assert converted.classes is None
    np.testing.assert_array_equal(converted.logits(clips), direct.logits(clips))


def test_provenance_tells_which_file_it_was(checkpoint, tmp_path):
    text = conversion.convert(str(checkpoint), tmp_path / "out")
    about = json.loads((tmp_path / "out" / "projector.json").read_text())
    content = checkpoint.read_bytes()
    assert about["provenance"] == {
        "source": "tiny.safetensors",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "layout": "official",
        "public_weights": None,
        "merged_lora": None,
        "mpjax": "0.1.0",
    }
    assert f"parameters  {load_size(tmp_path / 'out'):,}\n" in text
    assert "window 2x3x3" in text
    assert "classes     5: names not known" in text


def load_size(directory):
    import jax

    return sum(leaf.size for leaf in jax.tree.leaves(load_projector(str(directory)).params))


def test_converting_again_gives_the_same_description(checkpoint, tmp_path):
    for out in ("a", "b"):
        conversion.convert(str(checkpoint), tmp_path / out, classes=names_file(tmp_path))
    a, b = ((tmp_path / out / "projector.json").read_bytes() for out in ("a", "b"))
    assert a == b


def test_public_weights_are_recognised_by_their_hash(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "sha256", lambda path: "7615ae03" + "0" * 56)
    text = conversion.convert(str(checkpoint), tmp_path / "out")
    about = json.loads((tmp_path / "out" / "projector.json").read_text())
    assert about["provenance"]["public_weights"] == "swin3d_t"
    assert "7615ae0300000000…, swin3d_t\n" in text


def test_class_names_come_along_in_their_order(checkpoint, tmp_path):
    conversion.convert(str(checkpoint), tmp_path / "out", classes=names_file(tmp_path))
    assert load_projector(str(tmp_path / "out")).classes == NAMES


@pytest.mark.parametrize("names", [NAMES[:4], (*NAMES, "digging")])
def test_a_wrong_class_count_is_told_with_both_numbers(checkpoint, tmp_path, names):
    file = names_file(tmp_path, names)
    match = rf"names\.txt: names {len(names)} classes, but the checkpoint has a head of 5"
    with pytest.raises(ValueError, match=match):
        conversion.convert(str(checkpoint), tmp_path / "out", classes=file)
    assert not (tmp_path / "out").exists()


def test_names_for_a_checkpoint_without_a_head_are_refused(tmp_path):
    state = {k: v for k, v in official_state().items() if not k.startswith("cls_head")}
    save_file(state, tmp_path / "tiny.safetensors")
    with pytest.raises(ValueError, match="names 5 classes, but .* no classification head"):
        conversion.convert(
            str(tmp_path / "tiny.safetensors"), tmp_path / "out", classes=names_file(tmp_path)
        )


@pytest.mark.parametrize(("alpha", "kept"), [(None, 3.0), (6.0, 6.0)])
def test_adapters_are_merged_with_the_alpha_given(tmp_path, alpha, kept):
    save_file(official_state() | lora_tensors("qv", rank=3), tmp_path / "lora.safetensors")
    text = conversion.convert(
        str(tmp_path / "lora.safetensors"), tmp_path / "out", lora_alpha=alpha
    )
    about = json.loads((tmp_path / "out" / "projector.json").read_text())
    expected = {"targets": "qv", "rank": 3, "alpha": kept, "stages": "all"}
    assert about["provenance"]["merged_lora"] == expected
    assert f"LoRA        qv, rank 3, alpha {kept:g}, in stages: all" in text


def test_what_is_there_already_is_left_alone(checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(FileExistsError, match=r"out: exists already; delete it, or choose"):
        conversion.convert(str(checkpoint), tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_directory_needs_no_conversion(checkpoint, tmp_path):
    conversion.convert(str(checkpoint), tmp_path / "out")
    with pytest.raises(ValueError, match="out: a directory; give a .pth"):
        conversion.convert(str(tmp_path / "out"), tmp_path / "again")


def test_a_failure_at_the_last_moment_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    def fail(path, value):
        raise OSError("No space left on device")

    before = sorted(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(swin_files, "write_json", fail)
        with pytest.raises(OSError, match="No space left"):
            conversion.convert(str(checkpoint), tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "out").mkdir()  # an empty directory is as good as none
    conversion.convert(str(checkpoint), tmp_path / "out")
    assert load_projector(str(tmp_path / "out")).num_classes == 5


def resnet(tmp_path):
    state = {"conv1.weight": np.zeros((64, 3, 7, 7), "f4"), "fc.weight": np.zeros((10, 64), "f4")}
    save_file(state, tmp_path / "resnet50.pth")
    return "resnet50.pth"


def truncated(tmp_path):
    save_file(official_state(), tmp_path / "cut.pth")
    content = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    return "cut.pth"


class Runs:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def code(tmp_path):
    with zipfile.ZipFile(tmp_path / "code.pth", "w") as archive:
        archive.writestr("code/data.pkl", pickle.dumps({"state_dict": Runs()}))
    return "code.pth"


def missing(tmp_path):
    return "missing.pth"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (resnet, r"not a Video Swin.*conv1\.weight"),
        (truncated, "damaged or cut short"),
        (code, rf"it asks for {os.name}\.mkdir; refused"),
        (missing, "no such checkpoint"),
    ],
)
def test_a_wrong_checkpoint_is_one_clear_error(tmp_path, monkeypatch, make, message):
    monkeypatch.chdir(tmp_path)
    name = make(tmp_path)
    with pytest.raises((ValueError, OSError), match=rf"^{name}: .*{message}"):
        conversion.convert(name, "out")
    assert {p.name for p in tmp_path.iterdir()} <= {name}


def test_an_out_that_cannot_be_written_is_told(checkpoint, tmp_path):
    with pytest.raises(OSError, match=r"tiny\.safetensors/out: cannot be written"):
        conversion.convert(str(checkpoint), checkpoint / "out")


def test_a_directory_that_is_no_projector_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"no projector\.json in it"):
        load_projector(str(tmp_path))


def run_binary(*flags):
    return subprocess.run(
        [sys.executable, "-m", "mpjax.convert", *flags], capture_output=True, text=True, cwd=ROOT
    )


def test_the_binary_ends_with_the_truth(checkpoint, tmp_path):
    flags = (f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}")
    done = run_binary(*flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"--config.projector.weights={tmp_path / 'out'}" in done.stdout
    refused = run_binary(*flags)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1


def test_help_teaches():
    told = run_binary("--help").stdout
    for word in ("--checkpoint=FILE --out=DIR", "torchvision", "--lora_alpha", "--classes"):
        assert word in told


def test_a_word_that_is_no_flag_is_told(checkpoint, tmp_path):
    told = run_binary(f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}", "stray")
    assert told.returncode == 1
    assert "unexpected argument(s): stray" in told.stderr
    assert not (tmp_path / "out").exists()
