# Every command brings what it needs; nothing but Python ≥ 3.11, make and pip has to be there.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
TESTS ?= tests
JOBS ?= 2

.PHONY: help run test check format bench crash tour fuzz fuzz-compat fuzz-archives bench-compat bench-archives \
        browser-tools permissions openapi lock containers clean

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

run: $(VENV)/.runtime  ## Start the platform; ARGS="--port 9000 --no-seed" goes to `loadstone up`.
	@exec $(BIN)/loadstone up $(ARGS)

test: $(VENV)/.dev  ## Run all tests in parallel against real engines.
	@$(BIN)/python scripts/system_packages.py chromium nginx
	@$(BIN)/python -m pytest $(TESTS) -n $(JOBS) --dist worksteal -q $(ARGS)

check: $(VENV)/.dev  ## Lint, types, import contracts, OpenAPI and migration checks.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python scripts/check_openapi.py
	@$(BIN)/python scripts/check_migrations.py
	@$(BIN)/python scripts/check_containers.py
	@$(BIN)/python scripts/check_docs.py

format: $(VENV)/.dev  ## Format the code and mend what can be mended.
	@$(BIN)/ruff check --fix -q . || true
	@$(BIN)/ruff format -q .

openapi: $(VENV)/.dev  ## Write docs/openapi.json anew after a deliberate change of the API.
	@$(BIN)/python scripts/check_openapi.py --write

permissions: $(VENV)/.dev  ## Print the table of operations and who may use them.
	@$(BIN)/python scripts/permissions.py

tour: $(VENV)/.dev  ## The whole way, real: import, register, publish, search, resolve, install, update.
	@$(BIN)/python scripts/tour.py $(ARGS)

bench: $(VENV)/.dev  ## Measure every speed that is promised, each against its limit in the same run.
	@$(BIN)/python scripts/system_packages.py nginx
	@$(BIN)/python -m bench $(ARGS)

bench-compat: $(VENV)/.dev  ## The solver against its oracles.
	@$(BIN)/python -m bench.compat $(ARGS)

bench-archives: $(VENV)/.dev  ## The archive gate against bare inflate and hash.
	@$(BIN)/python -m bench.archives $(ARGS)

crash: $(VENV)/.dev  ## kill -9 at random moments of upload, pipeline and install; nothing may be lost.
	@$(BIN)/python -m tests.crash $(ARGS)

fuzz-http: $(VENV)/.dev  ## Every operation with generated requests; no server error.
	@$(BIN)/python -m tests.http.fuzz_contract $(ARGS)

fuzz: fuzz-compat fuzz-archives fuzz-http  ## The long fuzz runs.

fuzz-compat: $(VENV)/.dev  ## Generated universes against both oracles.
	@$(BIN)/python -m tests.compat.fuzz $(ARGS)

fuzz-archives: $(VENV)/.dev  ## Mutated archives against the gate.
	@$(BIN)/python -m tests.archives.fuzz $(ARGS)

lock: $(VENV)/.dev  ## Pin all dependencies anew.
	@$(BIN)/python scripts/lock.py

clean:  ## Remove the virtual environment and caches; the data folder stays.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.runtime: requirements/runtime.lock pyproject.toml
	@$(PYTHON) scripts/bootstrap.py $(VENV) requirements/runtime.lock
	@touch $@

$(VENV)/.dev: requirements/dev.lock pyproject.toml
	@$(PYTHON) scripts/bootstrap.py $(VENV) requirements/dev.lock
	@touch $@ $(VENV)/.runtime
