"""Measure quality: ``python jobs/evaluate.py what=NAME [key=value ...]``; the last line printed is JSON."""

import sys

from mosar.jobs import registry

if __name__ == "__main__":
    sys.exit(registry.run("evaluate", "mosar.jobs.evaluation", "what", "evaluate"))
