# Two commands on a fresh machine that has Python 3.11 (3.11.4 or later), 3.12 or 3.13: `make demo` and `make test`.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13,$(shell $(p) --version >/dev/null 2>&1 && echo $(p))) python3.11)
VENV ?= .venv
BIN := $(VENV)/bin
OUTPUT ?= demo_output

.PHONY: demo docs test test-all test-tfc lint clean FORCE
.DELETE_ON_ERROR:

# Four photographs through models and standard codecs; a page to look at, files and decoded pictures in $(OUTPUT).
demo: $(VENV)/linked
	$(BIN)/codec-zoo demo --output $(OUTPUT)

# The documentation in site/index.html; a broken link is an error.
docs: $(VENV)/linked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# A test file for each core.
test: lint
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

# Also the tests that take minutes, or need a browser or a second backend.
test-all: lint
	$(BIN)/python -m pytest -m ""

# Our coder, tables and exports against tensorflow-compression itself: each side decodes the other's strings. It runs on
# TensorFlow 2.14 and Python 3.11, in an environment of its own.
test-tfc: $(VENV)/linked $(VENV)-tfc/ready
	$(BIN)/python tests/tfc/against_original.py $(VENV)-tfc/bin/python

lint: $(VENV)/linked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/ready: requirements.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable . --config-settings editable_mode=strict
	touch $@

# A strict editable installation is a real codec_zoo/ of links, which editors and type checkers see. It knows the files
# that were there: a file that was added or removed since asks for another.
$(VENV)/linked: $(VENV)/ready FORCE
	@find zoo datasets export codecs harness cli -type f ! -name '*.pyc' | LC_ALL=C sort > $@.now
	@cmp -s $@ $@.now || $(BIN)/pip install --quiet --no-deps --no-build-isolation --editable . \
		--config-settings editable_mode=strict
	@mv $@.now $@
FORCE:

$(VENV)-tfc/ready:
	python3.11 -m venv $(VENV)-tfc
	$(VENV)-tfc/bin/pip install --quiet tensorflow-compression==2.14.1
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-tfc $(OUTPUT) build site *.egg-info
