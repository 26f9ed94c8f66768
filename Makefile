# Everything a developer runs. Each target first brings the set-up up to date, which takes a second when there is nothing to do.

PYTHON3 ?= python3
SETUP := $(PYTHON3) .ci/setup.py
BIN := .venv/bin
NOTEBOOK := notebooks/00_quickstart.ipynb
# JupyterLab refuses to start as root without it: containers run as root.
ALLOW_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.NOTPARALLEL:
.PHONY: help setup atari demo test lab doctor clean binder badges setup-tests lint format types layers unit parallel test-gil

help:
	@echo "make demo      set up, then train in a notebook, headless: out/quickstart.html, out/graph.svg, out/curve.png"
	@echo "make lab       set up, then open that notebook in JupyterLab"
	@echo "make test      set up, then every check that CI runs; with an ordinary CPython 3.12 or 3.13 at hand, the suite there too"
	@echo "make test-gil  only the suite on the ordinary CPython"
	@echo "make setup     the interpreter, the environment .venv, the Jupyter kernel (variables: the top of .ci/setup.py)"
	@echo "make atari     set up, and build ALE for free-threaded Python, once per machine (make test does it too)"
	@echo "make doctor    what this machine and environment look like to reactornb, and what to mend"
	@echo "make binder    walk repo2docker's steps without a container, and run the tutorials in 2 GB and on one core"
	@echo "make badges    write the README's Binder badges for a public address: make badges REPO=owner/name"
	@echo "make clean     remove .venv, .venv-gil, out and the caches in the repository (the interpreter's build stays)"

setup:
	@$(SETUP)

atari:
	@$(SETUP) --atari

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

# -k: one run shows everything that is wrong; the exit status is still that of a failure.
test: setup-tests
	@$(MAKE) -k --no-print-directory lint format types layers unit parallel test-gil

lint:
	$(BIN)/ruff check

format:
	$(BIN)/ruff format --check

types:
	$(BIN)/mypy

layers:
	$(BIN)/lint-imports

unit:
	$(BIN)/python -m pytest

# Each of these tests on four threads at once: programs are declared, assembled and run side by side in one process.
parallel:
	$(BIN)/python -m pytest tests/model tests/runtime -m "not slow" --parallel-threads 4 --skip-thread-unsafe true

test-gil:
	@$(SETUP) --gil
	@if [ -x .venv-gil/bin/python ]; then set -x; .venv-gil/bin/python -m pytest -m "not browser"; fi

clean:
	rm -rf .venv .venv-gil out dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
