"""Jobs that run a module by name: ``jobs/bench.py suite=NAME``, ``jobs/evaluate.py what=NAME``, ``jobs/drill.py``.

Each module has a frozen dataclass ``Config`` and a function that takes it and returns JSON-ready metrics. It may have a
function ``short``, which returns the metrics that miss their requirements; the job fails if there are any.
"""

import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from mosar.errors import RunError
from mosar.jobs import hydra_main


def run(
    script: str, package: str, key: str, function: str, argv: Sequence[str] | None = None, default: str | None = None
) -> int:
    """Call ``function(Config)`` of the module of ``package`` that ``key=NAME`` chooses; the last line printed is JSON.

    Metrics are printed one per line for people, then ``{"suite": NAME, "metrics": {...}}``. Values that the modules
    share may be in ``jobs/config/<script>.yaml``. ``default`` is chosen if ``key`` is missing. Returns the exit code.
    """
    # Otherwise waiting threads would spin on cores that other work needs. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = [a.partition("=")[2] for a in arguments if a.startswith(f"{key}=")] or [default or ""]
    names = sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__))
    if {"-h", "--help"} & set(arguments) and not chosen[0]:
        print(f"{(sys.modules['__main__'].__doc__ or '').strip()}\n\n{key}=NAME with --help lists the keys of one:")
        for name in names:
            about = (importlib.import_module(f"{package}.{name}").__doc__ or "").strip().splitlines()
            print(f"  {key}={name:<18} {about[0] if about else ''}")
        return 0
    if len(chosen) != 1 or chosen[0] not in names:
        print(
            f"error: got {key}={','.join(chosen)}; expected {key}=NAME with one of {', '.join(names)}", file=sys.stderr
        )
        return hydra_main.BAD_INPUT
    module = importlib.import_module(f"{package}.{chosen[0]}")

    def main(config: Any) -> None:
        call: Callable[[Any], dict[str, Any]] = getattr(module, function)
        metrics = call(config)
        table = Table("metric", "value", box=None)
        for name, value in metrics.items():
            if isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values()):
                continue  # tables of their own; the JSON holds them
            table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
        Console(highlight=False, markup=False).print(table)
        print(json.dumps({"suite": chosen[0], "metrics": metrics}), flush=True)
        if hasattr(module, "short") and (found := module.short(metrics)):
            raise RunError(f"{script}: requirements not met: {'; '.join(found)}")

    rest = [a for a in arguments if not a.startswith(f"{key}=")]
    return hydra_main.run(main, module.Config, script, rest)
