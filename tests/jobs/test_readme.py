"""The README's commands; ``jobs/walkthrough.py`` runs all of them in full, in an empty home."""

import importlib
import os
import subprocess
import typing
from pathlib import Path

from mosar.config import parse
from mosar.jobs import hydra_main, walkthrough

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = walkthrough.blocks((ROOT / "README.md").read_text(encoding="utf-8"))
COMMANDS = [words for block in BLOCKS if not block.language for words in block.commands]


def job_of(words: list[str]) -> tuple[str, list[str]] | None:
    """Name and arguments of the job that a command starts, here or by submission."""
    if "python" not in words or words[0] not in {"python", "ray"}:
        return None
    at = words.index("python")
    return Path(words[at + 1]).stem, words[at + 2 :]


def test_a_block_without_a_server_ends_with_the_code_of_its_commands(tmp_path: Path) -> None:
    for command, code in (("true", 0), ("exit 3", 3)):
        script = walkthrough.script(walkthrough.Block("", (command,)), tmp_path)
        assert subprocess.run(["bash", "-c", script], check=False, env={"PATH": os.defpath}).returncode == code


def test_the_environment_is_activated_before_it_is_used() -> None:
    first = [words[0] for words in COMMANDS if words[0] != "make"]
    assert first[0] == "source"


def test_every_command_of_a_job_has_known_keys() -> None:
    jobs = [job for words in COMMANDS if (job := job_of(words))]
    assert {"make_shards", "train_stage", "train_all", "assemble", "serve"} <= {name for name, _ in jobs}
    for name, arguments in jobs:
        main = importlib.import_module(f"mosar.jobs.{name}").main
        parse(typing.get_type_hints(main)["config"], hydra_main.compose(name, arguments), name)
