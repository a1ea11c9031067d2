# Everything here sets itself up on a bare machine with Python 3.11+ and a network: no other tool is needed.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench chaos fuzz lock clean

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.runtime ## the package and what it needs, in .venv (leaves .venv/bin/bidloop)

demo: setup ## the whole loop on a simulated market: policies compared, a report, then the API (DEMO_SERVE=0 ends instead)
	$(BIN)/bidloop demo

test: $(VENV)/.dev ## every test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/.dev ## format, lint, types, import contracts
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n $(WORKERS) tests/docs

format: $(VENV)/.dev ## put the code in shape
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

bench: $(VENV)/.bench ## every benchmark, with its peer in the same run
	@for name in ctr training intervals late_conversions order_value rtb decide target_cpa spend_forecast allocation ingest features backfill; do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

chaos: $(VENV)/.dev ## the kill tests: events taken in and budgets raced for while everything is killed with -9, again and again
	$(BIN)/python -m benchmarks.chaos
	$(BIN)/python -m benchmarks.overspend

fuzz: $(VENV)/.dev ## 10,000 generated bad requests at the intake
	FUZZ_REQUESTS=10000 $(BIN)/python -m pytest -q -s --show-capture=no tests/app/test_http_events_fuzz.py

lock: $(VENV)/.dev ## resolve the dependencies anew into requirements/
	$(BIN)/python -m pip install -q pip-tools
	$(BIN)/pip-compile -q --upgrade --strip-extras --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --extra dev -o requirements/dev.lock pyproject.toml
	$(BIN)/pip-compile -q --strip-extras --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host -c requirements/dev.lock -o requirements/runtime.lock pyproject.toml
	sed -i 's/^\(torch==[0-9.]*\)+.*/\1/' requirements/*.lock

clean: ## forget the environment and what runs left behind
	rm -rf $(VENV) .bidloop .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python found; Bidloop needs Python 3.11 or newer on the PATH."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$$($(PYTHON) --version) found; Bidloop needs Python 3.11 or newer. Set PYTHON=/path/to/python3.11."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The package is installed without its dependencies, which the lock file has pinned; its bytecode is compiled once here,
# since imports are several times slower where the environment forbids writing it later.
$(VENV)/.runtime: $(BIN)/python requirements/runtime.lock pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements/runtime.lock
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -e .
	$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.lock
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements/dev.lock
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements/bench.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -r requirements/bench.txt
	@touch $@
