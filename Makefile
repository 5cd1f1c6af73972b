# Everything happens in .venv, inside the checkout; nothing else needs to be installed but python3 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

help:
	@echo "make demo       run real programs, and see what they would tell their maintainers"
	@echo "make test       run the tests"
	@echo "make lint       ruff and mypy"
	@echo "make bench      measure what we promise, beside others"
	@echo "make docs       write the generated parts of docs/"
	@echo "make collector  build the OpenTelemetry Collector of collector-config/ (needs Go)"

$(VENV)/installed: pyproject.toml requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[instrument,relay]' -r requirements-dev.txt
	$(BIN)/python -m compileall -q $(VENV)/lib otel_usage exporters || true
	@touch $@

install: $(VENV)/installed

demo: install
	$(BIN)/otel-usage demo

test: install
	$(BIN)/python -m pytest -n 2

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	$(BIN)/python -m tests.bench

docs: install
	$(BIN)/python docs/generate.py

collector:
	sh collector-config/build.sh

clean:
	rm -rf $(VENV) build dist

.PHONY: help install demo test lint bench docs collector clean
