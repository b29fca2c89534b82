"""Entry point that all jobs share: Hydra composes the configuration; errors become one line and an exit code.

A job is ``python jobs/<name>.py key=value ...``; its defaults come from ``jobs/config/<name>.yaml`` and from its frozen
dataclass. Any key of the dataclass may be set, whether or not the file mentions it. For jobs on stages the defaults
list of the file has ``recipe@_global_: ${stage}/${preset}``, which picks ``jobs/config/recipe/<stage>/<preset>.yaml``.
"""

import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mosar import config as configs
from mosar.errors import ConfigError, InputError, RunError, StoppedError
from mosar.jobs import job_help, system_libraries
from mosar.jobs.job_help import Groups
from mosar.platform.monitoring.redact import redact

Config = TypeVar("Config")

CONFIG_FOLDER = Path(__file__).resolve().parent / "config"
RECIPES = CONFIG_FOLDER / "recipe"

_EXAMPLE = "train.steps=10"
_NONE: Groups = {}

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def run(
    main: Callable[[Config], object],
    config_class: type[Config],
    config_name: str,
    argv: Sequence[str] | None = None,
    groups: Groups = _NONE,
) -> int:
    """Compose and parse the configuration, call ``main``, and return the exit code.

    The exit code is 0 on success, 2 for invalid input, 1 for a run that failed, 130 for one that was asked to stop.

    ``--help`` prints every key with its default and meaning instead; ``groups`` gives it the dataclasses of keys that
    depend on others. ``argv`` does not include the program's name.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if {"-h", "--help"} & set(arguments):
            print(_help(config_class, config_name, [a for a in arguments if a not in {"-h", "--help"}], groups))
            return 0
        main(configs.parse(config_class, compose(config_name, arguments), config_name))
    except InputError as error:
        print(f"error: {redact(_one_line(error))}", file=sys.stderr)
        return BAD_INPUT
    except StoppedError as error:
        print(f"stopped: {redact(str(error))}", file=sys.stderr)
        return INTERRUPTED
    except RunError as error:
        print(f"failed: {redact(str(error))}", file=sys.stderr)
        if lacking := system_libraries.missing(error):
            print(f"failed: {lacking}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        lacking = system_libraries.missing(error)
        if lacking is None:
            raise
        print(f"failed: {lacking}", file=sys.stderr)
        return FAILED
    return 0


def compose(config_name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the configuration as plain containers, with the overrides applied.

    Raises:
        ConfigError: Hydra cannot read an override, an option does not exist, or a value is missing.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    groups = _register_groups(config_name)
    wrong = next((o for o in overrides if "=" not in o and not o.startswith("~")), None)
    if wrong is not None:
        raise ConfigError(f"got {wrong!r}; keys are given as key=value, such as {_EXAMPLE}; --help lists them")
    try:
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            composed = hydra_compose(config_name, overrides=[_settable(o, groups) for o in overrides])
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        message = re.split(r"Config search path:|See https://hydra", _one_line(error))[0].strip()
        message = re.sub(r"^\w*Exception: ", "cannot read ", message)
        raise ConfigError(message) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def stage_names() -> list[str]:
    """Names of the stages that have recipes."""
    return sorted(folder.name for folder in RECIPES.iterdir() if folder.is_dir())


def presets(stage: str) -> list[str]:
    """Presets that a stage has a recipe for."""
    return sorted(path.stem for path in (RECIPES / stage).glob("*.yaml"))


def _register_groups(config_name: str) -> set[str]:
    """Register the options of the groups ``stage`` and ``preset``, from the recipes, if the configuration uses them.

    Returns the names of all groups that the configuration uses.
    """
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    values = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / f"{config_name}.yaml"))
    assert isinstance(values, dict)
    chosen = {str(key) for item in values.get("defaults", []) if not isinstance(item, str) for key in item}
    store = ConfigStore.instance()
    for group, names in (("stage", stage_names()), ("preset", sorted({p for s in stage_names() for p in presets(s)}))):
        store.repo.pop(group, None)
        for name in names if group in chosen else ():
            store.store(name=name, group=group, package="_global_", node={group: name})
    return chosen


def _settable(override: str, groups: Collection[str]) -> str:
    """Let a plain ``key=value`` set keys that are not in the files; the dataclass later rejects unknown keys.

    ``key=a,b`` is a list: Hydra would run the job once for each.
    """
    key, equals, value = override.partition("=")
    if equals and "," in value and not set(value) & set("[]{}()'\""):
        override = f"{key}=[{value}]"
    return override if key in groups or not equals or key[:1] in {"+", "~", ""} else f"++{override}"


def _help(config_class: type[Any], config_name: str, overrides: Sequence[str], groups: Groups) -> str:
    """Every key, with the values that the overrides and the files give, as far as they can be known."""
    about = (sys.modules[config_class.__module__].__doc__ or "").strip()
    parts = [about, f"usage: python jobs/{config_name}.py [key=value ...]"]
    try:
        values = compose(config_name, overrides)
        if overrides:
            configs.parse(config_class, values, config_name)
    except ConfigError as error:
        if overrides:
            parts.append(f"error: {_one_line(error)}")
        values = _stated(config_name)
    chosen = _register_groups(config_name)
    if "stage" in chosen:
        options = [f"  {name:<12} presets {', '.join(presets(name))}" for name in stage_names()]
        parts.append("\n".join(["stages:", *options]))
    return "\n\n".join([*parts, job_help.keys(config_class, values, groups)])


def _stated(config_name: str) -> dict[str, Any]:
    """The keys that the file itself has, not resolved."""
    from omegaconf import OmegaConf

    values = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / f"{config_name}.yaml"))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key != "defaults"}


def _one_line(error: BaseException) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())
