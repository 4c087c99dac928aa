# Everything a fresh machine with Python and make needs.
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# Processes that run tests; `auto` decides by cores and memory.
JOBS ?= auto
SECONDS ?= 600
SEED ?= $(shell od -An -N4 -tx4 /dev/urandom | tr -d ' ')
RUNTIME ?= embedded
BENCH_ARGS ?=
MLFLOW ?=
BIN := $(VENV)/bin
UV := $(BIN)/uv

# Without bytecode every command would compile its imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo up test programs campaign check lint golden lock reference screens docs dist bench clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1	/' | expand -t 12

demo: $(VENV)/.demo ## set up, bring a stack up, run a Kedro project against it
	$(BIN)/provision up --no-link
	$(BIN)/provision demo demo-project

up: $(VENV)/.demo ## set up and bring the default stack up
	$(BIN)/provision up

test: $(VENV)/.dev ## set up and run all tests, each that fails once more by itself at the end
	$(BIN)/python -m pytest -n $(JOBS) --rerun-failed $(PYTEST_ARGS)

programs: $(VENV)/.dev ## build MinIO and Pebble for the tests, with Go, in some minutes; kept for later runs
	$(BIN)/python -m tests.support.go_programs

campaign: $(VENV)/.dev ## do to a stack what happens to one, and fuzz its routes, at random: SECONDS, SEED, RUNTIME
	$(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/campaign -k "$(RUNTIME)" --require-runtime $(RUNTIME) --campaign $(SECONDS) --seed $(SEED) $(PYTEST_ARGS)

check: lint ## linters, types and unit tests, in two minutes
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

lint: $(VENV)/.dev ## linters and types alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck .ci/run deploy/lock.sh tests/images/engine.sh

golden: $(VENV)/.dev ## render the default stack and the golden files anew; read the diff
	$(BIN)/provision render .
	$(BIN)/python -m pytest tests/unit/runtimes/test_golden.py --update-golden

lock: $(VENV)/.dev ## resolve the server's requirements anew; MLFLOW=VERSION takes another MLflow
	MLFLOW="$(MLFLOW)" UV=$(abspath $(UV)) deploy/lock.sh

reference: $(VENV)/.dev ## write the generated parts of docs/reference anew; read the diff
	$(BIN)/python -m docs.generate

screens: $(VENV)/.dev ## write the terminal sessions and the picture in the docs anew; needs Docker and chromium; read the diff
	$(BIN)/python -m pytest tests/e2e -k screen --update-screens --require-runtime docker

docs: $(VENV)/.dev ## build the docs as a site in dist/docs; a link that leads nowhere fails
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs dist/docs

dist: $(VENV)/.dev ## build wheel and sdist in dist, check them, and run the program from the wheel alone
	rm -f dist/*.whl dist/*.tar.gz
	$(BIN)/python -m build --installer uv --outdir dist
	$(BIN)/twine check --strict dist/*.whl dist/*.tar.gz
	$(UV) run --quiet --isolated --no-project --python $(BIN)/python --with dist/*.whl provision render --check --stack .

bench: $(VENV)/.dev ## measure the server beside `mlflow server`, in half an hour; needs wrk, chromium, minio
	$(BIN)/python -m bench $(BENCH_ARGS)

clean: ## remove what make made here (no stack, no data)
	rm -rf $(VENV) demo-project dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .failures

$(VENV)/.uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	touch $@

$(VENV)/.demo: $(VENV)/.uv pyproject.toml
	$(UV) pip install --quiet --python $(BIN)/python -e '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.demo pyproject.toml
	$(UV) pip install --quiet --python $(BIN)/python -e '.[demo]' --group dev
	touch $@
