# make demo: install, run the main job end to end on the synthetic cohort, say where the report is.
# make test: install what tests need too, then lint, types, layers and all tests but the slow ones.
# make slow: those. CI (.ci/run) runs both, the wheel, and a small study.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# The first of these that runs: a name on the path need not.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
  $$name -c '$(SUPPORTED)' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
WORKDIR ?= out/demo
# libtpu is installed to compile for TPUs, not to look for one on this machine.
export JAX_PLATFORMS ?= cpu

.PHONY: demo test slow portable lint bench notebooks install dev clean

demo: install
	$(BIN)/python -m mpjax.study --config=configs/demo.py --workdir=$(WORKDIR)

PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# Quick tests compile much and compute little: their programs are not optimised. Slow ones' are.
UNOPTIMISED := --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true

test: lint
	XLA_FLAGS="$(UNOPTIMISED) $(XLA_FLAGS)" $(PYTEST) -m "not slow"

slow: dev
	$(PYTEST) -m slow

# What another machine may have: an old processor, one core, x264 without assembly, another time
# zone and locale, and tests in another order. Nothing may rest on these. Needs Linux.
portable: dev
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target=out/portable pytest-randomly
	taskset -c 0 env XLA_FLAGS=--xla_cpu_max_isa=SSE4_2 MPJAX_X264="asm=0:threads=1" \
	  PYTHONHASHSEED=random TZ=Asia/Kathmandu LC_ALL=C PYTHONPATH=out/portable \
	  $(BIN)/python -m pytest -m "not slow" $(TESTS)

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: dev
	$(BIN)/python tests/benchmarks/bench_i3d.py
	$(BIN)/python tests/benchmarks/bench_swin.py
	$(BIN)/python tests/benchmarks/bench_loader.py
	$(BIN)/python tests/benchmarks/bench_synthetic.py

notebooks: dev
	$(BIN)/python tests/helpers/notebook_files.py

# [dev] includes [prep]: once it is there, `make demo` installs nothing, and keeps it.
install: $(VENV)/$(if $(wildcard $(VENV)/dev.stamp),dev,prep).stamp

dev: $(VENV)/dev.stamp

$(VENV)/%.stamp: pyproject.toml constraints.txt
	@'$(PYTHON)' -c '$(SUPPORTED)' 2>/dev/null || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; name yours: make PYTHON=/path/to/python3.12"; exit 1; }
	'$(PYTHON)' -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip  # an old one takes three times as long
	$(BIN)/python -m pip install -c constraints.txt -e '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) out
