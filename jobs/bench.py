"""Measure speed: ``python jobs/bench.py suite=NAME [key=value ...]``; the last line printed is JSON."""

import sys

from mosar.jobs import registry

if __name__ == "__main__":
    sys.exit(registry.run("bench", "mosar.jobs.benchmarks", "suite", "run"))
