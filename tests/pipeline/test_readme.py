"""The README's commands in order, on finished runs: what each says must follow from those before it.

``jobs/walkthrough.py`` runs all of them in full, in an empty home.
"""

import importlib
import runpy
import shutil
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

from mosar.config import parse
from mosar.jobs import cli, hydra_main, walkthrough

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = walkthrough.blocks((ROOT / "README.md").read_text(encoding="utf-8"))
COMMANDS = [words for block in BLOCKS if not block.language for words in block.commands]


def job_of(words: list[str]) -> tuple[str, list[str]] | None:
    """Name and arguments of the job that a command starts, here or by submission."""
    if "python" not in words or words[0] not in {"python", "ray"}:
        return None
    at = words.index("python")
    return Path(words[at + 1]).stem, words[at + 2 :]


def test_the_environment_is_activated_before_it_is_used() -> None:
    first = [words[0] for words in COMMANDS if words[0] != "make"]
    assert first[0] == "source"


def test_every_command_of_a_job_has_known_keys() -> None:
    jobs = [job for words in COMMANDS if (job := job_of(words))]
    assert {"make_shards", "train_stage", "train_all", "assemble", "serve"} <= {name for name, _ in jobs}
    for name, arguments in jobs:
        main = importlib.import_module(f"mosar.jobs.{name}").main
        parse(typing.get_type_hints(main)["config"], hydra_main.compose(name, arguments), name)


def test_the_blocks_run_in_order(
    pipeline: Any, photographs: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages are trained already, and shards made without a cluster: everything else is as it stands there."""
    demo = tmp_path / "out" / "demo" / "storage" / "bundles"
    demo.mkdir(parents=True)
    (demo / "demo").symlink_to(pipeline.bundle)
    data = tmp_path / "data"
    (data / "portraits").mkdir(parents=True)
    (data / "portraits" / "a.png").write_bytes(photographs["plain"])
    (tmp_path / "portrait.jpg").write_bytes(photographs["jpeg"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOSAR_STORAGE", str(pipeline.storage))
    ran = []
    for block in BLOCKS:
        if block.language == "python":
            exec("\n".join(block.lines), {})  # the README's own lines
            continue
        for words in block.commands:
            if words[0] == "mosar":
                assert cli.main(words[1:]) == 0, words
            elif words[0] == "python" and words[1] != "jobs/serve.py":
                name, arguments = job_of(words) or ("", [])
                small = pipeline.small if "source=virtual" in arguments else ()  # as the fixture made it
                run(name, [*(a.replace("/data/", f"{data}/") for a in arguments), *small], monkeypatch)
                ran.append(name)
    assert ran[:3] == ["make_shards"] * 3
    assert (tmp_path / "avatar" / "avatar.glb").is_file()
    made = {path.name for path in (pipeline.storage / "data").iterdir()}
    assert {"virtual-tiny", "wild-tiny", "wild-portraits", "studio-paper"} <= made
    assert (pipeline.storage / "bundles" / "mine").is_dir()
    shutil.rmtree(pipeline.storage / "bundles" / "mine")


def run(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    few = ["concurrency=0", "presets.paper.map_size=64", "presets.paper.image_size=64"] if name == "make_shards" else []
    monkeypatch.setattr(sys, "argv", [f"jobs/{name}.py", *arguments, *few])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "jobs" / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0, (name, arguments)
