# Two commands matter: `make run` (the whole system, simulated dormitory included) and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ONLY ?=
SEED ?= 7
WORKERS ?= 2
# a module is compiled when it is first imported, not at each start of a program
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check fmt lint types layers bench golden contract registers lock hardware hardware-tools campus rig soak clean postgres-test

$(READY): requirements.lock pyproject.toml .ci/prepare.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" bash .ci/prepare.sh
	@touch $@

## the main job: broker, backend, gateway and a simulated dormitory, until Ctrl-C
run: $(READY)
	@$(BIN)/campustap-sim demo --seed $(SEED)

## a day at a school, replayed on the whole stack and checked after every step
campus: $(READY)
	@$(BIN)/campustap-sim run campus-day --seed $(SEED)

## the training rig for installers, in a browser
rig: $(READY)
	@$(BIN)/campustap-sim rig

## an hour of a serial line that flips one bit in ten thousand, every value compared with the device
soak: $(READY)
	@$(BIN)/python -m tests.soak --minutes 60

## installs what the tests need, then runs all of them
test: $(READY)
	@bash .ci/test_needs.sh
	@bash hardware/tools.sh
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore tests/e2e --ignore tests/simulation
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/simulation tests/e2e

## the same tests against a PostgreSQL server of your own: make postgres-test CAMPUSTAP_TEST_POSTGRES=postgresql+psycopg://…
postgres-test: test

## the gate: format, lint, strict types, import contracts, tests
check: $(READY) lint types layers test

lint: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(READY)
	@$(BIN)/mypy

layers: $(READY)
	@$(BIN)/lint-imports

fmt: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

## figures into build/bench.json; one of them: make bench ONLY=name
bench: $(READY)
	@$(BIN)/python -m tests.bench $(ONLY)

## record the golden traces anew; then read the diff
golden: $(READY)
	@CAMPUSTAP_GOLDEN=record $(BIN)/python -m pytest tests/golden

## regenerate what is generated from the message types
contract: $(READY)
	@$(BIN)/python -m gateway.contract.schema

## regenerate what follows from the register maps: pages, C headers, the list of drivers
registers: $(READY)
	@$(BIN)/python -m hardware.generate

## pin the newest versions that pyproject.toml allows, with hashes
lock: $(READY)
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --generate-hashes --no-header --quiet \
		--python-version 3.11 --output-file requirements.lock

## the programs that the hardware checks drive
hardware-tools:
	@bash hardware/tools.sh

## every check of the folder an outlet is built from; drawings and solids go to build/hardware
hardware: $(READY) hardware-tools
	@$(BIN)/python -m hardware.workshop

clean:
	rm -rf $(VENV) build var
