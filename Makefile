# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
GPU    ?= outputs/gpu.json
RUN    ?= outputs/demo/$(shell date +%Y-%m-%d_%H-%M-%S)
SPNN   ?= $(BIN)/spnn
DIST   := outputs/dist
LOWEST := outputs/lowest
# A file of tests is one process's, in the order that tests/conftest.py gives.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo train-and-show test nightly test-lowest docs release benchmark gpu install format clean

# Train the default experiment, sample from it, evaluate it, and say where the pictures are.
demo: install
	$(MAKE) --no-print-directory train-and-show

train-and-show: RUN := $(RUN)
train-and-show:
	$(SPNN) train name=demo folder=$(RUN)
	$(SPNN) sample run=$(RUN)
	$(SPNN) sample run=$(RUN) task=edit 'edit.set={Eyeglasses: yes}'
	$(SPNN) evaluate run=$(RUN)
	@printf '\nThe run:      %s\n' $(RUN)
	@printf 'Pictures:     %s\n' $(RUN)/samples/reconstruct/grid.png $(RUN)/samples/edit/grid.png \
		$(RUN)/evaluation/reconstruction/grid.png $(RUN)/evaluation/reconstruction/agreement.png
	@printf 'Report:       %s\n' $(RUN)/report.html

test: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy
	$(PYTEST)

# The tests that `make test` leaves out, too: launchers, and pages in a browser (Debian: apt install chromium).
nightly: docs
	$(PYTEST) -m ""

# The quick tests with the oldest versions that pyproject.toml allows, in an environment of their own.
test-lowest:
	$(PYTHON) -m venv --clear $(LOWEST)
	$(PYTHON) tests/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet -c $(LOWEST)/constraints.txt -e '.[detection]' hatch-vcs hypothesis pytest pytest-xdist
	$(LOWEST)/bin/python -m pytest tests -m "not slow and not nightly" -p no:cacheprovider \
		$(patsubst %,--ignore=tests/test_%.py,azula sweeps tracking)   # what the extras bring

# The wheel and the source distribution in outputs/dist, and the demo from the wheel in a clean environment; then see
# CONTRIBUTING.md, "A release".
release: install
	test -z "$$(git status --porcelain)" || { echo "there are changes that aren't committed: git status"; exit 1; }
	rm -rf $(DIST) && $(BIN)/python -m hatchling build -d $(DIST)
	$(PYTHON) -m venv $(DIST)/clean
	$(DIST)/clean/bin/python -m pip install --quiet -c constraints.txt $(DIST)/*.whl
	$(DIST)/clean/bin/spnn doctor
	cd $(DIST) && $(MAKE) -f $(CURDIR)/Makefile train-and-show SPNN=clean/bin/spnn   # away from this checkout's conf/
	ls -l $(DIST)

# The documentation as a site, outputs/site/index.html; a warning is an error.
docs: install
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The core, a sampling step and the readers of data beside plainly written ones; some 20 minutes on two cores.
benchmark: install
	$(BIN)/python -m benchmarks.core
	$(BIN)/python -m benchmarks.sampling
	$(BIN)/python -m benchmarks.data

# What holds and how fast it is on a CUDA card, as one file of JSON; at most eight minutes. Without a card it takes long.
gpu: install
	$(BIN)/python -m benchmarks.gpu --output $(GPU)

install: $(VENV)/installed

# The known-good versions; without `-c constraints.txt` pip takes the newest that pyproject.toml allows.
$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The virtual environment and caches; never the runs.
clean:
	rm -rf $(VENV) outputs/cache .mypy_cache .pytest_cache .ruff_cache
