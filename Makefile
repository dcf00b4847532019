# Everything starts from nothing: each target makes what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup run test test-rows test-slurm test-chaos test-wandb test-networks lint type bench docs-errors clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## make .venv and install

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,analysis]'
	@touch $@

run: $(STAMP) ## the main job: explain, turn and explain again the sample photos
	$(BIN)/python run.py

test: $(STAMP) ## all tests, in two processes of one thread each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-rows: $(STAMP) ## rows of five explainers beside those stored before the frame was rebuilt; minutes
	OMP_NUM_THREADS=1 $(BIN)/python tests/before/compare.py

test-slurm: $(STAMP) ## sweeps on a SLURM that this installs (Debian, root), starts and stops
	bash tests/slurm/install.sh
	OMP_NUM_THREADS=1 unshare --net --pid --fork --kill-child --mount-proc \
		$(BIN)/python -m pytest -m slurm tests/slurm

test-wandb: $(STAMP) ## sweeps against a W&B server that is slow, broken, deaf or down
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m wandb tests/tracking

test-chaos: $(STAMP) ## sweeps that are killed, put to sleep and left without disk; minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m chaos tests/sweep/test_chaos.py

test-networks: $(STAMP) ## methods on many networks of timm and torchvision; minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m networks tests

lint: $(STAMP) ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(STAMP) ## types, strict
	$(BIN)/mypy

bench: $(STAMP) ## measure; writes benchmarks/results/*.json
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/packing.py
	$(BIN)/python benchmarks/lrp.py
	$(BIN)/python benchmarks/lime.py
	$(BIN)/python benchmarks/explainers.py
	$(BIN)/python benchmarks/processes.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/coverage.py

docs-errors: $(STAMP) ## docs/errors.md, from the code
	$(BIN)/python docs/make_errors.py

clean: ## remove .venv and caches, keep results
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
