# `make` lists the targets. Everything is made in this folder: .venv, .cache, _build.

PROFILE ?= quick
PYTHON ?= python3
SNAKEMAKE_ARGS ?=
# What to do with trained runs that are stale: keep, or retrain, then those of older code too. Nothing: quick trains
# stale ones again, other profiles ask.
STALE ?=
# The archive or folder of images for `make verify`; the time that `make benchmark` may take.
DATA ?=
MINUTES ?=
# The shell reads these from the environment, "$$DATA", so that spaces and quotes in them do no harm.
export PROFILE STALE DATA MINUTES PYTHON

SHELL := /bin/bash
BIN := $(CURDIR)/.venv/bin
STAMP := .venv/.installed
REPORTS := $(addprefix notebooks/,design.ipynb results.ipynb implementation.ipynb analysis.ipynb explore.ipynb)

# A process of tests for each core, at most four: each takes 1 GB.
PARALLEL := -n logical --maxprocesses=4

export PATH := $(BIN):$(PATH)
export XNNLIB_CACHE ?= $(CURDIR)/.cache
# Activations in huge pages, where Linux gives them on request: a process can only start with this.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1
# Only the environment's own packages; and their bytecode is kept, as each import of torch would compile
# thousands of modules again where images of containers forbid it.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.PHONY: help setup reproduce status benchmark book pdf verify figures check test lint format clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*##/\1 #/p' Makefile | awk -F' # ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

setup: $(STAMP)  ## make the environment in .venv (PYTHON=python3)

reproduce: $(STAMP)  ## train, draw, build the book (PROFILE=quick|small|paper, or an experiment of profiles/runs.yaml)
	@python tools/reproduce.py "$$PROFILE" "$$STALE" $(SNAKEMAKE_ARGS)

status: $(STAMP)  ## which runs of each profile are there, stale or missing, and why
	@python tools/status.py

benchmark: $(STAMP)  ## training speed on this machine, within MINUTES
	@python benchmarks/benchmark.py $${MINUTES:+--minutes "$$MINUTES"}

book: $(STAMP)  ## build the book from the committed records
	@jupyter-book build . --quiet
	@echo "The book: $(CURDIR)/_build/html/index.html"

pdf: book  ## the paper in two columns, which the book links to: _build/pdf/paper.pdf
	@mkdir -p _build/pdf && cp _build/html/paper.pdf _build/pdf/
	@echo "The paper: $(CURDIR)/_build/pdf/paper.pdf"

verify: $(STAMP)  ## evaluate the shipped weights again (PROFILE=small DATA=archive or folder)
	@python -m xnnlib.verify "results/$$PROFILE" $${DATA:+--data-root "$$DATA"}

figures: $(STAMP)  ## draw figures/ and the report notebooks again, from the committed records
	@jupyter execute --inplace --kernel_name=python3 $(REPORTS)
	@nbstripout --keep-output --keep-count --extra-keys 'metadata.papermill cell.metadata.papermill' $(REPORTS)

check: lint  ## before a commit, in a minute: ruff, and the tests that are not marked slow
	@pytest $(PARALLEL) --dist worksteal -m "not slow" -q

test: lint  ## pytest, nbval on every notebook, a cold book build with warnings as errors, its pages and PDF
	@pytest $(PARALLEL) --dist worksteal
	@rm -rf _build/test && mkdir -p _build/test && cp -R figures _build/test/figures
	@pytest $(PARALLEL) --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=300 $(REPORTS)
	@diff -r figures _build/test/figures || { echo "error: the notebooks draw other figures; run: make figures" >&2; exit 1; }
	@pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 notebooks/train.ipynb
	@jupyter-book build . --all -W --keep-going --quiet --path-output _build/test
	@XNNLIB_BOOK=_build/test/_build/html pytest $(PARALLEL) --dist worksteal tests/check_pages.py tests/check_pdf.py

lint: $(STAMP)  ## ruff: rules and format
	@ruff check
	@ruff format --check

format: $(STAMP)  ## ruff: repair rules and format
	@ruff check --fix
	@ruff format

clean:  ## remove what was built: the book, caches, quick runs, and runs that were replaced (not .venv)
	rm -rf _build .cache .snakemake .pytest_cache .ruff_cache results/quick

$(STAMP): pyproject.toml constraints.txt
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "error: $$PYTHON is missing or older than Python 3.11; name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "Making the environment .venv: some 160 packages, about two minutes"
	@"$$PYTHON" -m venv .venv || { echo "error: $$PYTHON cannot make a virtual environment; install its venv package" >&2; exit 1; }
	@# Compiling each of 20,000 modules costs as much as all the rest; Python compiles those that it imports.
	@set -o pipefail; python -m pip install --no-compile -c constraints.txt -e '.[paper,test]' 2>.venv/pip.log \
	    | awk '/^Collecting/ { if (++n % 20 == 0) print "  found", n } /^Installing collected/ { print "  installing", NF - 3, "packages" } { fflush() }' \
	    || { grep -v '^WARNING' .venv/pip.log >&2; exit 1; }
	@touch $@
