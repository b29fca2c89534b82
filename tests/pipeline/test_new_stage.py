"""A stage made exactly as docs/new_stage.md says: trained, assembled, and used by inference."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "new_stage.md"
STEPS = "models/reconstruct/steps.py"


def follow(page: Path, checkout: Path) -> list[str]:
    """Write the files that the page shows into a checkout and return their paths."""
    blocks = re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for name, content in blocks:
        path = checkout / name
        if path.exists():
            assert name == STEPS  # the page shows one line of this file
            path.write_text(re.sub(r"^STEPS = .*\n", content, path.read_text(), flags=re.MULTILINE))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    return [name for name, _ in blocks]


@pytest.fixture(scope="module")
def followed(checkout: Path, pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("follow") / "checkout"
    shutil.copytree(checkout, folder)
    names = follow(PAGE, folder)
    package = [f"models/stages/tint/{n}.py" for n in ("__init__", "config", "network", "stage", "inference")]
    assert sorted(names) == sorted([*package, "jobs/config/recipe/tint/tiny.yaml", STEPS])
    return folder


def run(checkout: Path, pipeline: Any, *command: str) -> str:
    environment = {**pipeline.environment(), "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, *command], check=False, cwd=checkout, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_the_page_makes_a_stage(followed: Path, pipeline: Any, photographs: dict[str, bytes], tmp_path: Path) -> None:
    root = f"storage={pipeline.storage}"
    run(followed, pipeline, "jobs/train_stage.py", "stage=tint", "preset=tiny", root)
    held_out = json.loads((pipeline.storage / "runs" / "tint-tiny" / "summary.json").read_text())["heldout"]
    assert held_out["end"] < 0.8 * held_out["start"]
    assert held_out["end"] < held_out["baseline"]
    assert ", tint" in run(followed, pipeline, "jobs/assemble.py", "preset=tiny", "bundle=tinted", root)
    (tmp_path / "photo.png").write_bytes(photographs["plain"])
    command = ["-m", "mosar.jobs.cli", "reconstruct", str(tmp_path / "photo.png"), "-o", str(tmp_path / "tinted")]
    run(followed, pipeline, *command, "--bundle", "tinted", "--storage", str(pipeline.storage))
    facts = json.loads((tmp_path / "tinted" / "avatar.json").read_text())
    assert "tint" in facts["timings_s"]
    assert np.asarray(cv2.imread(str(tmp_path / "tinted" / "maps" / "diffuse.png"))).std() > 5
