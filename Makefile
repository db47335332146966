# `make run` starts the panel, `make test` tests it; `make help` lists the rest under the headings below (##@).
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
# Tests run in one process per processor; `make test WORKERS=` runs them in one.
WORKERS ?= -n logical --maxprocesses 4
IMAGE ?= controlpanel:0.2.0
CONTRACT := $(BIN)/python -m pytest tests/contract
ASSETS := $(BIN)/python -m tests.contract.kube_assets

# A virtual environment whose Python is gone, or was upgraded to one that doesn't see its packages, counts as absent.
STALE_VENV := $(shell if [ -e $(VENV)/.installed ] && ! $(BIN)/python -c 'import sys, importlib.util; \
	sys.exit(importlib.util.find_spec("pip") is None)' 2>/dev/null; then \
	rm -f $(VENV)/.installed $(VENV)/.installed-dev; echo yes; fi)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-23s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Run
.PHONY: setup run clean

setup: $(VENV)/.installed ## Create .venv with the packages that the panel runs on
	@:

$(VENV)/.installed: requirements.txt
	@if ! "$(or $(PYTHON),false)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "The panel needs Python 3.11 or newer, and $(if $(PYTHON),$(PYTHON) is none,there is none on the PATH). Install it (Debian: apt install python3 python3-venv), or name one: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3" >&2; exit 1; fi
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		if ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then \
			echo "$$("$(PYTHON)" --version) has no venv module. Install it (Debian: apt install python3-venv), then run make again." >&2; exit 1; fi; \
		if [ -L $(VENV) ] && [ ! -e $(VENV) ]; then \
			echo "$(VENV) is a link to $$(readlink $(VENV)), which does not exist. Remove the link, then run make again." >&2; exit 1; fi; \
		$(if $(STALE_VENV),echo "The Python of $(VENV) is gone or was upgraded.";) \
		echo "Making $(VENV) with $$("$(PYTHON)" --version) …"; \
		"$(PYTHON)" -m venv --clear $(VENV); fi
	@echo "Installing what the panel runs on (a minute or two the first time) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt || { \
		echo "The packages in requirements.txt could not be installed; pip says why above. Is the package index reachable?" >&2; exit 1; }
	@touch $@

# exec: Ctrl-C reaches the panel itself, once.
run: setup ## Start everything: embedded cluster, queue, watcher, web server (PORT, STATE_DIR, KUBECONFIG …)
	@exec $(BIN)/python manage.py up $(ARGS)

clean: ## Remove .venv and caches; keep the panel's state in var/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache htmlcov .coverage

##@ Check
.PHONY: setup-dev check hooks lock

setup-dev: $(VENV)/.installed-dev ## Add the packages that tests and checks need
	@:

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@echo "Installing what tests and checks need …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

check: setup-dev ## Lint, spelling, types, import contracts, security, packages, deployment settings, migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive controlpanel devcluster projects provisioning manage.py 2>&1 | sed '/WARNING/d'
	@$(BIN)/python .ci/audit.py
	@state=$$(mktemp -d); trap 'rm -rf "$$state"' EXIT; export STATE_DIR="$$state"; \
	HTTPS=true $(BIN)/python manage.py check --deploy --fail-level WARNING; \
	$(BIN)/python manage.py makemigrations --check --dry-run

hooks: setup-dev ## Run ruff and typos before each commit (.pre-commit-config.yaml)
	@$(BIN)/pre-commit install

lock: ## Pin every package of requirements*.in to its newest allowed version, with hashes (ARGS=--keep: same versions)
	@if [ -z "$(PYTHON)" ]; then echo "Pinning needs Python 3.11 or newer on the PATH." >&2; exit 1; fi
	@lock=$$(mktemp -d); trap 'rm -rf "$$lock"' EXIT; \
	"$(PYTHON)" -m venv "$$lock"; \
	"$$lock/bin/pip" install --quiet --disable-pip-version-check pip-tools; \
	"$$lock/bin/python" .ci/lock.py $(ARGS)

