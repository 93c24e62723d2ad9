# The two commands a newcomer needs are `make demo` and `make test`.
# The first of these that is new enough; `make PYTHON=/path/to/python` names another.
NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach name,python3 python3.11 python3.12 python3.13,\
	$(shell $(name) -c '$(NEW_ENOUGH)' 2>/dev/null && echo $(name))) python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check

.PHONY: setup setup-dev demo test faults containers lint format bench bench-models clean

setup: $(VENV)/.demo
setup-dev: $(VENV)/.dev

$(BIN)/python:
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "StyleDiffuser needs Python 3.11 or newer, and" \
		"$(PYTHON) is not. Install python3.11, or say where one is:" \
		"make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual" \
		"environment. On Debian or Ubuntu: apt install python3-venv (for a python3.11 beside" \
		"the system's own: python3.11-venv); then run make again." >&2; exit 1; }

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "==> 1 of 2: torch (the largest: some minutes on a usual line, nothing is shown meanwhile)"
	@$(PIP) install --quiet torch==2.13.0 -c constraints.txt
	@echo "==> 2 of 2: server and worker (a minute or two)"
	@$(PIP) install --quiet -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "==> What tests, lint and training need besides (a minute or two)"
	@$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	@$(BIN)/python manage.py demo

test: setup-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# Every fault of docs/reliability.md on real processes, in rounds; exits 1 where a bar breaks.
ROUNDS ?= 3
faults: setup-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults --rounds $(ROUNDS)

# All services of docker-compose.yml as real processes, confined as it says; as root, on Debian.
containers: setup-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m containers tests/deploy

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r webgui generator_worker messaging models_core

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Needs Debian's nginx, openssh-server, gettext-base, nodejs and npm. BENCH=claims measures one.
bench: setup-dev
	$(BIN)/python -W ignore -m tests.bench $(BENCH) --out docs/benchmarks.md

bench-models: setup-dev
	$(BIN)/python -m models_core bench

clean:
	rm -rf $(VENV) var
