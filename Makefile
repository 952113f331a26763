# The commands of README, CI and contributors. Everything runs in the project's own environment, .venv.
#   make demo     set up the environment, then take the whole journey on synthetic images
#   make test     set up the environment, then run all tests but the slow ones (make test-slow)
#   make test-debugger  the tests of smdebug, in .venv-debugger: it needs old versions
#   make test-sdk2  SageMaker SDK v2 against the emulator, in .venv-sdk2: its packages clash with v3's
#   make test-oracles  answers compared with those of other libraries, in .venv-oracles
#   make help     the rest

PYTHON ?= python3
VENV ?= .venv
AWS_VENV ?= .venv-aws
AWSCLI ?= 'awscli>=1.44,<2'
TYPES_VENV ?= .venv-types
PYRIGHT ?= 'pyright[nodejs]>=1.1.400'
BIN := $(VENV)/bin
STAMP := $(VENV)/.breedclf-installed
DEBUGGER_VENV ?= .venv-debugger
DEBUGGER_STAMP := $(DEBUGGER_VENV)/.breedclf-installed
SDK2_VENV ?= .venv-sdk2
SDK2_STAMP := $(SDK2_VENV)/.breedclf-installed
ORACLES_VENV ?= .venv-oracles
ORACLES_STAMP := $(ORACLES_VENV)/.breedclf-installed
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
.PHONY: help install demo test test-slow test-debugger test-sdk2 test-oracles test-ray test-aws awscli fuzz lint format types types-pyright verify-types docs check soak bench bench-peers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## create the environment (every target below does so if needed)

demo: $(STAMP) ## tune, profile, evaluate, deploy and predict on synthetic images (DEMO_ARGS="--data DIR --weights FILE")
	$(BIN)/breedclf demo $(DEMO_ARGS)

test: $(STAMP) ## run all but the slow tests, in two processes (PYTEST_ARGS="-k config", TEST_PROCESSES=4)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal -m "not slow" $(PYTEST_ARGS)

# Status 5 says that PYTEST_ARGS chose none of them.
test-slow: $(STAMP) ## run the slow tests, in two processes; those that compare durations alone, after them
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal --timeout 600 -m "slow and not alone" $(PYTEST_ARGS) \
		|| test $$? = 5
	$(BIN)/python -m pytest -m "slow and alone" $(PYTEST_ARGS) || test $$? = 5

test-debugger: $(DEBUGGER_STAMP) ## run the tests of smdebug, in their own environment
	$(DEBUGGER_VENV)/bin/python -m pytest tests/debugger $(PYTEST_ARGS)

test-sdk2: $(STAMP) $(SDK2_STAMP) ## run SageMaker SDK v2 against the emulator, in its own environment
	BREEDCLF_TEST_PYTHON=$(abspath $(BIN))/python $(SDK2_VENV)/bin/python -m pytest -W ignore --confcutdir tests/sdk2 \
		tests/sdk2 $(PYTEST_ARGS)

test-oracles: $(STAMP) $(ORACLES_STAMP) ## compare distances, maps, suspects and calibration with other libraries, in their own environment
	$(ORACLES_VENV)/bin/python -m pytest -W ignore tests/oracles $(PYTEST_ARGS)

awscli: $(STAMP) ## install the AWS CLI, which a test uses, in its own environment
	@test -x $(AWS_VENV)/bin/aws || { $(PYTHON) -m venv $(AWS_VENV) && \
		{ UV_SYSTEM_CERTS=1 $(BIN)/python -m uv pip install --quiet --python $(AWS_VENV)/bin/python $(AWSCLI) || \
		$(AWS_VENV)/bin/python -m pip install --quiet $(AWSCLI); }; }
	@$(AWS_VENV)/bin/aws --version

test-aws: $(STAMP) ## run against a real AWS account, for a few cents (BREEDCLF_TEST_AWS_ROLE, _BUCKET, _REGION)
	BREEDCLF_TEST_AWS=1 $(BIN)/python -m pytest --timeout 3600 tests/aws $(PYTEST_ARGS)

fuzz: $(STAMP) ## send 20,000 mutated requests to a server
	BREEDCLF_FUZZ_REQUESTS=20000 $(BIN)/python -m pytest --timeout 3600 tests/serving/test_fuzz.py

