# The one-word commands. Each step below is a script of its own in setup/ that does nothing when its
# work is done already, so every target can be repeated at once.

# Which Envoy versions the tests and the shipped scenarios run on.
ENVOY_VERSIONS ?= 1.36.4 1.40.0
# `make run` runs each scenario once on the newest of them; with ALL=1 on each, by each launcher, with
# each value of its matrix.
ALL ?=
# Which Envoy versions `make matrix` runs on: by default the newest patch of each minor version that
# the package index holds, `all` for every patch.
VERSIONS ?=
# The folder that `make corpus` drafts and runs: a folder per project, its configs below it. That of
# `make predict` has configs at any depth.
CONFIGS ?=
# The distributions that `make distros` runs on (debian:12 ubuntu:24.04; all by default), and whose
# engine they use: this machine's (`machine`), `none`, or their own `podman`.
DISTROS ?=
ENGINE ?= machine
# How long `make soak` lasts, and how often `make determinism` runs each scenario.
MINUTES ?= 10
RUNS ?= 30
# The commit whose figures `make metrics` and `make bench` hold beside those of this tree.
AGAINST ?=
# What the distribution brings. A target that needs more adds it here: each visit to the package
# lists takes seconds.
PACKAGES := bcc iproute2 iptables
# What `make unit-with` installs instead of the locked versions.
WITH ?= newest
# Where `make docs-serve` serves the site.
PORT ?= 8000
# What `make image` calls what it builds.
IMAGE ?= envoyassert
# More arguments for pytest (make test, make unit) or for envoyassert (make run).
ARGS ?=

# What `make setup` prepares (`make run` needs less): what .venv is for, and the Envoys.
VENV := tools
ENVOYS := $(ENVOY_VERSIONS)

AS_ROOT := setup/as-root.sh
BIN := .venv/bin
# The C code, formatted as .clang-format says.
BPF := $(shell find bpf -name '*.[ch]')

# Many images forbid bytecode. Here hundreds of short Pythons follow one another, and each would
# compile everything again; what they keep is ignored by git, and goes with `make clean`.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv:
	@setup/create-venv.sh

.PHONY: setup
setup: ## Install everything a run needs: bcc, .venv, tracefs, Envoy
	@setup/prepare-machine.sh $(VENV) $(ENVOYS) -- $(PACKAGES)

.PHONY: run
run: PACKAGES += strace
run: VENV = run
run: ENVOYS = $(if $(ALL),$(ENVOY_VERSIONS),$(lastword $(shell printf '%s\n' $(ENVOY_VERSIONS) | sort -V)))
run: setup ## Run each shipped scenario on a real Envoy; ALL=1: with all versions, launchers and values
	@setup/run-scenarios.sh $(if $(ALL),--all) $(ENVOYS) -- $(ARGS)

.PHONY: test
test: PACKAGES += strace bpftrace zsh fish g++ cni chromium jq curl
test: setup ## Run every test; installs and starts a Docker engine when there is none
	@setup/start-docker.sh
	@setup/prepare-images.sh $(ENVOY_VERSIONS)
	@$(AS_ROOT) setup/run-tests.sh $(ARGS)

.PHONY: unit
unit: venv ## Run the tests that need no privileges, no Envoy and no Docker
	@$(BIN)/pytest --numprocesses=auto --quiet tests/unit tests/plugin $(ARGS)

.PHONY: unit-with
unit-with: venv ## The same with other versions: WITH=newest, WITH=oldest, WITH="pytest==8.*"
	@setup/run-unit-tests-with.sh $(patsubst %,'%',$(WITH)) -- $(ARGS)

.PHONY: lock
lock: venv ## Renew the versions and hashes of what make installs
	@setup/renew-lock.sh

.PHONY: check
check: venv ## Check format, lint, types, prose, CI files and layers; changes nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run --Werror $(BPF)
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/codespell
	@$(BIN)/python setup/lint_prose.py
	@setup/lint-ci-files.sh
	@$(BIN)/pytest -q -p no:cacheprovider tests/unit/test_layering.py

.PHONY: fix
fix: venv ## Format, and repair what ruff can
	@$(BIN)/ruff check --quiet --fix --exit-zero .
	@$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(BPF)
	@$(BIN)/ruff check .

.PHONY: docs
docs: venv ## Build the documentation site in build/docs
	@$(BIN)/python -m tests.site $(ARGS)

