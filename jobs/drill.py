"""Faults on purpose: ``python jobs/drill.py [what=NAME] [key=value ...]``; the last line printed is JSON.

By default (``what=faults``) a training is disturbed in many ways and has to end with the undisturbed one's weights.
"""

import sys

from mosar.jobs import registry

if __name__ == "__main__":
    sys.exit(registry.run("drill", "mosar.jobs.fault_injection.drills", "what", "run", default="faults"))
