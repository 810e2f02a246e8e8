"""The notebooks of `colab/`: each runs from top to bottom, and is kept light beside its script.

With MPJAX_COLAB_PYTHON, the Python of an environment like Colab's, they run there and install mpjax
by their own cell, as in CI.
"""

import json
import os
import re
import zipfile

import nbformat
import notebook_files
import pytest
from notebook_files import NAMES

LARGEST = 200_000  # bytes
COLAB = os.environ.get("MPJAX_COLAB_PYTHON")
# Of another machine than a user's: home and build folders, and the addresses of pages on them.
PLACES = re.compile(r"/work/|/tmp/|/root/|/home/|site-packages")


def committed(name):
    return nbformat.read(notebook_files.FOLDER / f"{name}.ipynb", as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook):
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_every_notebook_is_a_pair_of_script_and_notebook():
    for suffix in ("py", "ipynb"):
        assert {p.stem for p in notebook_files.FOLDER.glob(f"*.{suffix}")} == set(NAMES), suffix


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_agrees_with_its_script(name):
    script, notebook = notebook_files.read(name), committed(name)
    parts = [
        [(cell.id, cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in each.cells]
        for each in (script, notebook)
    ]
    assert parts[0] == parts[1], f"run: python tests/helpers/notebook_files.py {name}"
    assert notebook.metadata == script.metadata


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_was_run_to_its_end_and_is_light(name):
    path = notebook_files.FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < LARGEST
    cells = code_of(committed(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert len(outputs) >= 4
    assert not [output for output in outputs if output.output_type == "error"]
    assert not PLACES.findall(path.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_keeps_what_colab_has_and_installs_no_tensorflow(name):
    installs = re.findall(r"%pip install.*", "\n".join(c.source for c in code_of(committed(name))))
    # No constraints: they would change the runtime's numpy, pandas and JAX.
    assert installs[0] == '%pip install --quiet "./{source}[prep]" "{runtime}"'
    assert "tensorflow" not in "".join(installs)


def test_what_is_large_is_dropped_and_the_folder_is_not_told(tmp_path):
    new = nbformat.v4
    outputs = [
        new.new_output("stream", name="stdout", text=f"written {tmp_path}/out/report.html\n"),
        new.new_output("stream", name="stderr", text="decoding: 100%|████| 2/2 [00:00]\n"),
        new.new_output("display_data", data={"text/html": "x" * notebook_files.LARGEST_OUTPUT}),
    ]
    notebook = new.new_notebook(cells=[new.new_code_cell("", outputs=outputs)])
    notebook_files.lighten(notebook, tmp_path)
    assert [output.text for output in notebook.cells[0].outputs] == [
        "written /content/out/report.html\n",
        notebook_files.NOT_KEPT + "\n",
    ]


@pytest.mark.slow
def test_the_quickstart_runs_from_top_to_bottom(tmp_path):
    notebook = notebook_files.execute("quickstart", tmp_path, python=COLAB)
    shown = [output for cell in code_of(notebook) for output in cell.outputs]
    frames = [each for each in shown if "<iframe" in each.get("data", {}).get("text/html", "")]
    assert len(frames) == 1
    metrics = json.loads((tmp_path / "out" / "demo" / "metrics.json").read_text())
    assert metrics["leak"]["animals"] == 0
    assert metrics["drug"]["summary"][0] in printed(notebook)


@pytest.mark.slow
def test_your_videos_runs_from_top_to_bottom_on_drawn_ones(tmp_path):
    notebook = notebook_files.execute("your_videos", tmp_path, python=COLAB)
    told = printed(notebook)
    assert "No videos were given" in told
    assert "row 2, column day, value 'three': must be a whole number of days" in told
    with zipfile.ZipFile(tmp_path / "out" / "mine" / "results.zip") as archive:
        names = set(archive.namelist())
    assert {"report.html", "metrics.json", "predictions.csv", "recordings.csv"} <= names


@pytest.mark.slow
def test_scaling_runs_from_top_to_bottom_and_a_killed_run_ends_like_an_unbroken_one(tmp_path):
    told = printed(notebook_files.execute("scaling", tmp_path, python=COLAB))
    assert "8 x cpu" in told
    assert "ended with -9" in told
    assert re.search(r"parameters: (\d+) of \1 arrays equal", told)
    assert "metric log: equal" in told
    if COLAB is None:
        assert re.search(r"embed, v5e:2x2: mesh {'data': 2, 'model': 2}, fully sharded", told)
    else:  # without libtpu
        assert told.strip().endswith("libtpu is not installed: run  %pip install 'mpjax[aot]'")
