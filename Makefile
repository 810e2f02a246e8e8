# make demo: install, run the main job end to end on the synthetic cohort, say where the report is.
# make test: install, then lint, types, layers and all tests but the slow ones.
# make slow: those. CI (.ci/run) runs both, the wheel, and a small study.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
WORKDIR ?= out/demo
# libtpu is installed to compile for TPUs, not to look for one on this machine.
export JAX_PLATFORMS ?= cpu

.PHONY: demo test slow lint bench notebooks install clean

demo: install
	$(BIN)/python -m mpjax.study --config=configs/demo.py --workdir=$(WORKDIR)

PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST) -m "not slow"

slow: install
	$(PYTEST) -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python tests/benchmarks/bench_i3d.py
	$(BIN)/python tests/benchmarks/bench_swin.py
	$(BIN)/python tests/benchmarks/bench_loader.py
	$(BIN)/python tests/benchmarks/bench_synthetic.py

notebooks: install
	$(BIN)/python tests/helpers/notebook_files.py

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name yours: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) out