test-ray: $(STAMP) ## serve a packed model with Ray Serve, in its own environment
	$(PYTHON) -m venv --clear .venv-ray
	UV_SYSTEM_CERTS=1 $(BIN)/python -m uv pip install --quiet --python .venv-ray/bin/python 'ray[serve]>=2.54'
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		"$$(.venv-ray/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/dependencies.pth"
	BREEDCLF_RAY_PYTHON=$$PWD/.venv-ray/bin/python $(BIN)/python -m pytest --timeout 600 tests/serving/test_ray.py

lint: $(STAMP) ## check format, style and import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo

format: $(STAMP) ## format the files
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(STAMP) ## check the types of the package, and of the code in README, docs and examples
	$(BIN)/mypy
	$(BIN)/python -m tests.project.snippets $(abspath $(BIN))/mypy --config-file $(abspath pyproject.toml) \
		--cache-dir $(abspath .mypy_cache)

types-pyright: $(STAMP) $(TYPES_VENV)/bin/pyright ## check the code in README, docs and examples with pyright
	$(BIN)/python -m tests.project.snippets $(abspath $(TYPES_VENV))/bin/pyright --pythonpath $(abspath $(BIN))/python

verify-types: $(STAMP) $(TYPES_VENV)/bin/pyright ## check that at least 99% of the public names have types that every type checker infers alike
	@folder=$$(mktemp -d) && cd "$$folder" && PATH=$(abspath $(BIN)):$$PATH PYTHONPATH=$(abspath src) \
		$(abspath $(TYPES_VENV))/bin/pyright --verifytypes breedclf --ignoreexternal > report.txt; \
		awk '/^Symbols exported/ { all = $$NF } /With known type/ && !known { known = $$NF } \
			END { printf "%d of %d public names (%.2f%%)\n", known, all, 100 * known / all; exit known < 0.99 * all }' report.txt || \
		{ grep -B1 'error:' report.txt; exit 1; }

docs: $(STAMP) ## build the documentation into docs/_build; warnings are errors
	$(BIN)/python -m sphinx -E -W --keep-going -q $(SPHINX_ARGS) docs docs/_build
	@echo "docs: docs/_build/index.html"

check: lint types docs ## lint, types and docs

soak: $(STAMP) ## start, stop and kill 200 jobs at random times (SOAK_ARGS="--seed 1"), send a server 20,000 requests
	$(BIN)/python -m tests.soak.jobs $(SOAK_ARGS)
	$(BIN)/python -m tests.soak.serving
	$(BIN)/python -m tests.soak.hostile

bench: $(STAMP) ## run every benchmark; results depend on the machine (BENCH_ARGS="--json --save")
	$(BIN)/python -m benchmarks all $(BENCH_ARGS)

bench-peers: $(STAMP) $(PEERS_STAMP) ## run the comparisons with other libraries, in their own environment (BENCH_ARGS)
	$(BIN)/python -m benchmarks peers finetune serve_peers $(BENCH_ARGS)

clean: ## remove the environments and all generated files
	rm -rf $(VENV) $(DEBUGGER_VENV) $(SDK2_VENV) $(ORACLES_VENV) $(AWS_VENV) $(PEERS_VENV) $(TYPES_VENV) .venv-ray docs/_build docs/_generated dist .demo .mypy_cache .pytest_cache \
		.ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(TYPES_VENV)/bin/pyright: | $(STAMP)
	@$(PYTHON) -m venv $(TYPES_VENV)
	@UV_SYSTEM_CERTS=1 $(BIN)/python -m uv pip install --quiet --python $(TYPES_VENV)/bin/python $(PYRIGHT) || \
		$(TYPES_VENV)/bin/python -m pip install --quiet $(PYRIGHT)

# An environment is recreated when its requirements change. uv is faster; pip is used where uv can't be installed.
# Bytecode is compiled once, as pip does: otherwise the hundreds of processes that tests start may each compile it.
# $(1): its folder, $(2): the requirements, $(3): the constraints file.
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

# It sees the packages of the project's environment, so that nothing large is installed twice.
$(ORACLES_STAMP): $(STAMP) tests/oracles/requirements.txt
	$(PYTHON) -m venv --clear $(ORACLES_VENV)
	UV_SYSTEM_CERTS=1 $(BIN)/python -m uv pip install --quiet --no-deps --python $(ORACLES_VENV)/bin/python \
		-r tests/oracles/requirements.txt
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" > \
		"$$($(ORACLES_VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/dependencies.pth"
	@touch $@
