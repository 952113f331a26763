# What README, CI and a contributor's shell run. Everything happens in an environment of the project's own, .venv.
#   make demo     from an empty machine to a trained, measured model
#   make test     the same, to all tests
#   make help     the rest

PYTHON ?= python3
VENV ?= .venv
AWS_VENV ?= .venv-aws
AWSCLI ?= 'awscli>=1.44,<2'
BIN := $(VENV)/bin
STAMP := $(VENV)/.breedclf-installed
DEMO_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
SOAK_ARGS ?=
SPHINX_ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-aws awscli fuzz lint format types docs check soak bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make the environment (every target below does it by itself)

demo: $(STAMP) ## train, evaluate and predict on pictures drawn for the purpose (DEMO_ARGS="--data DIR --weights FILE")
	$(BIN)/breedclf demo $(DEMO_ARGS)

test: $(STAMP) ## run all tests (PYTEST_ARGS="-k config")
	$(BIN)/python -m pytest $(PYTEST_ARGS)

awscli: $(STAMP) ## install the AWS command line, which a test drives, in an environment of its own
	@test -x $(AWS_VENV)/bin/aws || { $(PYTHON) -m venv $(AWS_VENV) && \
		{ UV_SYSTEM_CERTS=1 $(BIN)/python -m uv pip install --quiet --python $(AWS_VENV)/bin/python $(AWSCLI) || \
		$(AWS_VENV)/bin/python -m pip install --quiet $(AWSCLI); }; }
	@$(AWS_VENV)/bin/aws --version

test-aws: $(STAMP) ## try a real AWS account, for some cents (BREEDCLF_TEST_AWS_ROLE, _BUCKET, _REGION)
	BREEDCLF_TEST_AWS=1 $(BIN)/python -m pytest --timeout 3600 tests/aws $(PYTEST_ARGS)

fuzz: $(STAMP) ## send 20,000 mutated requests to a server
	BREEDCLF_FUZZ_REQUESTS=20000 $(BIN)/python -m pytest --timeout 3600 tests/serving/test_fuzz.py

lint: $(STAMP) ## check format, style and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo

format: $(STAMP) ## rewrite the files in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(STAMP) ## check the types
	$(BIN)/mypy

docs: $(STAMP) ## build the pages into docs/_build; a warning is an error
	$(BIN)/python -m sphinx -E -W --keep-going -q $(SPHINX_ARGS) docs docs/_build
	@echo "docs: docs/_build/index.html"

check: lint types docs ## lint, types and docs

soak: $(STAMP) ## start, stop and kill 200 jobs at random moments; some minutes (SOAK_ARGS="--seed 1")
	$(BIN)/python -m tests.soak.jobs $(SOAK_ARGS)

bench: $(STAMP) ## run every benchmark; the figures depend on the machine (BENCH_ARGS=--json)
	@failed=; for file in $$(grep -l __main__ benchmarks/*.py); do \
		name=$$(basename $$file .py); echo "== $$name"; \
		$(BIN)/python -m benchmarks.$$name $(BENCH_ARGS) || failed="$$failed $$name"; \
	done; test -z "$$failed" || { echo "these missed a goal:$$failed" >&2; exit 1; }

clean: ## remove the environment and everything generated
	rm -rf $(VENV) $(AWS_VENV) docs/_build dist .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The environment is made anew when what it is made from changes. uv is quick; where it can't be had, pip does the same.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "breedclf needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@if $(BIN)/python -m pip install --quiet uv && $(BIN)/python -m uv --version; then \
		echo "installing breedclf with uv"; \
		UV_SYSTEM_CERTS=1 $(BIN)/python -m uv pip install --quiet --python $(BIN)/python -e '.[dev,docs]' -c constraints.txt; \
	else false; fi || { \
		echo "installing breedclf with pip"; \
		$(BIN)/python -m pip install --quiet -e '.[dev,docs]' -c constraints.txt; }
	@touch $@
