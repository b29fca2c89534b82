"""The layout: allowed imports, the name ``platform``, and that a wheel contains all that a checkout does."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("platform", "models", "datasets", "jobs")
GROUND = {"mosar.errors", "mosar.config"}
"""Modules that every file may import."""
ALLOWED = {
    "platform": {"platform"},
    "models": {"models"},
    "datasets": {"datasets", "models"},
    "mosar": {"mosar", "platform", "models", "datasets"},
    "jobs": {"jobs", "mosar", "platform", "models", "datasets"},
}
"""Folder -> folders that it may import; ``mosar`` is the product: bundle, reconstructor, avatars."""
PLATFORM = {
    "storage": set(),
    "cluster": set(),
    "runs": {"storage"},
    "data": {"storage"},
    "monitoring": {"storage", "runs"},
    "training": {"storage", "cluster", "runs", "data", "monitoring"},
    "serving": {"cluster", "monitoring"},
}
"""Folder of the platform -> folders of the platform that it may import besides itself."""


def sources(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("folder", [*FOLDERS, "tests"])
def test_no_init_file_at_the_roots(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_tests_have_no_packages() -> None:
    """Except for the toy, which is a checkout of its own."""
    toy = ROOT / "tests" / "platform" / "toy"
    assert [p for p in (ROOT / "tests").rglob("__init__.py") if not p.is_relative_to(toy)] == []


def test_platform_is_the_standard_library() -> None:
    code = "import platform; print(platform.system(), platform.__file__)"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    out = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.split()[0] == "Linux"
    assert str(ROOT) not in out.stdout


@pytest.mark.parametrize("folder", ALLOWED)
def test_folders_import_only_what_they_may(folder: str) -> None:
    files = sources(folder)
    assert files
    for path in files:
        for name in imported(path):
            first, second = (*name.split("."), "")[:2]
            assert first not in {"models", "datasets", "jobs"}, f"{path}: import {name} through mosar"
            if first == "mosar" and second and not any(name.startswith(ground) for ground in GROUND):
                assert (second if second in FOLDERS else "mosar") in ALLOWED[folder], f"{path} must not import {name}"


def test_errors_and_config_import_nothing_else_of_mosar() -> None:
    for name in GROUND:
        used = imported(ROOT / f"{name.replace('.', '/')}.py")
        assert {n for n in used if n.startswith("mosar")} <= {"mosar.errors", "mosar.errors.ConfigError"}


@pytest.mark.parametrize("room", PLATFORM)
def test_platform_folders_import_only_what_they_may(room: str) -> None:
    assert {path.name for path in (ROOT / "platform").iterdir()} - {"__pycache__"} == set(PLATFORM)
    for path in sources(f"platform/{room}"):
        for name in imported(path):
            if name.startswith("mosar.platform."):
                assert name.split(".")[2] in PLATFORM[room] | {room}, f"{path} must not import {name}"


def test_the_platform_mentions_neither_faces_nor_jobs() -> None:
    words = re.compile(r"photograph|portrait|avatar|\bfaces?\b|landmark|jobs/|mosar\.jobs|make_shards", re.I)
    for path in sources("platform"):
        found = words.findall(path.read_text(encoding="utf-8"))
        assert found == [], path


def test_the_morphable_model_imports_no_stage() -> None:
    for path in sources("models/morphable"):
        above = ("mosar.models.stages", "mosar.models.reconstruct")
        assert not {n for n in imported(path) if n.startswith(above)}, path


def test_inference_loads_no_head_building_and_no_virtual_stage() -> None:
    code = "import mosar.reconstructor, mosar.avatar.files, sys; from mosar.models.reconstruct import steps;"
    code += "[steps.infer_of(name) for name in steps.STEPS]; print(*sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = out.stdout.split()
    assert "mosar.models.stages.geometry.inference" in loaded
    rooms = ("head_building", "virtual_stage", "studio")
    apart = (*(f"mosar.datasets.{room}" for room in rooms), "mosar.jobs", "ray")
    assert not [name for name in loaded if name.startswith(apart)]


def test_models_and_datasets_do_not_import_ray() -> None:
    for path in [*sources("models"), *sources("datasets")]:
        assert not {n for n in imported(path) if n.split(".")[0] == "ray"}, path


def test_rayignore_keeps_the_marker_of_a_checkout() -> None:
    ignored = (ROOT / ".rayignore").read_text(encoding="utf-8").splitlines()
    assert "pyproject.toml" not in ignored
    assert "*.toml" not in ignored


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    return next(folder.glob("*.whl"))


def test_wheel_holds_the_checkout(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    missing = []
    for folder in ("mosar", *FOLDERS):
        for path in (ROOT / folder).rglob("*"):
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            inside = path.relative_to(ROOT).as_posix()
            missing += [] if (inside if folder == "mosar" else f"mosar/{inside}") in held else [inside]
    assert missing == []


def test_wheel_works_alone_and_a_checkout_takes_precedence(wheel: Path, tmp_path: Path) -> None:
    """The wheel works by itself; a checkout on PYTHONPATH takes precedence over it."""
    installed = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(installed)
    code = (
        "import sys; sys.path.append(sys.argv[1]); import mosar.platform.storage as s, mosar.jobs.cli as c, platform;"
        "print(s.__file__); print(c.__file__); platform.system()"
    )

    def run(first: str) -> list[str]:
        # -S and an explicit path exclude the environment's editable install.
        site = str(Path(pytest.__file__).resolve().parent.parent)
        env = {"PYTHONPATH": first} if first else {}
        command = [sys.executable, "-S", "-c", code.replace("sys.argv[1]", f"{str(installed)!r}")]
        command[3] = f"import sys; sys.path.append({site!r}); " + command[3]
        out = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
        return out.stdout.split()

    assert all(line.startswith(str(installed)) for line in run(""))
    assert all(line.startswith(str(ROOT)) for line in run(str(ROOT)))