##@ Test
.PHONY: test test-unit browser test-deploy

test: setup-dev browser ## Run all tests (PYTEST_ARGS=… for pytest)
	@$(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

test-unit: setup-dev ## Run the tests that need no cluster and no browser (PYTEST_ARGS=…)
	@$(BIN)/python -m pytest tests/unit $(WORKERS) $(PYTEST_ARGS)

browser:
	@if command -v chromium >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium for the browser tests …"; \
		if apt-get update -qq >/dev/null 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; then exit 0; fi; \
	fi; \
	echo "There is no Chromium here: the browser tests are skipped. Install it (Debian: apt install chromium) to run them."

test-deploy: setup-dev ## Check image and manifests, offline
	@$(BIN)/python -m pytest --ds=tests.settings tests/deploy $(PYTEST_ARGS)

##@ Compare the embedded cluster with a real one (devcluster/docs/contract.md)
.PHONY: kube-assets test-contract test-contract-embedded test-contract-real replay-contract compare-servers

kube-assets: setup-dev ## Build a real control plane (etcd, kube-apiserver, kube-controller-manager) in the cache, once
	@$(ASSETS)

test-contract: test-contract-embedded test-contract-real ## The contract on the embedded cluster, then on a real API server

test-contract-embedded: setup-dev
	env -u KUBEBUILDER_ASSETS -u CONTRACT_KUBECONFIG $(CONTRACT) $(WORKERS) $(PYTEST_ARGS)

# In one process, for there may be one server only: CONTRACT_KUBECONFIG or KUBEBUILDER_ASSETS name it, else it is the
# one that kube-assets built.
test-contract-real: setup-dev
	@if [ -n "$${CONTRACT_KUBECONFIG:-}$${KUBEBUILDER_ASSETS:-}" ]; then \
		$(CONTRACT) $(PYTEST_ARGS); \
	elif assets=$$($(ASSETS) --print-directory); then \
		KUBEBUILDER_ASSETS="$$assets" $(CONTRACT) $(PYTEST_ARGS); \
	else \
		echo "Skipped the contract on a real API server: none is at hand (make kube-assets builds one, KUBEBUILDER_ASSETS or CONTRACT_KUBECONFIG name one)."; \
	fi

replay-contract: kube-assets ## Send invalid requests to the embedded cluster and a real one, and print each difference
	@KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$($(ASSETS) --print-directory)}" $(BIN)/python -m tests.contract.replay $(ARGS)

compare-servers: kube-assets ## Send random sequences of requests to both, and print each kind of difference (ARGS='--sequences 2000 --seed 1')
	@KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$($(ASSETS) --print-directory)}" nice -n 10 $(BIN)/python -m tests.contract.differential $(ARGS)

##@ Measure, and inject faults
.PHONY: bench faults

bench: setup-dev ## Run all benchmarks (BENCH_ARGS="latency --waiting 300" for one; `bin/python -m bench --help`)
	@$(BIN)/python -m bench $(or $(BENCH_ARGS),all)

faults: setup-dev ## Inject faults and check the invariants (FAULT_RUNS=200 FAULT_SEED=1; docs/faults.md)
	@FAULT_MODEL_EXAMPLES=$(or $(FAULT_MODEL_EXAMPLES),500) $(BIN)/python -m pytest -q --no-header tests/faults/test_decision_model.py
	@$(BIN)/python -m tests.faults --runs $(or $(FAULT_RUNS),200) --seed $(or $(FAULT_SEED),1) $(FAULT_ARGS)

##@ Deploy (docs/deploy.md)
.PHONY: image manifests

image: ## Build the container image (IMAGE=registry/name:tag)
	docker build -f deploy/Dockerfile -t $(IMAGE) .

manifests: ## Print what deploy/example installs (needs kubectl, no cluster)
	@kubectl kustomize deploy/example
