"""Jobs that are several of a kind: ``jobs/bench.py suite=NAME``, ``jobs/evaluate.py what=NAME``, ``jobs/drill.py``.

Each is a module with a frozen dataclass ``Config`` and a function of it that returns JSON-ready metrics. Where it also
has a function ``short`` of the metrics, which names those that are not as they have to be, the job fails if any is.
"""

import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mosar.errors import RunError
from mosar.jobs import hydra_main


def run(
    script: str, package: str, key: str, function: str, argv: Sequence[str] | None = None, default: str | None = None
) -> int:
    """Call ``function(Config)`` of the module of ``package`` that ``key=NAME`` picks; the last line printed is JSON.

    Metrics are printed one a line for people, then ``{"suite": NAME, "metrics": {...}}``. What the modules share may
    stand in ``jobs/config/<script>.yaml``. ``default`` is picked where ``key`` is not given. Returns the exit code.
    """
    # Threads that wait would otherwise burn the cores that other work needs. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = [a.partition("=")[2] for a in arguments if a.startswith(f"{key}=")] or [default or ""]
    names = sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__))
    if len(chosen) != 1 or chosen[0] not in names:
        print(
            f"error: got {key}={','.join(chosen)}; expected {key}=NAME with one of {', '.join(names)}", file=sys.stderr
        )
        return hydra_main.BAD_INPUT
    module = importlib.import_module(f"{package}.{chosen[0]}")

    def main(config: Any) -> None:
        call: Callable[[Any], dict[str, Any]] = getattr(module, function)
        metrics = call(config)
        width = max(map(len, metrics), default=0)
        for name, value in metrics.items():
            print(f"{name:<{width}}  {f'{value:.4g}' if isinstance(value, float) else value}")
        print(json.dumps({"suite": chosen[0], "metrics": metrics}), flush=True)
        if hasattr(module, "short") and (found := module.short(metrics)):
            raise RunError(f"{script}: not as it has to be: {'; '.join(found)}")

    rest = [a for a in arguments if not a.startswith(f"{key}=")]
    return hydra_main.run(main, module.Config, script, rest)
