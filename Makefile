# make help lists the targets. A target that needs Python packages installs them into .venv first.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup train data test runs plan tables table-N render tables-check time figures claims report sync bench lint clean

# The first of these commands that runs Python 3.11 or 3.12 (a command may exist without an interpreter).
PYTHON ?= $(shell for p in python3 python python3.12 python3.11; do \
	$$p -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
ARGS ?=
SMOKE ?=
TABLES := $(BIN)/python scripts/tables.py

help: ## list the targets
	@awk -F ':.*## ' '/^[a-zN0-9-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## install all packages into .venv, with uv if it is installed, else with pip

.venv/ready: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "LLS needs Python 3.11 or 3.12 with venv; name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "installing the packages of requirements.txt into .venv (about 5 GB with PyTorch's CUDA libraries) ..."
	@rm -rf .venv
	@if command -v uv >/dev/null; then \
		uv venv --quiet --python "$(PYTHON)" .venv && \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt; \
	else \
		"$(PYTHON)" -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt; \
	fi
	@touch $@

train: .venv/ready ## train LLS on digits, or another configuration: ARGS="dataset=cifar100 method=lls"
	@$(BIN)/python train.py $(ARGS)

data: .venv/ready ## check all data sets; with ARGS="tinyimagenet cub200" download and unpack these
	@$(BIN)/python scripts/prepare_data.py $(ARGS)

test: .venv/ready ## run the tests in parallel; one at a time: ARGS="-n0 --pdb tests/losses"
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

runs: .venv/ready ## list the runs
	@$(BIN)/python scripts/runs.py $(ARGS)

plan: .venv/ready ## list the runs of the tables with state, time left and command; ARGS="3 columns=FMNIST budget=0.05"
	@$(TABLES) plan $(if $(SMOKE),--smoke) $(ARGS)

tables: .venv/ready ## train the missing runs of all tables and render them; SMOKE=1: tiny versions in outputs/smoke, in minutes
ifneq ($(SMOKE),)
	@$(TABLES) run all figures --smoke $(ARGS)
	@$(TABLES) time --smoke --rounds 3
	@$(TABLES) render --smoke
	@$(BIN)/python scripts/figures.py --smoke
else
	@$(TABLES) run all $(ARGS)
endif

table-N: ## train the missing runs of one table and render it, such as make table-5
	@echo "N is the name of a yaml in configs/table: make table-5"

table-%: .venv/ready
	@$(TABLES) run $* $(if $(SMOKE),--smoke) $(ARGS)

render: .venv/ready ## render the tables from the existing runs
	@$(TABLES) render $(ARGS)

tables-check: .venv/ready ## fail if a committed table differs from one rendered from the committed results
	@$(TABLES) check

time: .venv/ready ## time the methods of Table 9, alternating in one process; needs an idle machine
	@$(TABLES) time $(ARGS)

sync: .venv/ready ## upload runs to W&B that it does not have
	@$(BIN)/python scripts/sync.py $(ARGS)

figures: .venv/ready ## draw the figures from the existing runs; ARGS="4 network=lenet budget=0.05" selects a figure and runs
	@$(BIN)/python scripts/figures.py $(ARGS)

claims: .venv/ready ## evaluate the paper's claims with the existing runs
	@$(BIN)/python scripts/claims.py $(ARGS)

report: .venv/ready ## write a page with all results: outputs/report.html
	@$(BIN)/python scripts/report.py

bench: .venv/ready ## run the benchmarks; needs an idle machine; ARGS="loops losses startup images runs"
	@$(BIN)/python -m benchmarks $(ARGS)

lint: .venv/ready ## check style, formatting, the direction of imports, and the types of the public API
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache && $(BIN)/mypy

clean: ## remove .venv and caches; data and outputs are not removed
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache build lls.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
