"""Inject faults on purpose: ``python jobs/drill.py [what=NAME] [key=value ...]``; the last line printed is JSON.

By default (``what=faults``) a training is disturbed in many ways and must end with the weights of an undisturbed one.
"""

import sys

from mosar.jobs import registry

if __name__ == "__main__":
    sys.exit(registry.run("drill", "mosar.jobs.fault_injection.drills", "what", "run", default="faults"))
