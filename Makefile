# `make run` starts the panel, `make test` tests it; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# The first Python on the PATH that is new enough; `make setup PYTHON=…` chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
ARGS ?=
PYTEST_ARGS ?=

.PHONY: help setup setup-dev run test browser check lock clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

setup: $(VENV)/.installed ## Make .venv with everything that the panel runs on
	@:
setup-dev: $(VENV)/.installed-dev ## The same with everything that tests and checks need
	@:

$(VENV)/.installed: requirements.txt
	@if ! "$(or $(PYTHON),false)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "The panel needs Python 3.11 or newer, and $(if $(PYTHON),$(PYTHON) is none,there is none on the PATH). Install it (Debian: apt install python3 python3-venv), or name one: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3" >&2; exit 1; fi
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		if ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then \
			echo "$$("$(PYTHON)" --version) has no venv module. Install it (Debian: apt install python3-venv), then run make again." >&2; exit 1; fi; \
		echo "Making $(VENV) with $$("$(PYTHON)" --version) …"; \
		"$(PYTHON)" -m venv --clear $(VENV); fi
	@echo "Installing what the panel runs on (a minute or two the first time) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt || { \
		echo "The packages in requirements.txt could not be installed; pip says why above. Is the package index reachable?" >&2; exit 1; }
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@echo "Installing what tests and checks need …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# exec: Ctrl-C reaches the panel itself, once.
run: setup ## Start everything: embedded cluster, queue, watcher, web server (PORT, STATE_DIR, KUBECONFIG …)
	@exec $(BIN)/python manage.py up $(ARGS)

test: setup-dev browser ## Run the tests (PYTEST_ARGS=… for pytest)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

browser:
	@if command -v chromium >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium for the browser tests …"; \
		if apt-get update -qq >/dev/null 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; then exit 0; fi; \
	fi; \
	echo "There is no Chromium here: the browser tests are skipped. Install it (Debian: apt install chromium) to run them."

check: setup-dev ## Lint, types, import contracts, security, packages, deployment settings, migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive controlpanel devcluster projects provisioning manage.py 2>&1 | sed '/WARNING/d'
	@$(BIN)/python .ci/audit.py
	@state=$$(mktemp -d); trap 'rm -rf "$$state"' EXIT; export STATE_DIR="$$state"; \
	HTTPS=true $(BIN)/python manage.py check --deploy --fail-level WARNING; \
	$(BIN)/python manage.py makemigrations --check --dry-run

lock: ## Pin every package of requirements.in and requirements-dev.in to its newest allowed version
	@if [ -z "$(PYTHON)" ]; then echo "Pinning needs Python 3.11 or newer on the PATH." >&2; exit 1; fi
	@lock=$$(mktemp -d); trap 'rm -rf "$$lock"' EXIT; \
	"$(PYTHON)" -m venv "$$lock"; \
	"$$lock/bin/pip" install --quiet --disable-pip-version-check -r requirements.in; \
	"$$lock/bin/pip" freeze > requirements.txt; \
	"$$lock/bin/pip" install --quiet --disable-pip-version-check -r requirements-dev.in; \
	{ echo "-r requirements.txt"; "$$lock/bin/pip" freeze | grep -vxFf requirements.txt; } > requirements-dev.txt; \
	echo "Pinned $$(grep -c == requirements.txt) packages to run on and $$(grep -c == requirements-dev.txt) more to develop with."

clean: ## Remove .venv and caches; the panel's state in var/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache htmlcov .coverage

-include kube.mk deploy.mk bench.mk faults.mk
