.PHONY: install demo test check
PYTHON ?= python3.11
export NO_ALBUMENTATIONS_UPDATE = 1
export RAY_USAGE_STATS_ENABLED = 0

install: .venv/.installed

# Where a pinned package has no wheel, pip would fail in the middle of a long installation.
define SUPPORTED
import platform, sys
version, machine = sys.version_info[:2], (platform.system(), platform.machine())
lacking = {("Linux", "aarch64"): "mediapipe and embreex", ("Darwin", "x86_64"): "torch"}
if machine not in {("Linux", "x86_64"), ("Darwin", "arm64")}:
    what = lacking.get(machine, "several pinned packages")
    sys.exit(f"error: {machine[0]} on {machine[1]}: {what} have no wheel for it; README.md names the platforms")
if not (3, 11) <= version <= (3, 13):
    sys.exit(f"error: Python {version[0]}.{version[1]}, expected 3.11 to 3.13: make PYTHON=python3.11")
endef
export SUPPORTED

# The stamp is newer than pyproject.toml only if all its pinned packages are installed.
.venv/.installed: pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "error: there is no $(PYTHON); name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c "$$SUPPORTED"
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
