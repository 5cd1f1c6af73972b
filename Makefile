# Everything happens in .venv, inside the checkout; nothing else needs to be installed but python3 and make.
PYTHON ?= python3
# The oldest Python that we support, where there is one.
OLDEST ?= $(or $(lastword $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python)),$(PYTHON))
# The Pythons beside it; 3.14 as tests/bench/unpack-python.sh unpacks it.
OTHERS ?= $(foreach version,3.10 3.12 3.13 3.14,$(lastword $(wildcard $(HOME)/.pyenv/versions/$(version).*/bin/python build/python$(version)/usr/bin/python$(version))))
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

help:
	@echo "make demo       run real programs, and see what they would tell their maintainers"
	@echo "make test       run the tests"
	@echo "make test-model run 10,000 random lives of senders against what docs/spool.md promises"
	@echo "make test-wheel run the foreground's tests on the wheel that users install"
	@echo "make test-all   run everything: the wheel too, the oldest OpenTelemetry we support, the slow matrices"
	@echo "make tracers    install Sentry, ddtrace and others, from which the exporters hide their keys"
	@echo "make destinations  install Segment's own destinations, by which our messages are judged (needs node)"
	@echo "make frozen     install PyInstaller, shiv and others, which pack programs that tests then run"
	@echo "make front-end  make the charts of the pages of otel-usage serve, from npm's packages"
	@echo "make test-pages run the tests of the pages, in a real browser (Debian: apt-get install chromium)"
	@echo "make screenshots  write docs/screenshots/"
	@echo "make lint       ruff and mypy"
	@echo "make bench      measure what we promise, beside others"
	@echo "make programs   install real programs from PyPI, some fifty, for make bench-outside"
	@echo "make bench-outside  run real programs with us and without, and compare"
	@echo "make docs       write the generated parts of docs/"
	@echo "make collector  build the OpenTelemetry Collector of collector-config/ (needs Go)"
	@echo "make helm       build helm, by which the chart of deploy/helm/ is tested (needs Go)"

$(VENV)/installed: pyproject.toml requirements-dev.txt requirements-frameworks.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[instrument,relay,server]' -r requirements-dev.txt
	$(BIN)/python -m compileall -q $(VENV)/lib otel_usage exporters || true
	@touch $@

# Node is on the path, or comes with requirements-dev.txt.
FRONT_END := otel_usage/serve/pages/assets/echarts.js
$(FRONT_END): $(VENV)/installed front-end/build.py front-end/charts.js front-end/package.json front-end/package-lock.json
	$(BIN)/python front-end/build.py
	@touch $@

install: $(VENV)/installed $(FRONT_END)

front-end: $(FRONT_END)

demo: install
	$(BIN)/otel-usage demo

test: install
	$(BIN)/python -m pytest -n 3

# The wheel, unpacked as an installer does, with the tests beside it. It comes before the source tree on the path, for
# programs that tests start in other folders too.
test-wheel: install
	rm -rf build/wheel build/wheel-suite
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w build/wheel .
	$(BIN)/python -m zipfile -e build/wheel/*.whl build/wheel-suite
	cp -r tests docs examples pyproject.toml README.md build/wheel-suite
	$(BIN)/python -m compileall -q build/wheel-suite/otel_usage
	cd build/wheel-suite && PYTHONPATH="$(CURDIR)/build/wheel-suite" ../../$(BIN)/python -m pytest -n 3 tests/recording tests/consent tests/house/test_imports.py tests/house/test_public.py

# The first OpenTelemetry that pyproject.toml allows, on the first Python where it is found, in an environment of its own. It
# has no declarative configuration.
test-oldest:
	mkdir -p build
	$(OLDEST) -m venv build/oldest
	cp requirements-frameworks.txt build/oldest
	grep -v opentelemetry-configuration requirements-dev.txt > build/oldest/requirements.txt
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check -e '.[instrument,relay,server]' -r build/oldest/requirements.txt -c tests/oldest.txt
	build/oldest/bin/python -m pytest -n 2 tests/exporters tests/delivery tests/outside tests/server

# Random lives of senders, beyond the 2,000 of the suite: see tests/delivery/world.py.
test-model: install
	$(BIN)/python -m tests.bench.model 10000

# What is recorded of every framework, on the other Pythons. Debian's have no ensurepip: our pip installs for them.
test-frameworks: install
	for python in $(OTHERS); do \
		folder=build/frameworks-$$(basename $$(dirname $$(dirname $$python)))-$$(basename $$python) && \
		$$python -m venv --without-pip $$folder && \
		$(BIN)/python -m pip --python $$folder/bin/python install --quiet --disable-pip-version-check -e . pytest pytest-timeout PyYAML click typer -r requirements-frameworks.txt && \
		$$folder/bin/python -m pytest -q -p no:cacheprovider tests/recording/test_frameworks.py tests/recording/test_second_parser.py tests/recording/test_optparse.py || exit 1; \
	done

test-all: test-wheel test-oldest test-frameworks tracers destinations frozen programs helm
	OTEL_USAGE_SLOW=1 $(BIN)/python -m pytest -n 2 -o timeout=900

# Tools that watch a program's HTTP requests, for tests/exporters/test_tracers.py.
tracers: install
	$(PYTHON) -m venv build/tracers
	build/tracers/bin/python -m pip install --quiet --disable-pip-version-check -e . -r requirements-tracers.txt

# The code of Segment's own destinations, for tests/exporters/test_segment_destinations.py. Needs node.
destinations:
	mkdir -p build/destinations
	cp tests/exporters/destinations/package.json tests/exporters/destinations/package-lock.json build/destinations
	cd build/destinations && npm ci --ignore-scripts --no-audit --no-fund --silent

# What packs programs, with the wheel that users install, for tests/outside/test_frozen.py. Nuitka needs gcc and patchelf.
frozen: install
	rm -rf build/frozen-wheel
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w build/frozen-wheel .
	$(PYTHON) -m venv --clear build/frozen
	build/frozen/bin/python -m pip install --quiet --disable-pip-version-check build/frozen-wheel/*.whl -r requirements-frozen.txt

# A browser that is missing is a failure here; in `make test` those tests are skipped.
test-pages: install
	OTEL_USAGE_BROWSER=required $(BIN)/python -m pytest tests/serve/pages

screenshots: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pillow
	$(BIN)/python -m docs.screenshots

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	$(BIN)/python -m tests.bench

# Real programs, in the versions that tests/outside/programs/*.txt pin, in a few environments of their own; those of one of them
# once more beside us, for opentelemetry-instrument.
programs:
	for list in tests/outside/programs/*.txt; do \
		$(PYTHON) -m venv build/programs/$$(basename $$list .txt) && \
		build/programs/$$(basename $$list .txt)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $$list || exit 1; \
	done
	$(PYTHON) -m venv build/programs/click-instrumented
	build/programs/click-instrumented/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/outside/programs/click.txt
	build/programs/click-instrumented/bin/python -m pip install --quiet --disable-pip-version-check -e '.[instrument]'

bench-outside: install programs
	$(BIN)/python -m tests.bench outside

docs: install
	$(BIN)/python docs/generate.py

collector:
	sh collector-config/build.sh

helm:
	sh deploy/helm/build.sh

clean:
	rm -rf $(VENV) build dist

.PHONY: help install demo test test-model test-wheel test-oldest test-all tracers destinations frozen programs test-frameworks front-end test-pages screenshots lint bench bench-outside docs collector helm clean
