"""Names of the binaries as subcommands of `mpjax`, in the order of `mpjax --help`.

Only the standard library is imported here, so that help is printed at once.
"""

import ast
import importlib.util
import re
from pathlib import Path

GROUPS: dict[str, dict[str, str]] = {
    "start here": {
        "init": "data_prep.template",
        "check": "data_prep.cohort",
        "study": "mpjax.study",
        "predict": "mpjax.predict",
    },
    "stages of a study, one by one": {
        "synthetic": "data_prep.synthetic",
        "build": "data_prep.build",
        "embed": "mpjax.embed",
        "train": "mpjax.train",
        "explain": "mpjax.explain",
        "eval": "mpjax.eval",
    },
    "tools": {
        "rate": "mpjax.rate",
        "weights": "mpjax.weights",
        "convert": "mpjax.convert",
        "export": "mpjax.export",
        "aot": "mpjax.aot",
    },
}
MODULES = {name: module for group in GROUPS.values() for name, module in group.items()}


def purpose(module: str) -> str:
    """Returns the first sentence of a binary's docstring, from its source without an import."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{module}: no such module; install mpjax again")
    source = Path(spec.origin)
    if spec.submodule_search_locations is not None:  # a package: what `python -m` of it runs
        source = source.with_name("__main__.py")
    doc = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return re.sub(r"(: `python -m .*|\.)$", "", doc.split("\n")[0])


def as_typed(text: str) -> str:
    """Returns `text` with `python -m MODULE` of a binary written as its subcommand."""
    names = {f"python -m {module}": f"mpjax {name}" for name, module in MODULES.items()}
    return re.sub(
        r"python -m (?:mpjax|data_prep)\.\w+", lambda match: names.get(match[0], match[0]), text
    )
