# Weir. `make` lists the targets; every target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready$(if $(WEIR_PURE),-pure)
BENCH_READY := .bench-venv/.ready
PYTEST := $(BIN)/pytest
SEED ?= 1
COUNT ?= 200000

.DEFAULT_GOAL := help
.PHONY: help setup servers run up down test test-unit test-servers drill drill-mutants fuzz lint bench bench-guard profile \
  clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

$(INSTALLED): requirements.lock pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Weir needs Python 3.11 or newer: install it, or name it: make PYTHON=python3.12'; exit 69; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Says so where it cannot compile, which pip keeps to itself; nothing to do where pip has just compiled. With WEIR_PURE=1
# the core becomes plain Python, and compiled again without it.
$(READY): $(INSTALLED) $(shell find schemas services -name '*.py')
	@rm -f $(VENV)/.ready $(VENV)/.ready-pure
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

setup: $(READY) ## Python packages into .venv, as locked, and the hot core compiled (plain Python without a C compiler)

servers: ## Kafka, Mosquitto and InfluxDB into the cache (once, a few minutes)
	deploy/local/install.sh

run: $(READY) servers ## Start everything, replay real data, show it live; Ctrl-C ends all of it
	@$(BIN)/weir up

up: $(READY) servers ## The same in the background; ready when it returns
	@$(BIN)/weir up --detach

down: $(READY) ## Stop what `make up` started
	@$(BIN)/weir down

test: test-unit test-servers ## All tests: the fast ones, then those against the real servers

test-unit: $(READY) ## Tests of the pure core (under a minute)
	$(PYTEST) tests -m 'not slow' -n 2

test-servers: $(READY) servers ## Tests against real Kafka, Mosquitto and InfluxDB, and the fault tests
	$(PYTEST) tests -m slow -n 2 --dist loadfile --durations=15

fuzz: $(READY) ## Hostile input: 200,000 messages (SEED=, COUNT=), what they cost as they grow, and what invented names cost
	$(BIN)/python -m tests.hostile.fuzz --seed $(SEED) --count $(COUNT)
	$(BIN)/python -m tests.hostile.growth
	$(BIN)/python -m tests.hostile.memory

drill: $(READY) servers ## Every fault under load, then the account (half an hour): make drill SEED=1; report in .run/drill.md
	@$(BIN)/python -m tests.faults.drill --output .run/drill.md $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

drill-mutants: $(READY) servers ## Break each promise on purpose, and expect the drill's short form to see it (20 min)
	@$(BIN)/python -m tests.faults.drill.mutants

lint: $(READY) ## Format, lint, types, dependency directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

$(BENCH_READY): bench/requirements.txt
	@$(PYTHON) -m venv .bench-venv
	.bench-venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.txt
	@touch $@

bench: $(READY) $(BENCH_READY) servers ## Weir beside its rivals, over two hours (QUICK=1: small, 5 minutes) -> docs/performance.md
	@$(BIN)/python -m bench $(if $(QUICK),--quick) $(if $(ROWS),--rows $(ROWS))

bench-guard: $(READY) servers ## Fails where Weir became dearer beside a plain loop than bench/guard.json says (2 minutes)
	@$(BIN)/python -m bench.guard

profile: $(READY) $(BENCH_READY) servers ## Flame graphs of bridge, stream and sink -> bench/profiles
	@$(BIN)/python -m bench.profile bridge stream sink

clean: down ## Remove what was built and run here (not the servers' cache)
	rm -rf $(VENV) .bench-venv .run .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info services/core.json
	find services -name '*.so' -delete
