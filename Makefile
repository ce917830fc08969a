# Needs: Python 3.11 or later, pip, make, git. `make` alone says what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test check e2e sweep soak report-example mutants pythons bench docs refresh clean

PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
JOBS ?= 2
PYTHONS ?= $(foreach v,3.12 3.13 3.14,$(shell command -v python$(v)))
# The tests start hundreds of processes: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE
STRICT := daplug_supervisor/core/*,daplug_supervisor/formats/*,daplug_supervisor/views/*

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/installed  ## run examples/demo/plan.yaml: real processes, no account, no network
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	cp examples/demo/plan.yaml "$$folder"; cd "$$folder"; \
	$(BIN)/daplug-supervise plan.yaml --state-dir .daplug

# One more worker than processors: a test often waits for processes.
test: $(VENV)/installed-all  ## check, docs, then all tests with their coverage thresholds
	$(MAKE) check
	$(MAKE) docs
	mkdir -p build
	rm -f .coverage .coverage.*
	$(BIN)/pytest -n $$(($(JOBS) + 1)) --cov --cov-report=term --cov-fail-under=95 2>&1 | tee build/pytest.log
	$(BIN)/coverage report --include='$(STRICT)' --fail-under=100
	@tail -n 1 build/pytest.log

check: $(VENV)/installed-all  ## lint, format, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

e2e: $(VENV)/installed-all  ## drive the real provider CLIs (from npm) against a mock model (up to 6 minutes)
	$(BIN)/pytest -q -n $$((2 * $(JOBS))) --dist loadgroup tests/e2e --e2e

sweep: $(VENV)/installed-all  ## inject every fault of docs/promises.toml, in full (up to 45 minutes)
	HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -q -n $(JOBS) --dist worksteal -m "promise and not soak" --sweep --sweep-to=docs/sweep.json

soak: $(VENV)/installed-all  ## run 5,000 attempts in one supervisor, and look for leaks (up to 20 minutes)
	$(BIN)/pytest -q -m soak --sweep --sweep-to=docs/soak.json

night: $(VENV)/installed-all  ## simulate twenty bad nights, and print what they came to
	$(BIN)/python tests/simulation/night_figures.py

report-example: $(VENV)/installed-all  ## write the report of a made-up night to build/report-example.html
	PYTHONPATH=tests $(BIN)/python tests/report_example.py build/report-example.html

mutants: $(VENV)/installed-all  ## plant deliberate bugs, and see that the tests catch each
	$(BIN)/python -m tests.mutants --jobs $(JOBS)

pythons:  ## run what has real processes on the other Pythons that are found (PYTHONS="paths")
	for python in $(PYTHONS); do \
	  folder=build/pythons/$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  test -e $$folder/bin/daplug-supervise || { $$python -m venv $$folder; \
	    $$folder/bin/python -m pip install -q -e '.[test]'; }; \
	  $$folder/bin/pytest -q -n $(JOBS) tests/integration tests/simulation tests/faults; \
	done

bench: $(VENV)/installed-all  ## measure what the documents claim about speed
	$(BIN)/python -m tests.bench

docs: $(VENV)/installed-all  ## build the documents into docs/_build/html; warnings are errors
	$(BIN)/python docs/generate.py --check
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

refresh: $(VENV)/installed-all  ## write the generated parts of the documents and of CHANGELOG.md anew
	$(BIN)/python docs/generate.py

clean:  ## remove everything that was made here
	rm -rf $(VENV) build dist docs/_build .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache .hypothesis

# Where Python comes without ensurepip, its own pip installs into the environment from outside.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV) || $(PYTHON) -m venv --clear --without-pip $(VENV)

define install
	@echo "Installing $(1) into $(VENV) ..."
	@if test -e $(BIN)/pip; then pip="$(BIN)/python -m pip"; else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
	$$pip install --quiet --disable-pip-version-check -e '$(1)'
	@touch $@
endef

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(call install,.)

$(VENV)/installed-all: pyproject.toml | $(BIN)/python
	$(call install,.[test$(comma)check$(comma)docs])
	@touch $(VENV)/installed

comma := ,
