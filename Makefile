# Two commands for a newcomer: `make demo` and `make test`. Each target builds .venv when absent.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
PEERS := .venv-peers
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check bench numbers lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements.lock requirements-torch.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "MUMA needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "could not make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "installing into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-torch.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## run the main job on the bundled short-video log
	@$(BIN)/muma demo

test: $(STAMP)  ## the default tests (under 10 minutes on 2 cores)
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

test-all: $(STAMP)  ## every test, the slow ones too
	$(BIN)/python -m pytest -q -n 2

check: $(STAMP)  ## format, lint, types, import contracts, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/architecture

$(PEERS)/.ready: benchmarks/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	touch $@

bench: $(STAMP) $(PEERS)/.ready  ## every benchmark, in full; writes benchmarks/results/
	$(BIN)/python benchmarks/run.py

numbers: $(STAMP)  ## put benchmarks/results/ into the README's table
	$(BIN)/python benchmarks/table.py

lock: $(STAMP)  ## resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --extra neural --extra ann --extra rank --extra mf --extra plot --extra serve --extra dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -q -c requirements-torch.txt --no-emit-package torch -o requirements.lock

clean:  ## remove what the targets made
	rm -rf $(VENV) $(PEERS) runs .pytest_cache .ruff_cache .hypothesis
