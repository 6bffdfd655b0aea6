# Rounds: every habit in one place. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
LSENV := .venv-labelstudio
BIN := $(VENV)/bin
ARGS ?=
PIP := -m pip --disable-pip-version-check install --quiet

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-unit fuzz lint bench bench-deid constraints screenshots clean

help: ## list every target
	@grep -hE '^[a-zA-Z_%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.ready $(LSENV)/.ready ## make both environments from the compiled constraints (under 5 minutes)

$(VENV)/.ready: pyproject.toml constraints/main.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -c constraints/main.txt -e '.[dev]'
	@touch $@

$(LSENV)/.ready: constraints/labelstudio.txt
	$(PYTHON) -m venv $(LSENV)
	$(LSENV)/bin/python $(PIP) -c constraints/labelstudio.txt label-studio gunicorn
	$(LSENV)/bin/python -I platform/rounds/stack/labelstudio_bootstrap.py --blank
	@touch $@

demo: setup ## take phantom scans once round the whole loop on the real parts (ARGS=--no-keep stops them after)
	$(BIN)/rounds demo $(ARGS)

test: setup ## run every test (ARGS= goes to pytest)
	$(BIN)/python -m pytest $(ARGS)

test-unit: setup ## run the unit tests alone, in seconds
	$(BIN)/python -m pytest tests/unit $(ARGS)

fuzz: setup ## see what ingest does with files that a fuzzer makes (ARGS='--seconds 300'); findings in build/fuzz
	$(BIN)/python -m tests.fuzz.run $(ARGS)

lint: setup ## ruff, mypy strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(patsubst tests/bench/bench_%.py,bench-%,$(wildcard tests/bench/bench_*.py)) ## run every benchmark; results in build/bench

bench-deid: setup $(if $(ROUNDS_BENCH_PYTHON),,build/rivals/.ready) ## score de-identification against three packages
	@mkdir -p build/bench
	ROUNDS_BENCH_PYTHON=$(or $(ROUNDS_BENCH_PYTHON),$(CURDIR)/build/rivals/bin/python) \
		$(BIN)/python tests/bench/bench_deid.py $(ARGS)

build/rivals/.ready: tests/bench/rivals.txt # an environment of their own: they never enter Rounds'
	$(PYTHON) -m venv build/rivals
	build/rivals/bin/python $(PIP) -r tests/bench/rivals.txt
	@touch $@

bench-%: setup ## run one benchmark, such as bench-resample
	@mkdir -p build/bench
	$(BIN)/python tests/bench/bench_$*.py $(ARGS)

constraints: ## compile the two constraints files anew (needs uv)
	uv pip compile --quiet --no-annotate --no-header --extra dev --python-version 3.11 pyproject.toml \
		| sed 's/+cpu//' | grep -v '^nvidia-' > constraints/main.new && mv constraints/main.new constraints/main.txt
	printf 'label-studio==1.23.2\ngunicorn\n' | uv pip compile --quiet --no-annotate --no-header --python-version 3.11 - \
		> constraints/labelstudio.new && mv constraints/labelstudio.new constraints/labelstudio.txt

screenshots: setup ## make the README's pictures from a running demo
	$(BIN)/python docs/screenshots.py $(ARGS)

clean: ## remove what make made
	rm -rf $(VENV) $(LSENV) build
