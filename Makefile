# `make demo` and `make test` set up .venv by themselves and do everything; `make help` lists the rest.

# The first of these that is Python 3.11 or newer; name another by `make PYTHON=...`.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done || true)
ifeq ($(strip $(PYTHON)),)
override PYTHON := python3
endif
# Asked for the CPU build of torch on a machine without a GPU; empty: never asked.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

DEMO_DIR ?= demo
DEMO_EVOLVE ?= --data digits --model mlp --hidden 128 --train-size 800 --label-noise 0.4 --space residual \
  --population 16 --generations 20 --replicates 3 --epochs 30 --batch-size 50 --lr 0.05 --seed 0
DEMO_COMPARE ?= --seeds 30

PYTEST_WORKERS ?= 2
PYTEST_ARGS ?=

BIN := .venv/bin
INSTALLED := .venv/.installed
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED) ## .venv with lossmith (editable) and all tools; the other targets call it

demo: $(INSTALLED) ## evolve a loss on digits with noisy labels, compare it with every tuned baseline
	$(BIN)/lossmith evolve --out $(DEMO_DIR) $(DEMO_EVOLVE)
	$(BIN)/lossmith compare $(DEMO_DIR)/best.json $(DEMO_COMPARE)

test: $(INSTALLED) ## all tests, with coverage of src (at least 95 %)
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --cov --cov-report=term-missing:skip-covered $(PYTEST_ARGS)

lint: $(INSTALLED) ## format check, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove .venv, caches and builds (not demo/)
	rm -rf .venv build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "lossmith needs Python 3.11 or newer, and '$(PYTHON)' is not that; name another: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments, since its module venv or ensurepip is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "Making .venv"; $(PYTHON) -m venv --clear .venv; }
	@index=$$($(BIN)/python tools/torch_cpu_index.py $(TORCH_CPU_INDEX)); \
	if [ -n "$$index" ]; then \
	  echo "No GPU here: taking the CPU build of torch from $$index"; \
	  $(PIP_INSTALL) --no-deps --extra-index-url "$$index" torch || echo "That did not work; pip chooses the build of torch"; \
	fi
	$(PIP_INSTALL) hatchling editables
	$(PIP_INSTALL) --no-build-isolation --editable '.[dev]'
	@touch $@
