# Two commands: `make demo` and `make test`. Both set up .venv by themselves; a second run takes seconds.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
VIEWERS := tests/viewers/node_modules/.package-lock.json

.PHONY: demo test check unit lint peers viewers clean help

help:
	@echo "make demo   set up, then radiographs in and bones back, on an embedded node and archive"
	@echo "make test   set up, then every test that this machine can run"
	@echo "make check  ruff, mypy --strict, import-linter and the unit tests"
	@echo "make clean  remove the virtual environment and what the demo wrote"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Osteon needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install -q pip; } || \
	  { rm -rf $(VENV); echo "No virtual environment could be made: install python3-venv (Debian, Ubuntu)"; exit 1; }

$(STAMP): pyproject.toml | $(BIN)/python
	@echo "Installing Osteon into $(VENV) (once; a few minutes)"
	@$(BIN)/python -m pip install -q torch==2.13.0
	@$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/osteon demo

# Without npm, or without its registry, the tests that need a viewer skip and say so.
test: $(STAMP)
	@! command -v npm >/dev/null || $(MAKE) --no-print-directory viewers || true
	@$(BIN)/python -m pytest

$(VIEWERS): tests/viewers/package-lock.json
	@echo "Installing the viewers that the tests open results in (once; npm, 60 MB)"
	@cd tests/viewers && npm ci --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error
	@touch $@

viewers: $(VIEWERS)

check: lint unit

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

unit: $(STAMP)
	@$(BIN)/python -m pytest tests/unit

peers: $(STAMP) $(VIEWERS)
	@OSTEON_REQUIRE_PEERS=1 $(BIN)/python -m pytest

clean:
	rm -rf $(VENV) demo-output test-pictures tests/viewers/node_modules
