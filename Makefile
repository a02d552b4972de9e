# Everything a person or CI does with this repository. Needs Python 3.11+, pip and make; `make help` lists the targets.

PYTHON ?= python3
PIP_ARGS ?=
ARGS ?=
WORKERS ?= 2
KILLS ?= 50
SEED ?= 0

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MINIMUM := (3, 11)

# One thread per test process: two that use every core each are slower than one.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest
# pytest's exit status when it finds no test, as in a checkout that has none of a kind yet.
NO_TESTS := 5

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-gpu test-ray soak check format bench bench-analysis bench-masks bench-quality bench-scaling docs dist clean distclean

help: ## Show this list
	@echo "Usage: make TARGET [PYTHON=python3.12] [ARGS='more arguments for pytest or the demo']"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## Create .venv with evoprune and its tools, at the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null \
	  || { echo "make: $(PYTHON) not found; evoprune needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < $(MINIMUM))' \
	  || { echo "make: evoprune needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); try make PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < $(MINIMUM))' 2>/dev/null \
	  || { echo "Creating $(VENV) with $$($(PYTHON) -V)"; $(PYTHON) -m venv --clear --without-pip $(VENV); }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --default-pip >/dev/null 2>&1 \
	  || $(PYTHON) -m pip --python $(BIN)/python install -qq pip
	@echo "Installing evoprune into $(VENV): a few minutes the first time (log: $(VENV)/install.log)"
	@rm -f $(VENV)/.failed; { PYTHONUNBUFFERED=1 $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off \
	  --log $(VENV)/install.log $(PIP_ARGS) -c constraints.txt -e '.[dev]' 2>&1 || touch $(VENV)/.failed; } \
	  | sed -nE '/(Downloading|Using cached) .*[0-9] MB\)/p; /^ *(ERROR|error):/p'
	@test ! -e $(VENV)/.failed || { echo "make: the installation failed, see $(VENV)/install.log" >&2; exit 1; }
	@touch $@

demo: install ## Train, prune and compare the MNIST CNN, in runs/demo
	$(BIN)/evoprune run mnist-cnn --out runs/demo $(ARGS)

test: install ## Run the fast tests (under 3 minutes)
	$(PYTEST) -n $(WORKERS) $(ARGS)

test-slow: install ## Run the slow tests (under 10 minutes)
	$(PYTEST) -m slow -n $(WORKERS) $(ARGS) || test $$? -eq $(NO_TESTS)

test-gpu: install ## Run the tests that need a CUDA device
	$(PYTEST) -m gpu $(ARGS) || test $$? -eq $(NO_TESTS)

test-ray: install ## Run the tests that start a Ray cluster on this machine; installs the extra (minutes)
	$(BIN)/python -m pip install --disable-pip-version-check -qq $(PIP_ARGS) -c constraints.txt -e '.[ray]'
	$(PYTEST) -m ray $(ARGS)

soak: install ## Kill runs at 50 random moments (KILLS=n, SEED=n) and at every write, and see that all resume to the same end (minutes)
	EVOPRUNE_SOAK_KILLS=$(KILLS) EVOPRUNE_SOAK_SEED=$(SEED) \
	  $(PYTEST) tests/run/test_soak.py -m slow -o log_cli=true -o log_cli_level=WARNING $(ARGS)

docs: install ## Build the documentation as a site, in site/; installs the extra
	$(BIN)/python -m pip install --disable-pip-version-check -qq $(PIP_ARGS) -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

dist: install ## Build the wheel of a release, in dist/
	$(BIN)/python -m pip wheel --disable-pip-version-check --quiet --no-deps --wheel-dir dist .

check: install ## Lint, check the format, the types and the imports between layers
	@failed=0; for tool in "ruff check ." "ruff format --check ." mypy "lint-imports --no-logo"; do \
	  echo "$(BIN)/$$tool"; $(BIN)/$$tool || failed=1; \
	done; exit $$failed

format: install ## Rewrite the code in the project's format, with the safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install ## Measure evoprune against a naive script of the same job (long)
	$(BIN)/python benchmarks/naive_mnist/run.py $(ARGS)

bench-analysis: install ## Measure analysis and surgery, against other libraries where they are installed (minutes)
	$(BIN)/python benchmarks/analysis/run.py $(ARGS)

bench-quality: install ## Compare evolved networks with those of all criteria at equal compute (hours)
	$(BIN)/python benchmarks/quality/run.py $(ARGS)

bench-scaling: install ## Measure executors, and simulate clusters of up to 1,000 workers (a quarter of an hour)
	$(BIN)/python benchmarks/scaling/overhead.py > benchmarks/scaling/overhead.json
	$(BIN)/python benchmarks/scaling/real.py --out benchmarks/scaling/real.json
	$(BIN)/python benchmarks/scaling/simulate.py --seeds 3 --out benchmarks/scaling/simulated.json
	$(BIN)/python benchmarks/scaling/figure.py --figure docs/images/scaling.png

bench-masks: install ## Measure evolved weight masks against iterative pruning by fixed rules (hours)
	$(BIN)/python benchmarks/masks/run.py $(ARGS)

clean: ## Remove caches and build output; runs and .venv stay
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove .venv as well
	rm -rf $(VENV)
