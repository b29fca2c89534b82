"""The layout: what may import what, the name ``platform``, and that a wheel holds all that a checkout does."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("platform", "models", "datasets", "jobs")
ALLOWED = {
    "platform": {"platform"},
    "models": {"models"},
    "datasets": {"datasets", "models"},
    "jobs": {"jobs", "platform", "models", "datasets"},
}


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
def test_no_regular_package_at_the_roots(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_tests_have_no_packages() -> None:
    """But for the toy, which is a checkout of its own."""
    toy = ROOT / "tests" / "platform" / "toy"
    assert [p for p in (ROOT / "tests").rglob("__init__.py") if not p.is_relative_to(toy)] == []


def test_platform_is_the_standard_library() -> None:
    code = "import platform; print(platform.system(), platform.__file__)"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    out = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.split()[0] == "Linux"
    assert str(ROOT) not in out.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_arrows(folder: str) -> None:
    files = sources(folder)
    assert files
    for path in files:
        for name in imported(path):
            assert name.split(".")[0] not in {"models", "datasets", "jobs"}, f"{path}: import {name} through mosar"
            if name.startswith("mosar.") and name.split(".")[1] in FOLDERS:
                assert name.split(".")[1] in ALLOWED[folder], f"{path}: {folder} must not import {name}"


def test_models_know_no_ray() -> None:
    for path in [*sources("models"), *sources("datasets")]:
        assert not {n for n in imported(path) if n.split(".")[0] == "ray"}, path


def test_ray_keeps_the_marker_of_a_checkout() -> None:
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


def test_wheel_alone_and_checkout_first(wheel: Path, tmp_path: Path) -> None:
    """The wheel works by itself; a checkout on PYTHONPATH wins over it."""
    installed = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(installed)
    code = (
        "import sys; sys.path.append(sys.argv[1]); import mosar.platform.storage as s, mosar.jobs.cli as c, platform;"
        "print(s.__file__); print(c.__file__); platform.system()"
    )

    def run(first: str) -> list[str]:
        # -S and an explicit path keep the environment's editable install out.
        site = str(Path(pytest.__file__).resolve().parent.parent)
        env = {"PYTHONPATH": first} if first else {}
        command = [sys.executable, "-S", "-c", code.replace("sys.argv[1]", f"{str(installed)!r}")]
        command[3] = f"import sys; sys.path.append({site!r}); " + command[3]
        out = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
        return out.stdout.split()

    assert all(line.startswith(str(installed)) for line in run(""))
    assert all(line.startswith(str(ROOT)) for line in run(str(ROOT)))
