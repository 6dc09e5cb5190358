# `make film` and `make test` each work alone in a fresh clone.
PYTHON ?= python3
VENV   := .venv
PIP    := $(VENV)/bin/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help film test rife setup lint format clean
.NOTPARALLEL: # two installs must not write one .venv at once

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-15s %s\n", $$1, $$2 }'

film: $(VENV)/.film ## Render the example story as a draft film
	$(VENV)/bin/storyboard render examples/lighthouse/story.toml --draft

test: $(VENV)/.dev ## Run every check and the whole test suite
	@scripts/check

# Its build needs: apt install g++ libvulkan-dev python3-dev swig. With libvulkan1 mesa-vulkan-drivers it also draws by
# Vulkan, on a software driver where there is no GPU.
rife: $(VENV)/.dev ## Build rife-ncnn-vulkan-python and test against it
	scripts/build_rife_ncnn --no-models
	$(PIP) install --no-deps --force-reinstall dist/rife_ncnn_vulkan_python-1.2.1-*.whl
	REQUIRE_RIFE_NCNN=1 $(VENV)/bin/pytest tests/test_rife_ncnn.py

setup: $(VENV)/.dev ## Make .venv with all that development needs

lint: $(VENV)/.dev ## Run the checks without the tests
	@scripts/check lint

format: $(VENV)/.dev ## Format the code and mend what ruff can
	$(VENV)/bin/ruff check --fix-only --quiet
	$(VENV)/bin/ruff format

clean: ## Remove .venv and all caches; stories and kept work stay
	rm -rf $(VENV) dist .hypothesis .pytest_cache .ruff_cache .import_linter_cache
	find storyboard scenes post tests scripts -name __pycache__ -prune -exec rm -rf {} +

# A stamp stands for what was installed. The dev one implies the other; a film alone needs no development tools.
$(VENV)/.film: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e '.[upscale]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e '.[wan,dev]'
	@touch $(VENV)/.film $@

# A .venv left half made would pass for a whole one on the next run: remove it.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "storyboard needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
	  echo "Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
