.PHONY: install demo test check
PYTHON ?= python3.11
export NO_ALBUMENTATIONS_UPDATE = 1
export RAY_USAGE_STATS_ENABLED = 0

install: .venv/.installed

# The stamp is newer than pyproject.toml only if all its pinned packages are installed.
.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q --upgrade pip
	.venv/bin/pip install -q -e '.[dev]'
	touch $@

demo: install
	.venv/bin/python jobs/demo.py

test: install
	.venv/bin/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder --durations=10

check: install
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	rm -rf .types && mkdir -p .types/mosar
	for d in platform models datasets jobs; do ln -s ../../$$d .types/mosar/$$d; done
	for f in mosar/*; do ln -s ../../$$f .types/mosar/; done
	MYPYPATH=.types .venv/bin/mypy -p mosar
