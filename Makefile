# make help lists what can be made. Every target that needs Python packages installs them into .venv first.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup train data test runs lint clean

# the first interpreter found that is a Python 3.11 or 3.12 (some launchers exist without one behind them)
PYTHON ?= $(shell for p in python3 python python3.12 python3.11; do \
	$$p -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
ARGS ?=

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

test: .venv/ready ## run the tests
	@$(BIN)/python -m pytest $(ARGS)

runs: .venv/ready ## list the runs
	@$(BIN)/python scripts/runs.py $(ARGS)

lint: .venv/ready ## check style and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean: ## remove .venv and caches; data and outputs stay
	rm -rf .venv .pytest_cache .ruff_cache lls.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
