# Everything runs in .venv, which the first target makes. Options, as in `make setup PYTHON=python3.12`:
#
#   PYTHON       the Python that .venv is made with: 3.11 to 3.13
#   TORCH        what pip installs as torch; on Linux the CPU build, since PyPI's brings gigabytes of CUDA
#   TORCH_INDEX  where that is looked for when pip's own settings do not have it
#   ARGS         further arguments for pytest, or for the demo
#   NAME, SEED   of a benchmark; NAME also of bundles or pictures, instead of all
#   WORKERS      of `make test`: how many tests run at a time (three for two cores)

TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
TORCH ?= torch==$(TORCH_VERSION)$(if $(filter Linux,$(shell uname -s)),+cpu)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)

# The environment's pins also hold for what pip builds with. pip is quiet, but shows a large download on a terminal.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
	.venv/bin/python -m pip install
QUIET_TORCH := $(if $(MAKE_TERMERR),,-q)

# Many tests wait, for a device or a process, and leave their core to others.
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
WORKERS ?= $(shell echo $$(( $(CORES) + ($(CORES) + 1) / 2 )))
# What Python compiles is kept, whatever the shell says: the tests start hundreds of processes.
PYTEST := PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist load --maxschedchunk 1

.PHONY: help setup python demo demo-full test test-fast bench bundles pictures wheel lint clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '  make %-10s %s\n' "$$target" "$$text"; done

setup: .venv/ready ## make .venv and install everything into it; the other targets do this themselves

demo: setup ## train a policy, and drive simulated servos with it and with others; 4 minutes on two free cores
	.venv/bin/acclimate demo $(ARGS)

demo-full: setup ## train the policies of both servo presets, and compare all of them; twelve minutes
	.venv/bin/acclimate demo --full $(ARGS)

test: setup ## all tests, side by side
	$(PYTEST) $(ARGS)

test-fast: setup ## what a minute allows: all but tests marked slow, which train, export, install or start many processes
	$(PYTEST) -m "not slow" $(ARGS)

bench: setup ## one benchmark, as in `make bench NAME=latency`
	@.venv/bin/python -m benchmarks $(NAME) $(if $(SEED),--seed $(SEED))

bundles: setup ## train and export examples/bundles/ anew, or NAME; takes hours, and goes on where it was interrupted
	.venv/bin/python -m benchmarks.bundles $(NAME)

pictures: setup ## draw all pictures of docs/ from the code and from recorded data
	.venv/bin/python -m docs.draw $(NAME)

wheel: setup ## dist/acclimate-VERSION-py3-none-any.whl, for a board or another computer
	@.venv/bin/python -m build --wheel --no-isolation --outdir dist . > .venv/build.log 2>&1 \
		|| { cat >&2 .venv/build.log; exit 1; }
	@echo "pip install '$$(ls -t dist/acclimate-*.whl | head -1)[onnx,serial]'"

lint: setup ## ruff, mypy, and the contracts on imports
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

clean: ## remove .venv and caches; runs/ and benchmarks/results/ stay
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

python: ## print the Python that setup takes
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null && echo '$(PYTHON)' || { echo >&2 "acclimate: found no Python 3.11 to 3.13\
	 with venv; install one (on Debian python3 and python3-venv), or name it: make setup PYTHON=/path/to/python3"; exit 1; }

.venv/ready: pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory python > /dev/null
	@.venv/bin/python -c '$(FITS)' 2> /dev/null || { \
		echo "setup: making .venv with $$("$(PYTHON)" --version)"; "$(PYTHON)" -m venv --clear .venv; }
	@echo "setup: installing $(TORCH) (about 200 MB for the CPU build)"
	@$(PIP) $(QUIET_TORCH) "$(TORCH)" 2> .venv/pip.log \
		|| $(PIP) $(QUIET_TORCH) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "$(TORCH)" \
		|| { echo "setup: no $(TORCH) at pip's own indexes or at $(TORCH_INDEX) (TORCH_INDEX); trying torch==$(TORCH_VERSION),\
	 which on Linux may be several GB with CUDA"; $(PIP) $(QUIET_TORCH) "torch==$(TORCH_VERSION)"; } \
		|| { echo >&2 "setup: pip finds no torch==$(TORCH_VERSION); check the network"; exit 1; }
	@echo "setup: installing acclimate and its tools, as constraints.txt pins them"
	@$(PIP) -q -e '.[dev]' 2> .venv/pip.log || { cat >&2 .venv/pip.log; exit 1; }
	@touch $@
	@echo "setup: done"
