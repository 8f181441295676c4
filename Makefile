# Needs Python 3.11 or newer and make, not root. All is installed into .venv, and again only when pyproject.toml changes.

PYTHON ?= python3
TORCH ?= 2.13.0
VENV := .venv
OLDEST := .venv-oldest
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check install --quiet

# What touches the dependencies most, in some minutes; nothing that needs torch, whose oldest build without CUDA is gone.
OLDEST_TESTS := $(patsubst %,tests/test_%.py,programs training estimators embeddings methods family samplers snle ratio \
	velocity driver resume store simulation_command simulation_executors simulation_failures diagnostics check arviz plots \
	diagnostic_plots report watch cli)

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-printed test-wheel test-oldest lint format docs wheel bench bench-store bench-accuracy clean

help: ## list what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

demo: $(VENV)/light ## infer a posterior over two rounds and draw it
	$(RUN) examples/multiround.py

test: $(VENV)/full ## run the tests, in two processes
	$(RUN) -m pytest --numprocesses 2 --dist worksteal

test-slow: $(VENV)/full ## run the long statistical tests and the crash campaign
	$(RUN) -m pytest -m slow

test-printed: $(VENV)/full ## run the code and commands that the README and the documentation print
	$(RUN) -m pytest --numprocesses 2 --dist worksteal -m printed

test-wheel: $(VENV)/full ## build a wheel, and test that it installs and works in a clean environment
	$(RUN) -m pytest -m slow tests/test_wheel.py

test-oldest: $(OLDEST)/full ## run tests with the oldest dependencies that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest -p no:cacheprovider $(OLDEST_TESTS)

lint: $(VENV)/full ## check style, format and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright --pythonpath $(RUN)

format: $(VENV)/full ## format the sources
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: $(VENV)/full ## build the documentation into docs/_build/html, running its code
	$(RUN) -m sphinx --fail-on-warning --keep-going -b html docs docs/_build/html

wheel: $(VENV)/full ## build a wheel and a source archive into dist
	$(RUN) -m build --outdir dist .

bench: $(VENV)/full ## measure speed; PEER_PYTHON=... is a Python with sbi, to measure beside it
	$(RUN) benchmarks/speed.py compare $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON))

bench-store: $(VENV)/full ## measure running and keeping simulations; DIRECTORY=... is where the run files go
	$(RUN) benchmarks/store.py $(if $(DIRECTORY),--directory "$(DIRECTORY)")

bench-accuracy: $(VENV)/full ## score posteriors against references; DATA=... is the folder of sbibm's tasks
	$(if $(DATA),,$(error DATA is not set: make bench-accuracy DATA=FOLDER, a folder as described in benchmarks/README.md))
	$(RUN) benchmarks/sbibm.py --data "$(DATA)"

clean: ## remove what was installed and made
	rm -rf $(VENV) $(OLDEST) build dist docs/_build src/*.egg-info .pytest_cache .ruff_cache multiround.png
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/light: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "homing needs Python 3.11 or newer, found $$($(PYTHON) --version 2>&1). Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Installing homing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@touch $@

# Without CUDA torch is gigabytes smaller: from the configured sources if they have such a build, else from PyTorch's own.
$(VENV)/full: $(VENV)/light
	@echo "Installing what the tests need into $(VENV) ..."
	@$(PIP) torch==$(TORCH)+cpu 2>/dev/null \
		|| $(PIP) torch==$(TORCH) --index-url https://download.pytorch.org/whl/cpu \
		|| { echo "No torch $(TORCH) without CUDA was found. Installing the package index's torch: on Linux with CUDA, several GB." >&2; \
			$(PIP) torch; }
	@$(PIP) --editable '.[test]'
	@touch $@

$(OLDEST)/full: pyproject.toml .ci/oldest.py
	@echo "Installing the oldest dependencies into $(OLDEST) ..."
	@$(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python .ci/oldest.py numpyro flows tables cli parquet arviz bench > $(OLDEST)/oldest.txt
	@$(OLDEST)/bin/python -m pip --disable-pip-version-check install --quiet --requirement $(OLDEST)/oldest.txt pytest
	@$(OLDEST)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --editable .
	@touch $@
