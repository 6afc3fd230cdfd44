# What there is to do here. `make` lists it; each target sets up what it needs and does so once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements-dev.lock
NODE_STAMP := tests/javascript/node_modules/.installed

# The first Python on the PATH that is new enough; `make serve PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)

# Folders that exist: a fresh branch may lack one of them.
SOURCES = $(wildcard waooaw tests bench)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: serve
serve: $(VENV)/.runtime ## run the service here (make serve ARGS="--port 9000")
	@exec $(BIN)/wowevent serve $(ARGS)

# Over several processes, see tests/conftest.py; in one: make test ARGS="-n 0 -k pattern --pdb".
.PHONY: test
test: develop ## run the tests (make test ARGS="-k pattern -x")
	@$(BIN)/python -m pytest --numprocesses=auto $(ARGS)

.PHONY: check
check: $(VENV)/.development ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)

.PHONY: fmt
fmt: $(VENV)/.development ## repair what the linter can, and format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: bench
bench: develop ## measure (make bench ARGS="--help")
	@$(BIN)/python -m bench $(ARGS)

# The numbers of these runs are in tests/fault/parameters.py. A run prints its seed: make fault FAULT_SEED=1234 repeats it.
.PHONY: fault
fault: develop ## break it at length: kills, cuts, stuck readers, full disks (make fault FAULT_ROUNDS=500 ARGS="-k kill")
	@FAULT=long $(BIN)/python -m pytest --override-ini timeout=3600 --capture=no tests/fault $(ARGS)

.PHONY: lock
lock: $(BIN)/python ## pin the dependencies anew where pyproject.toml asks for it (all of them: ARGS=--upgrade)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev \
		--custom-compile-command "make lock" $(ARGS) --output-file $(LOCK) pyproject.toml

.PHONY: clean
clean: ## remove everything that the other targets made
	rm -rf $(VENV) tests/javascript/node_modules build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up -------------------------------------------------------------------------------------------------------------

.PHONY: develop
develop: $(VENV)/.development $(NODE_STAMP) ## set up everything that the tests need

$(BIN)/python:
	@if ! $(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo 'Python 3.11 or newer is needed; name one with PYTHON=/path/to/python.' >&2; exit 1; fi
	@if ! $(PYTHON) -m venv $(VENV); then rm -rf $(VENV); \
		echo 'Python cannot make a virtual environment: on Debian and Ubuntu, install python3-venv.' >&2; exit 1; fi

# The runtime alone: what a user of the service needs, at the versions that the tests ran with.
$(VENV)/.runtime: pyproject.toml $(LOCK) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint $(LOCK) --editable .
	@touch $@

# Everything is pinned by the lock, so the package itself is added without asking for its dependencies again.
$(VENV)/.development: pyproject.toml $(LOCK) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@ $(VENV)/.runtime

$(NODE_STAMP): tests/javascript/package.json tests/javascript/package-lock.json tests/install-system-packages
	tests/install-system-packages
	npm ci --prefix tests/javascript --ignore-scripts --no-progress
	@touch $@
