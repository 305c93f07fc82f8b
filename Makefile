# make help lists what can be made. Every target that needs Python packages installs them into .venv first.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup train data test runs plan tables table-N render tables-check time figures claims report sync bench lint clean

# the first interpreter found that is a Python 3.11 or 3.12 (some launchers exist without one behind them)
PYTHON ?= $(shell for p in python3 python python3.12 python3.11; do \
	$$p -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
ARGS ?=
SMOKE ?=
TABLES := $(BIN)/python scripts/tables.py

help: ## list the targets
	@awk -F ':.*## ' '/^[a-zN0-9-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## install everything into .venv (uv where there is one, else pip)

.venv/ready: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "LLS needs Python 3.11 or 3.12 (with venv); make PYTHON=/path/to/python3.12 names one"; exit 1; }
	@echo "installing the packages of requirements.txt into .venv (about 5 GB with PyTorch's CUDA libraries) ..."
	@rm -rf .venv
	@if command -v uv >/dev/null; then \
		uv venv --quiet --python "$(PYTHON)" .venv && \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt; \
	else \
		"$(PYTHON)" -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt; \
	fi
	@touch $@

train: .venv/ready ## train: LLS on digits, or what ARGS="dataset=cifar100 method=lls" says
	@$(BIN)/python train.py $(ARGS)

data: .venv/ready ## check data sets, or fetch and unpack those of ARGS="tinyimagenet cub200"
	@$(BIN)/python scripts/prepare_data.py $(ARGS)

test: .venv/ready ## run the tests, some at once; one at a time with ARGS="-n0 --pdb tests/test_lls.py"
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

runs: .venv/ready ## list the runs
	@$(BIN)/python scripts/runs.py $(ARGS)

plan: .venv/ready ## list the runs of the paper's tables: state, time left, command; ARGS="3 columns=FMNIST budget=0.05"
	@$(TABLES) plan $(if $(SMOKE),--smoke) $(ARGS)

tables: .venv/ready ## train what the paper's tables lack, and render them; SMOKE=1: all in small, in minutes, in outputs/smoke
ifneq ($(SMOKE),)
	@$(TABLES) run all figures --smoke $(ARGS)
	@$(TABLES) time --smoke --rounds 3
	@$(TABLES) render --smoke
	@$(BIN)/python scripts/figures.py --smoke
else
	@$(TABLES) run all $(ARGS)
endif

table-N: ## make table-5 trains what Table 5 lacks, and renders it
	@echo "N is 1 to 9, or another yaml of configs/table: make table-5"

table-%: .venv/ready
	@$(TABLES) run $* $(if $(SMOKE),--smoke) $(ARGS)

render: .venv/ready ## render the tables from the runs that there are
	@$(TABLES) render $(ARGS)

tables-check: .venv/ready ## fail where a committed table is not what the committed results say
	@$(TABLES) check

time: .venv/ready ## time the methods of Table 9, which take turns in one process, on a machine that does nothing else
	@$(TABLES) time $(ARGS)

sync: .venv/ready ## send W&B the runs that it has not got
	@$(BIN)/python scripts/sync.py $(ARGS)

figures: .venv/ready ## draw the paper's figures from the runs that there are, or what ARGS="4 network=lenet budget=0.05" says
	@$(BIN)/python scripts/figures.py $(ARGS)

claims: .venv/ready ## decide the paper's claims by the runs that there are
	@$(BIN)/python scripts/claims.py

report: .venv/ready ## one page of it all: outputs/report.html
	@$(BIN)/python scripts/report.py

bench: .venv/ready ## measure how fast this is, on a machine that does nothing else; ARGS="loops losses startup images runs"
	@$(BIN)/python -m benchmarks $(ARGS)

lint: .venv/ready ## check style, formatting and the direction of imports
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache

clean: ## remove .venv and caches; data and outputs stay
	rm -rf .venv .pytest_cache .ruff_cache lls.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
