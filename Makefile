# Everything is done with `make`; alone it prints what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The tests start hundreds of services and commands; without bytecode each of them compiles the whole project anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
WORKERS ?= 4
INPUTS ?= 100000
bin := .venv/bin
stamp := .venv/.installed
# worksteal: the tests on the engine take seconds, the others milliseconds.
pytest := $(bin)/python -m pytest -n $(WORKERS) --dist=worksteal $(ARGS)

.PHONY: help
help: ## this list
	@echo 'Homeport: a controller for Docker Compose apps. The two to know: `make run` and `make test`.'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  make unit ARGS="-k queue"      more arguments for pytest'

.PHONY: run
run: $(stamp) image var/apps ## the service on the sample apps, in the foreground; Ctrl-C ends it, the apps run on
	@echo 'run: the apps are folders in var/apps: edit one, take one out, drop one in. `make clean` takes all away.'
	@exec $(bin)/homeport run --apps var/apps --state var/state --log-format console $(ARGS)

.PHONY: test
test: $(stamp) dockerd ## all tests, those on a real Docker engine (one of their own) included
	@$(pytest) -m 'not slow'

.PHONY: unit
unit: $(stamp) ## the tests that need no Docker engine
	@$(pytest) -m 'not engine and not slow'

.PHONY: e2e
e2e: $(stamp) dockerd ## the tests on a real Docker engine
	@$(pytest) -m 'engine and not slow'

HISTORIES ?= 10000
.PHONY: sim
sim: $(stamp) ## 10,000 simulated lives (HISTORIES=n, MINUTES=n, or SEED=n to replay one)
	@PYTHONPATH=tests $(bin)/python -m simulation \
	    $(if $(SEED),--seed $(SEED),$(if $(MINUTES),--minutes $(MINUTES),--histories $(HISTORIES))) $(ARGS)

.PHONY: faults
faults: $(stamp) dockerd ## the whole fault catalogue, the slow cases too
	@deploy/ensure-engine --install-nspawn || true
	@$(pytest) -m 'fault or slow'

.PHONY: soak
soak: $(stamp) dockerd ## the service under edits and faults for MINUTES=30 or any number; the last line is the result
	@PYTHONPATH=tests $(bin)/python -m rig.soak --minutes=$(or $(MINUTES),30) $(ARGS)

.PHONY: bench
bench: $(stamp) dockerd ## how fast it is, beside its peers; ONLY=sweep,edit APPS=100 for less, MINUTES=5 of idleness
	@PYTHONPATH=tests $(bin)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(APPS),--apps $(APPS)) \
	    $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

# No engine is needed. Each input has limits of its own, so the tests themselves may take long.
.PHONY: fuzz
fuzz: export HOMEPORT_FUZZ_INPUTS = $(INPUTS)
fuzz: export HOMEPORT_TEST_ENGINE = none
fuzz: $(stamp) ## 100,000 random inputs for all that reads what others wrote; INPUTS=… for more, SEED=… for the same again
	@$(pytest) tests/fuzz --hypothesis-seed=$(or $(SEED),$$RANDOM) -o faulthandler_timeout=3600

.PHONY: screens
screens: $(stamp) ## docs/screens anew: what the commands show, at 80 and at 140 columns
	@PYTHONPATH=tests $(bin)/python -m screens

.PHONY: check
check: lint types imports test ## lint, types, imports and test: what the CI runs

.PHONY: lint
lint: $(stamp) ## style and likely bugs (ruff)
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@bash -n deploy/ensure-engine deploy/install.sh deploy/uninstall.sh .ci/run

.PHONY: format
format: $(stamp) ## puts the code into shape (ruff)
	@$(bin)/ruff check --fix .
	@$(bin)/ruff format .

.PHONY: types
types: $(stamp) ## types (mypy, strict)
	@$(bin)/mypy

.PHONY: imports
imports: $(stamp) ## which room may import which (import-linter)
	@$(bin)/lint-imports

.PHONY: venv
venv: $(stamp) ## the virtual environment in .venv, with everything in it
	@:

.PHONY: reference
reference: $(stamp) ## docs/reference as far as it is made of the code: settings, commands, the manifest
	@PYTHONPATH=tests $(bin)/python -m rig.reference

.PHONY: image
image: $(stamp) engine ## the image of the sample apps
	@$(bin)/python deploy/sample-image/build.py

.PHONY: clean
clean: ## takes away what `make run` made: containers, networks AND VOLUMES of all apps in var/apps, var/apps, var/state
	@if [ -e var/apps ] || [ -e var/state ]; then $(MAKE) venv && $(bin)/python deploy/clean.py; \
	elif [ "$$(cat "/proc/$$(cat var/engine/dockerd.pid 2>/dev/null || echo none)/comm" 2>/dev/null)" = dockerd ]; then \
	    echo 'clean: left: the Docker engine that `make run` started; end it with: kill $$(cat var/engine/dockerd.pid)'; \
	fi

.PHONY: distclean
distclean: clean ## clean, and .venv and what the tools left
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis
	@find controller deploy tests -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- steps that the others stand on ----

.PHONY: engine dockerd
engine: $(stamp) ## a Docker engine on this machine: installed where there is none, started where it does not run
	@deploy/ensure-engine

# What the tests start by themselves: dockerd, Redis, a registry. Without root none is to be had: then pytest takes the
# engine that is there, or skips and says so.
dockerd:
	@deploy/ensure-engine --install-only || true

# Copied once and in one piece; after that the tree is yours and nothing in it is touched.
var/apps:
	@mkdir -p var && rm -rf var/.apps.new && cp -a manifests var/.apps.new && rm -f var/.apps.new/*.json && mv var/.apps.new var/apps
	@echo 'run: copied the sample apps to var/apps'

$(stamp): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'venv: $(PYTHON) is older than 3.11; name another one: make PYTHON=python3.12' >&2; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	    if [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then \
	        echo 'venv: $(PYTHON) has no venv; installing python3-venv with apt-get'; \
	        apt-get -q update >/dev/null; \
	        DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends python3-venv >/dev/null; \
	    else \
	        echo 'venv: $(PYTHON) has no venv: sudo apt-get install python3-venv' >&2; exit 1; \
	    fi; \
	fi
	@echo 'venv: installing into .venv'
	@[ -x $(bin)/python ] || $(PYTHON) -m venv .venv
	@$(bin)/python -m pip --disable-pip-version-check --quiet install -c constraints.txt -e '.[dev]'
	@touch $@