.PHONY: docs-serve
docs-serve: venv ## Build it, and serve it on loopback: PORT=8000
	@$(BIN)/python -m tests.site --serve $(PORT)

.PHONY: pictures
pictures: setup ## Draw the pictures of docs/listens.md from runs of the shipped scenarios
	@$(AS_ROOT) $(BIN)/python -m tests.site.pictures $(ARGS)

.PHONY: screenshots
screenshots: PACKAGES += chromium
screenshots: setup ## Photograph the pages of real runs in a browser, into build/screenshots
	@$(AS_ROOT) $(BIN)/python -m tests.site.screenshots $(ARGS)

.PHONY: metrics
metrics: venv ## Count modules, long functions, cycles, doubles: AGAINST=main to compare with it
	@$(BIN)/python -m tests.metrics $(if $(AGAINST),--against "$(AGAINST)") $(ARGS)

.PHONY: bench
bench: PACKAGES += strace bpftrace chromium
bench: setup ## Measure what a run costs, against an earlier commit (AGAINST=...) and against peers
	@$(AS_ROOT) $(BIN)/python -m tests.bench $(if $(AGAINST),--against "$(AGAINST)") $(ARGS)

.PHONY: matrix
matrix: setup ## Run the shipped scenarios on every Envoy version (VERSIONS=...), and draw the atlas
	@setup/run-matrix.sh $(VERSIONS) -- $(ARGS)

.PHONY: fuzz
fuzz: venv ## Use traces, scenarios, logs, dumps and admin replies that are damaged at random
	@$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: soak
soak: setup ## Run the fast scenarios for MINUTES under pressure; nothing but PASS is right
	@$(AS_ROOT) $(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

.PHONY: ends
ends: setup ## Runs with 1 GB of log, admin replies without an end, a full disk, killed at random
	@$(AS_ROOT) $(BIN)/python -m tests.ends $(ARGS)

.PHONY: mutants
mutants: PACKAGES += g++
mutants: setup ## Make Envoy misbehave in many ways; each must make a shipped scenario fail
	@$(AS_ROOT) $(BIN)/python -m tests.mutants $(ARGS)

.PHONY: transitions
transitions: setup ## Make each change of docs/transitions.md for real, in each way, and write that page
	@$(AS_ROOT) $(BIN)/python -m tests.transitions --markdown docs/transitions.md $(ARGS)

.PHONY: determinism
determinism: setup ## Run each scenario RUNS times; its story must be the same
	@$(AS_ROOT) $(BIN)/python -m tests.soak.determinism --runs $(RUNS) $(ARGS)

.PHONY: corpus
corpus: setup ## Draft and run the configs of other projects: CONFIGS=folder, one folder per project
	@$(AS_ROOT) $(BIN)/python -m tests.corpus "$(CONFIGS)" $(ARGS)

.PHONY: predict
predict: setup ## Hold the model against 500 configs made at random, on each Envoy; or CONFIGS=folder
	@$(AS_ROOT) $(BIN)/python -m tests.predict $(CONFIGS) $(addprefix --envoy ,$(ENVOY_VERSIONS)) $(ARGS)

.PHONY: distros
distros: PACKAGES := debootstrap
distros: venv ## Run the shipped scenarios on root trees of other distributions: DISTROS=debian:13
	@setup/install-packages.sh $(PACKAGES)
	@$(AS_ROOT) $(BIN)/python -m tests.distros --engine $(ENGINE) $(DISTROS) -- $(ARGS)

.PHONY: image
image: venv ## Build the image of contrib/image with docker: IMAGE=name, ARGS="--build-arg BASE=..."
	@setup/build-image.sh "$(IMAGE)" $(ARGS)

.PHONY: image-test
image-test: PACKAGES += debootstrap g++ cni
image-test: setup ## Build that image without a registry, and trace with it; takes some minutes
	@setup/start-docker.sh
	@setup/prepare-images.sh $(ENVOY_VERSIONS)
	@$(AS_ROOT) $(BIN)/pytest tests/image $(ARGS)

.PHONY: clean
clean: ## Remove .venv, caches and builds from this checkout
	@$(AS_ROOT) rm -rf .venv .venv-with .benchmarks .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name .git -prune -o -name __pycache__ -prune -exec rm -rf {} +
