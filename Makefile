# `make demo` and `make test` set up .venv by themselves and do everything; `make help` lists the rest.

# The first of these that is Python 3.11 or newer; name another by `make PYTHON=...`.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done || true)
ifeq ($(strip $(PYTHON)),)
override PYTHON := python3
endif
# The oldest versions of the dependencies have wheels for the oldest Python; another one does where they are built.
OLDEST_PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo $(PYTHON))
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
INTEGRATIONS := .venv/.integrations
DOCS := .venv/.docs
# Written anew each time; those of the gallery stay, so that only what changed is run again.
SITE_PAGES := docs/repository docs/reference/python docs/reference/commands
OTHER := .venv-$(notdir $(PYTHON))
OTHER_INSTALLED := $(OTHER)/.installed
OLDEST := .venv-oldest
OLDEST_INSTALLED := $(OLDEST)/.installed
PIP_INSTALL = -m pip install --disable-pip-version-check
PIN := --constraint constraints.txt
# A worker has tests that stand together, which share what takes long to make; an idle one takes from another.
PYTEST := -m pytest -n $(PYTEST_WORKERS) --dist worksteal --durations=15

.DEFAULT_GOAL := help
.PHONY: help setup demo examples test test-integrations test-oldest test-python docs fuzz lint dist format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED) ## .venv with lossmith (editable) and the tools, without extras; the other targets call it

demo: $(INSTALLED) ## evolve a loss on digits with noisy labels, compare it with every tuned baseline
	$(BIN)/lossmith evolve --out $(DEMO_DIR) $(DEMO_EVOLVE)
	$(BIN)/lossmith compare $(DEMO_DIR)/best.json $(DEMO_COMPARE)

