# What can be done here. Every target sets up what it needs: a .venv in this folder.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Test processes side by side; a file's tests stay in one. Beyond the cores they only disturb.
JOBS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where it is set, each of the tens of processes of a run would compile torch and the rest again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup pilot test lint bench clean

help:
	@echo "make pilot   set up and run the whole two-stage job, offline, in minutes"
	@echo "make test    set up and run every test (JOBS=2 processes)"
	@echo "make lint    ruff, mypy, import contracts"
	@echo "make bench   the benchmarks that this machine can run"
	@echo "make clean   remove .venv and caches (state under CFT_HOME stays)"

setup: $(READY)

# The stamp is written last, so an interrupted installation is taken up again. pip would compile
# every module on one core, most of them for nobody: whoever imports one first does it instead.
$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or set PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "error: venv failed; on Debian and Ubuntu install python3.11-venv"; rm -rf $(VENV); exit 2; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@

pilot: setup
	$(BIN)/cft pilot $(ARGS)

test: setup
	$(BIN)/python -m pytest --numprocesses $(JOBS) $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers $(JOBS)
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m tests.benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
