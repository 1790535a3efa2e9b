# The tasks of a developer. Everything runs in .venv, which `make install` makes where it is missing.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo test test-slow check format bench

install: $(INSTALLED)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(INSTALLED): $(BIN)/python pyproject.toml infra/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c infra/constraints.txt -e '.[dev]'
	@touch $@

demo: install
	$(BIN)/headwater run demo

test: install
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder --durations 15

test-slow: install
	$(BIN)/python -m pytest -m slow

check: install
	$(BIN)/ruff format --check flows components tests
	$(BIN)/ruff check flows components tests
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layout.py
	$(BIN)/python docs/generate.py --check

format: install
	$(BIN)/ruff check --fix flows components tests
	$(BIN)/ruff format flows components tests

bench: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c infra/constraints.txt -e '.[bench]'
	for benchmark in tests/benchmarks/*.py; do $(BIN)/python $$benchmark || exit 1; done
