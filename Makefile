# Everything a developer runs. Each target first brings the set-up up to date, which takes a second when there is nothing to do.

PYTHON3 ?= python3
SETUP := $(PYTHON3) .ci/setup.py
BIN := .venv/bin
NOTEBOOK := notebooks/00_quickstart.ipynb
# JupyterLab refuses to start as root without it: containers run as root.
ALLOW_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

# With this variable set, each of a hundred processes would compile torch again, which takes five seconds; without it, bytecode is cached.
unexport PYTHONDONTWRITEBYTECODE

.NOTPARALLEL:
.PHONY: help setup atari fast-python demo check test test-all lab doctor clean binder badges
.PHONY: setup-tests setup-gil lint format types layers fast lanes alone whole parallel gil test-gil golden

# Number of test processes. Tests that share an expensive resource run in one process (xdist_group); long tests start first (tests/conftest.py).
# Three on two cores, since a test of a page mostly waits for the page.
LANES ?= 3
PYTEST := python -m pytest -q
IN_LANES := -n $(LANES) --dist loadgroup --no-loadscope-reorder

help:
	@echo "make demo      set up, then train in a notebook, headless: out/quickstart.html, out/graph.svg, out/curve.png"
	@echo "make lab       set up, then open that notebook in JupyterLab"
	@echo "make check     lint, types, layers and the fast tests: 2 minutes, before each commit"
	@echo "make test      set up, then what CI runs: 12 minutes on two cores; with an ordinary CPython 3.12 or 3.13 at hand, the core there too"
	@echo "make test-all  every test there is: chaos, soaks, all tutorials in JupyterLab, the whole suite on the ordinary CPython"
	@echo "make test-gil  only the whole suite on the ordinary CPython"
	@echo "make setup     the interpreter, the environment .venv, the Jupyter kernel (variables: the top of .ci/setup.py)"
	@echo "make atari     set up, and build ALE for free-threaded Python, once per machine (make test does it too)"
	@echo "make fast-python  compile CPython with a profile, once per machine: a step of CartPole takes a quarter less time"
	@echo "make doctor    what this machine and environment look like to reactornb, and what to mend"
	@echo "make binder    walk repo2docker's steps without a container, and run the tutorials in 2 GB and on one core"
	@echo "make badges    write the README's Binder badges for a public address: make badges REPO=owner/name"
	@echo "make clean     remove .venv, .venv-gil, out and the caches in the repository (the interpreter's build stays)"

setup:
	@$(SETUP)

atari:
	@$(SETUP) --atari

fast-python:
	@$(SETUP) --fast

setup-tests:
	@$(SETUP) --tests

demo: setup
	@$(BIN)/reactornb demo --out out

lab: setup
	@$(BIN)/jupyter lab $(ALLOW_ROOT) --MultiKernelManager.default_kernel_name=reactornb $(NOTEBOOK)

binder:
	@$(PYTHON3) binder/check.py --walk

badges:
	@test -n "$(REPO)" || { echo "make badges REPO=owner/name: the public address of the repository, as GitHub spells it"; exit 2; }
	@$(PYTHON3) binder/badges.py $(REPO)

doctor: setup
	@$(BIN)/reactornb doctor

# -k: continue after a failure, so that one run shows all of them; the exit status is still that of a failure.
check: setup-tests
	@$(MAKE) -k --no-print-directory lint format types layers fast

test: setup-tests
	@$(MAKE) -k --no-print-directory lint format types layers lanes alone gil

test-all: setup-tests
	@$(MAKE) -k --no-print-directory lint format types layers whole parallel test-gil

lint:
	$(BIN)/ruff check

format:
	$(BIN)/ruff format --check

types:
	$(BIN)/mypy

layers:
	$(BIN)/lint-imports

fast:
	$(BIN)/$(PYTEST) $(IN_LANES) -m "not slow and not e2e and not soak"

lanes:
	$(BIN)/$(PYTEST) $(IN_LANES) -m "not soak and not alone"

alone:
	$(BIN)/$(PYTEST) -m "alone and not soak"

# One lane, so that a failure cannot come from a test that runs beside it.
whole:
	$(BIN)/python -m pytest --durations 40

# Runs each of these tests on four threads at once: programs are declared, assembled and run concurrently in one process.
parallel:
	$(BIN)/python -m pytest tests/model tests/runtime -m "not slow" --parallel-threads 4 --skip-thread-unsafe true

# For a change that is meant to change fingerprints; the commit says why.
golden: setup
	PYTHONPATH=tests/reference $(BIN)/python tests/golden/golden_programs.py >/dev/null

setup-gil:
	@$(SETUP) --gil

# Tests whose result could differ on the other build: the model, the runtime, Lingua Franca, and the fingerprints, which must be equal.
gil: setup-gil
	@if [ -x .venv-gil/bin/python ]; then set -x; .venv-gil/bin/$(PYTEST) $(IN_LANES) -m "not soak" \
		tests/model tests/runtime tests/lf tests/reference tests/golden; fi

test-gil: setup-gil
	@if [ -x .venv-gil/bin/python ]; then set -x; .venv-gil/bin/python -m pytest -m "not e2e"; fi

clean:
	rm -rf .venv .venv-gil out dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
