# Two commands on a fresh machine that has Python 3.11 (3.11.4 or later), 3.12 or 3.13: `make demo` and `make test`.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13,$(shell $(p) --version >/dev/null 2>&1 && echo $(p))) python3.11)
VENV ?= .venv
BIN := $(VENV)/bin
OUTPUT ?= demo_output

.PHONY: demo test test-all test-tfc lint clean
.DELETE_ON_ERROR:

# Compress, decompress and measure 24 real photographs; tables, figures and decoded pictures in $(OUTPUT).
demo: $(VENV)/ready
	$(BIN)/codec-zoo reproduce fu2019 --output $(OUTPUT)

# A test file for each core.
test: $(VENV)/ready lint
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

# Also the tests that take minutes, or need a browser or a second backend.
test-all: $(VENV)/ready lint
	$(BIN)/python -m pytest -m ""

# Our coder, tables and exports against tensorflow-compression itself: each side decodes the other's strings. It runs on
# TensorFlow 2.14 and Python 3.11, in an environment of its own.
test-tfc: $(VENV)/ready $(VENV)-tfc/ready
	$(BIN)/python tests/tfc/against_original.py $(VENV)-tfc/bin/python

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/types && $(BIN)/python setup.py --quiet build_py --build-lib build/types
	$(BIN)/mypy

$(VENV)/ready: requirements.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)-tfc/ready:
	python3.11 -m venv $(VENV)-tfc
	$(VENV)-tfc/bin/pip install --quiet tensorflow-compression==2.14.1
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-tfc $(OUTPUT) build *.egg-info
