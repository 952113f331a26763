# What README, CI and a contributor's shell run. Everything happens in an environment of the project's own, .venv.
#   make demo     from an empty machine to a trained, measured model
#   make test     the same, to all tests but the slow ones, which make test-slow runs
#   make test-debugger  the tests of smdebug, in an environment of their own, .venv-debugger: it needs old versions
#   make test-sdk2  SageMaker SDK v2 at the emulator, in an environment of its own, .venv-sdk2: its packages clash with v3's
#   make help     the rest

PYTHON ?= python3
VENV ?= .venv
AWS_VENV ?= .venv-aws
AWSCLI ?= 'awscli>=1.44,<2'
BIN := $(VENV)/bin
STAMP := $(VENV)/.breedclf-installed
DEBUGGER_VENV ?= .venv-debugger
DEBUGGER_STAMP := $(DEBUGGER_VENV)/.breedclf-installed
SDK2_VENV ?= .venv-sdk2
SDK2_STAMP := $(SDK2_VENV)/.breedclf-installed
PEERS_VENV ?= .venv-peers
PEERS_STAMP := $(PEERS_VENV)/.breedclf-installed
DEMO_ARGS ?=
PYTEST_ARGS ?=
TEST_PROCESSES ?= 2
BENCH_ARGS ?=
SOAK_ARGS ?=
SPHINX_ARGS ?=
comma := ,

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-slow test-debugger test-sdk2 test-ray test-aws awscli fuzz lint format types docs check soak bench bench-peers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make the environment (every target below does it by itself)

demo: $(STAMP) ## train, evaluate and predict on pictures drawn for the purpose (DEMO_ARGS="--data DIR --weights FILE")
	$(BIN)/breedclf demo $(DEMO_ARGS)

test: $(STAMP) ## run all but the slow tests, in two processes (PYTEST_ARGS="-k config", TEST_PROCESSES=4)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal -m "not slow" $(PYTEST_ARGS)

test-slow: $(STAMP) ## run the slow tests, one at a time
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

test-debugger: $(DEBUGGER_STAMP) ## run the tests of smdebug, in an environment of their own
	$(DEBUGGER_VENV)/bin/python -m pytest tests/debugger $(PYTEST_ARGS)

test-sdk2: $(STAMP) $(SDK2_STAMP) ## drive the emulator with SageMaker SDK v2, in an environment of its own
	BREEDCLF_TEST_PYTHON=$(abspath $(BIN))/python $(SDK2_VENV)/bin/python -m pytest -W ignore --confcutdir tests/sdk2 \
		tests/sdk2 $(PYTEST_ARGS)

awscli: $(STAMP) ## install the AWS command line, which a test drives, in an environment of its own
	@test -x $(AWS_VENV)/bin/aws || { $(PYTHON) -m venv $(AWS_VENV) && \
		{ UV_SYSTEM_CERTS=1 $(BIN)/python -m uv pip install --quiet --python $(AWS_VENV)/bin/python $(AWSCLI) || \
		$(AWS_VENV)/bin/python -m pip install --quiet $(AWSCLI); }; }
	@$(AWS_VENV)/bin/aws --version

test-aws: $(STAMP) ## try a real AWS account, for some cents (BREEDCLF_TEST_AWS_ROLE, _BUCKET, _REGION)
	BREEDCLF_TEST_AWS=1 $(BIN)/python -m pytest --timeout 3600 tests/aws $(PYTEST_ARGS)

fuzz: $(STAMP) ## send 20,000 mutated requests to a server
	BREEDCLF_FUZZ_REQUESTS=20000 $(BIN)/python -m pytest --timeout 3600 tests/serving/test_fuzz.py

test-ray: $(STAMP) ## serve a packed model under Ray Serve, in an environment of its own
	$(PYTHON) -m venv --clear .venv-ray
	UV_SYSTEM_CERTS=1 $(BIN)/python -m uv pip install --quiet --python .venv-ray/bin/python 'ray[serve]>=2.54'
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		"$$(.venv-ray/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/dependencies.pth"
	BREEDCLF_RAY_PYTHON=$$PWD/.venv-ray/bin/python $(BIN)/python -m pytest --timeout 600 tests/serving/test_ray.py

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

soak: $(STAMP) ## start, stop and kill 200 jobs at random moments (SOAK_ARGS="--seed 1"), ask a server 20,000 times
	$(BIN)/python -m tests.soak.jobs $(SOAK_ARGS)
	$(BIN)/python -m tests.soak.serving
	$(BIN)/python -m tests.soak.hostile

bench: $(STAMP) ## run every benchmark; the figures depend on the machine (BENCH_ARGS="--json --save")
	$(BIN)/python -m benchmarks all $(BENCH_ARGS)

bench-peers: $(STAMP) $(PEERS_STAMP) ## run those beside other libraries, in an environment of their own (--json, --save)
	$(BIN)/python -m benchmarks peers finetune serve_peers $(BENCH_ARGS)

clean: ## remove the environment and everything generated
	rm -rf $(VENV) $(DEBUGGER_VENV) $(SDK2_VENV) $(AWS_VENV) $(PEERS_VENV) .venv-ray docs/_build docs/_generated dist .demo .mypy_cache .pytest_cache \
		.ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# An environment is made anew when what it is made from changes. uv is quick; where it can't be had, pip does the same.
# All is compiled at once, as pip does for users: else each of the hundreds of processes that tests start may do so anew.
# $(1) is its folder, $(2) what goes into it, $(3) the file with the versions.
define make-environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "breedclf needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(1)
	@if $(1)/bin/python -m pip install --quiet uv && $(1)/bin/python -m uv --version; then \
		echo "installing breedclf with uv"; \
		UV_SYSTEM_CERTS=1 $(1)/bin/python -m uv pip install --quiet --compile-bytecode --python $(1)/bin/python $(2) -c $(3); \
	else false; fi || { \
		echo "installing breedclf with pip"; \
		$(1)/bin/python -m pip install --quiet $(2) -c $(3); }
	@$(1)/bin/python -m compileall -q src
	@touch $@
endef

$(STAMP): pyproject.toml constraints.txt
	$(call make-environment,$(VENV),-e '.[dev$(comma)docs]',constraints.txt)

$(PEERS_STAMP): pyproject.toml constraints.txt benchmarks/peers/requirements.txt
	$(call make-environment,$(PEERS_VENV),-e . -r benchmarks/peers/requirements.txt,constraints.txt)

$(DEBUGGER_STAMP): pyproject.toml constraints-debugger.txt
	$(call make-environment,$(DEBUGGER_VENV),-e '.[debugger]' pytest pytest-timeout,constraints-debugger.txt)

$(SDK2_STAMP): constraints-sdk2.txt
	$(call make-environment,$(SDK2_VENV),'sagemaker>=2.257$(comma)<3' pytest pytest-timeout,constraints-sdk2.txt)
