# The table of contents of this repository. Every target installs what it misses (deploy/bootstrap.sh).
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := .venv/bin
WORKERS ?= 4
BOOTSTRAP := deploy/bootstrap.sh
MODEL_TESTS := $(sort $(wildcard tests/*/test_model.py tests/*/*/test_model.py))
BROWSER := chromium-headless-shell libatomic1
TESTED_WITH := nginx rsync openssh-client postgresql $(BROWSER)
export NO_MKDOCS_2_WARNING := 1
# With it set each of the thousand processes of a test run compiles every module anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 14

.PHONY: setup
setup: ## Install the virtual environment and the system packages, start nothing.
	@$(BOOTSTRAP) $(TESTED_WITH)

.PHONY: demo
demo: ## A small local fleet, and one live migration watched by a client. DEMO_SECONDS=60 ends it by itself.
	@$(BOOTSTRAP) nginx rsync
	@exec $(BIN)/holdfast demo

.PHONY: run
run: ## Run the server here, with its data in ./var.
	@$(BOOTSTRAP) nginx rsync openssh-client
	@mkdir -p var
	@HOLDFAST_DATA_DIR="$${HOLDFAST_DATA_DIR:-$(CURDIR)/var}" exec $(BIN)/holdfast serve

.PHONY: test
test: ## Run every test: plain and real parts, on SQLite and on PostgreSQL. Models must be covered in full.
	@$(BOOTSTRAP) $(TESTED_WITH)
	$(BIN)/pytest --quiet $(MODEL_TESTS) --cov --cov-config=tests/models.coveragerc
	$(BIN)/pytest -m "" -n $(WORKERS)

.PHONY: again
again: ## Run the tests that failed in the last run once more, one after the other.
	@$(BOOTSTRAP) $(TESTED_WITH)
	$(BIN)/pytest -m "" --last-failed --last-failed-no-failures none

.PHONY: quick
quick: ## Run the tests that start no program.
	@$(BOOTSTRAP)
	$(BIN)/pytest -n $(WORKERS)

CHECKS := check-format check-lint check-types check-imports check-dependencies check-docs
.PHONY: check $(CHECKS)
check: $(CHECKS) ## Formatting, lint, types, import contracts, dependencies, documentation. -k goes on after a failure.
$(CHECKS): bootstrapped
check-format:
	$(BIN)/ruff format --check .
check-lint:
	$(BIN)/ruff check --quiet .
check-types:
	$(BIN)/mypy
check-imports:
	$(BIN)/lint-imports --no-cache
check-dependencies:
	$(BIN)/deptry .
check-docs:
	$(BIN)/mkdocs build --strict --quiet

.PHONY: bootstrapped
bootstrapped:
	@$(BOOTSTRAP)

.PHONY: fix
fix: ## Format, mend what ruff can mend, bring the tables of the reference up to date.
	@$(BOOTSTRAP)
	$(BIN)/python -m docs.generate
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: ## Run the benchmarks: ours against the bare tools, in one run.
	@$(BOOTSTRAP) nginx rsync wrk $(BROWSER)
	$(BIN)/python -m benchmarks $(BENCH)

.PHONY: model
model: ## Check the whole state space of the migration protocol (the tests check a bounded part).
	@$(BOOTSTRAP)
	$(BIN)/python -m tests.migrations.protocol_model --full

.PHONY: docs
docs: ## Build the documentation into ./site.
	@$(BOOTSTRAP)
	$(BIN)/mkdocs build --strict

.PHONY: screenshots
screenshots: ## Take the pictures of the console for the documentation, dark and light. PAGES="pools job" takes only these.
	@$(BOOTSTRAP) nginx rsync $(BROWSER)
	$(BIN)/python -m docs.screenshots $(PAGES)

.PHONY: changelog
changelog: ## Print the fragments of changelog.d as a section for CHANGELOG.md.
	@deploy/changelog.sh
