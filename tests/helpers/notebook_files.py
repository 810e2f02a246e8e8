"""The notebooks of `colab/`: read from their scripts, executed, and made light.

Run:   python tests/helpers/notebook_files.py [NAME …]
       writes colab/NAME.ipynb from colab/NAME.py, executed: with MPJAX_FAST=1 at tiny settings,
       otherwise at those that a user gets.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "colab"
NAMES = ("quickstart", "your_videos", "scaling")
LARGEST_OUTPUT = 50_000  # bytes of JSON; a larger one is dropped before the notebook is kept
NOT_KEPT = "Not kept in this file: run the notebook to see it."
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_BAR = re.compile(r"^.*\d+%\|.*$\n?", re.MULTILINE)  # a progress bar's last state


def read(name):
    """Returns the notebook that a script makes: nothing in it depends on when it was made."""
    notebook = jupytext.read(FOLDER / f"{name}.py")
    notebook.metadata = nbformat.from_dict(METADATA)
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"
        cell.metadata.pop("lines_to_next_cell", None)
    return notebook


def execute(name, folder, *, timeout=600, tiny=True, python=None):
    """Executes a notebook in `folder`; returns it with outputs.

    By this Python and this mpjax, or by `python`: there the notebook installs mpjax, unless it is
    there, from sources that lie beside it.
    """
    notebook = read(name)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPJAX_FAST": "1" if tiny else "0"}
    if python is not None:
        del environment["PYTHONPATH"]
        shutil.copytree(ROOT, folder / "mpjax-source", ignore=_made_here, symlinks=True)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        km=_kernel(folder, python or sys.executable),
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
    )
    client.execute(env=environment)
    return notebook


def _made_here(folder, names):
    top = ("out", "build", "dist") if Path(folder) == ROOT else ()
    return [name for name in names if name.startswith(".") or name in ("__pycache__", *top)]


def _kernel(folder, python):
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python 3", "language": "python"}
    (folder / ".kernels" / "python3").mkdir(parents=True, exist_ok=True)
    (folder / ".kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    found = KernelSpecManager(kernel_dirs=[str(folder / ".kernels")])
    return AsyncKernelManager(kernel_name="python3", kernel_spec_manager=found)


def lighten(notebook, folder):
    """Drops what is large, progress bars and the folder's name from an executed notebook."""
    notebook.metadata = nbformat.from_dict(METADATA)  # executing tells of the very Python
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        kept = []
        for output in cell.outputs:
            if output.output_type == "stream":
                text = _BAR.sub("", output.text)
                output.text = text.replace(f"{folder}/", "/content/").replace(str(ROOT), "mpjax")
                if not output.text.strip():
                    continue
            if len(json.dumps(output)) > LARGEST_OUTPUT:
                output = nbformat.v4.new_output("stream", name="stdout", text=NOT_KEPT + "\n")
            kept.append(output)
        cell.outputs = kept
    return notebook


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=NAMES)
    for name in parser.parse_args().names:
        with tempfile.TemporaryDirectory() as folder:
            tiny = os.environ.get("MPJAX_FAST") == "1"
            notebook = lighten(execute(name, Path(folder), timeout=3600, tiny=tiny), folder)
        path = FOLDER / f"{name}.ipynb"
        nbformat.write(notebook, path)
        print(path, path.stat().st_size, "bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
