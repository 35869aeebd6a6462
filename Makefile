# Two commands: `make demo` pretrains on built-in digits and ends with a table and a page; `make test` runs the tests.
# Both make the environment first. PYTHON picks the interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-gpu test-lowest test-release lint check site gallery clean

demo: $(VENV)/installed
	$(BIN)/barlow pretrain digits --out runs/digits

# A process per core; the tests of one file stay together, for they share what they set up.
test: $(VENV)/installed-dev
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

# What only a GPU can show, a few minutes on one; elsewhere each test skips and says why. One process: the memory is shared.
test-gpu: $(VENV)/installed-dev
	$(BIN)/python -m pytest -rs tests/gpu

# The lowest versions that pyproject.toml promises, in an environment of their own: the losses, the recipes, and a run.
# Without the run-time checks of types, which the lowest jaxtyping cannot set up, nor beartype on Python 3.10.
LOWEST := build/lowest
UNCHECKED := -o addopts='-q -p no:anyio'
test-lowest:
	rm -rf $(LOWEST) && $(PYTHON) -m venv $(LOWEST) && $(PYTHON) .ci/lowest.py > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/lowest.txt --editable . pytest hypothesis beartype
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -p no:cacheprovider $(UNCHECKED) tests/methods tests/statistics tests/recipes tests/golden/test_losses.py
	$(LOWEST)/bin/barlow pretrain digits --epochs 2 --quiet --out $(LOWEST)/run

# What would be released, installed as users install it: wheel and sdist, each in a clean environment of PYTHON.
test-release:
	PYTHON=$(PYTHON) .ci/release

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

# The documents as a site in build/site; a link that leads nowhere is an error. `make gallery` before it shows real pages.
site: $(VENV)/installed-dev
	$(BIN)/python docs/site.py build/docs
	$(BIN)/zensical build --strict

# Pages of a run, an audit, a comparison, a map, a study and an atlas into build/gallery, from the built-in digits.
gallery: $(VENV)/installed
	$(BIN)/python benchmarks/gallery.py

clean:
	rm -rf $(VENV) build dist runs/digits

# torch and torchvision first and by name: whatever build of them this machine offers is the one that is taken.
$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "barlow needs Python 3.10 or newer; this is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "making the environment in $(VENV) (torch is large: a minute or a few)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch torchvision
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