# Each in an empty directory, on one core; the first that fails ends it.
examples: $(INTEGRATIONS) ## run every script of examples/, from nothing to a first table
	@for example in examples/*.py; do \
	  echo "=== $$example"; work=$$(mktemp -d); \
	  (cd "$$work" && OMP_NUM_THREADS=1 $(CURDIR)/$(BIN)/python $(CURDIR)/$$example) || exit 1; \
	  rm -rf "$$work"; \
	done

# `make test COVERAGE=yes` measures coverage, too, and judges it by 95 % (pyproject.toml); that takes two fifths longer.
# Modules that only the extras can run count where those are: test-integrations judges them, and test all others.
COVERAGE ?=
EXTRAS := src/lossmith/attacks/library.py,src/lossmith/data/folder.py,src/lossmith/data/hub.py,src/lossmith/data/images.py,src/lossmith/data/pictures.py,src/lossmith/integrations/*.py,src/lossmith/study/frame.py,src/lossmith/training/executors/cluster.py,src/lossmith/training/executors/entrance.py,src/lossmith/training/executors/parcels.py,src/lossmith/training/executors/sources.py,src/lossmith/training/executors/tasks.py
COVERED := $(if $(COVERAGE),--cov --cov-report= --cov-fail-under=0)
# Nothing is judged where nothing was measured, or `-k` leaves tests out.
judged = $(if $(filter -k,$(PYTEST_ARGS))$(if $(COVERAGE),,-),@true,$(BIN)/python -m coverage report --show-missing $(1))

test: $(INSTALLED) ## all tests that need no extra; COVERAGE=yes judges the coverage of src, too (at least 95 %)
	$(BIN)/python $(PYTEST) $(COVERED) $(PYTEST_ARGS)
	$(call judged,--skip-covered --omit=$(EXTRAS))

test-integrations: $(INTEGRATIONS) ## the tests of the extras: hub, robust, Optuna, and libraries that train with a criterion
	$(BIN)/python $(PYTEST) -m integration $(COVERED) $(PYTEST_ARGS)
	$(call judged,--include=$(EXTRAS))

# Without what measures (benchmarks), reads the source tree (house) or shows (the pages): that does not depend on
# versions. What old versions say of still newer ones beside them is no error here.
test-oldest: $(OLDEST_INSTALLED) ## the core's tests with the oldest versions that pyproject.toml allows, torch aside
	$(OLDEST)/bin/python $(PYTEST) -W ignore::DeprecationWarning --ignore-glob='tests/test_benchmarks*' \
	  --ignore=tests/test_house.py --ignore=tests/test_docs.py --ignore=tests/test_readme.py $(PYTEST_ARGS)

# Not a part of the gate: a machine need not have another Python.
test-python: $(OTHER_INSTALLED) ## the core's tests with another Python, in a folder of its own: make test-python PYTHON=python3.13
	$(OTHER)/bin/python $(PYTEST) --ignore=tests/test_house.py --ignore=tests/test_docs.py $(PYTEST_ARGS)

# Not a part of the gate, which tries 300 inputs: 10,000 take about an hour on one core. Name a seed that nobody saw.
FUZZ ?= --count 10000 --seed 0
SIGNALS ?= --kills 100 --seed 0

fuzz: $(INTEGRATIONS) ## thousands of bad inputs and of signals at random moments: make fuzz FUZZ="--count 10000 --seed 1"
	PYTHONPATH=tools $(BIN)/python -m fuzz $(FUZZ)
	PYTHONPATH=tools $(BIN)/python -m fuzz.signals $(SIGNALS)

lint: $(INSTALLED) ## format check, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

dist: $(INSTALLED) ## source archive and wheel in dist/, checked; the wheel and the first pages' blocks outside the source tree
	.ci/dist

# Warnings are errors; what Sphinx does not check itself, such as files from a network, docsite.check does.
docs: $(DOCS) ## the documentation as a site, docs/_build/html/index.html; runs the gallery, and needs no network
	rm -rf docs/_build/html $(SITE_PAGES)
	$(BIN)/python -m sphinx --builder html --jobs 2 --nitpicky --fail-on-warning --keep-going --quiet \
	  --doctree-dir docs/_build/doctrees docs docs/_build/html
	PYTHONPATH=tools $(BIN)/python -m docsite.check docs/_build/html

format: $(INSTALLED) ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove .venv, caches and builds (not demo/)
	rm -rf .venv .venv-* build dist docs/_build docs/pictures docs/examples $(SITE_PAGES) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# Arguments: the folder, the package.
define cpu_build
	@index=$$($(1)/bin/python tools/torch_cpu_index.py $(TORCH_CPU_INDEX)); \
	if [ -n "$$index" ]; then \
	  echo "No GPU here: taking the CPU build of $(2) from $$index"; \
	  $(1)/bin/python $(PIP_INSTALL) $(PIN) --no-deps --extra-index-url "$$index" $(2) || echo "That did not work; pip chooses the build of $(2)"; \
	fi
endef

# Arguments: the folder, the Python.
define virtual_environment
	@$(2) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "lossmith needs Python 3.11 or newer, and '$(2)' is not that; name another: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12" >&2; exit 1; }
	@$(2) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(2)' cannot make virtual environments, since its module venv or ensurepip is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(1)/bin/python -m pip --version >/dev/null 2>&1 || { echo "Making $(1)"; $(2) -m venv --clear $(1); }
	$(call cpu_build,$(1),torch)
	$(1)/bin/python $(PIP_INSTALL) $(PIN) hatchling editables
endef

$(INSTALLED): pyproject.toml constraints.txt
	$(call virtual_environment,.venv,$(PYTHON))
	$(BIN)/python $(PIP_INSTALL) $(PIN) --no-build-isolation --editable '.[dev]'
	@touch $@

$(INTEGRATIONS): $(INSTALLED) tools/torchvision_import.py
	$(call cpu_build,.venv,torchvision)
	$(BIN)/python $(PIP_INSTALL) $(PIN) --no-build-isolation --editable '.[dev,integrations]'
	$(BIN)/python tools/torchvision_import.py
	@touch $@

$(DOCS): $(INSTALLED)
	$(BIN)/python $(PIP_INSTALL) $(PIN) --no-build-isolation --editable '.[dev,docs]'
	@touch $@

$(OTHER_INSTALLED): pyproject.toml constraints.txt
	$(call virtual_environment,$(OTHER),$(PYTHON))
	$(OTHER)/bin/python $(PIP_INSTALL) $(PIN) --no-build-isolation --editable '.[test]'
	@touch $@

$(OLDEST_INSTALLED): pyproject.toml constraints.txt tools/oldest.py
	$(call virtual_environment,$(OLDEST),$(OLDEST_PYTHON))
	$(OLDEST)/bin/python tools/oldest.py >$(OLDEST)/constraints.txt
	$(OLDEST)/bin/python $(PIP_INSTALL) --constraint $(OLDEST)/constraints.txt --no-build-isolation --editable '.[test]'
	@touch $@
