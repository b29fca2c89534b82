"""The command line: what is missing is noticed before anything is loaded; one sentence in place of a traceback."""

import builtins
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mosar.jobs import cli, hydra_main, system_libraries
from mosar.jobs.package import Package
from mosar.platform.storage import bundle

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "cv2", "mediapipe", "ray", "numba")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jpg", "-o", "out"], "missing.jpg: no such file"),
        (["photo.jpg", "-o", "out", "--bundle", "missing"], "not a bundle"),
        (["photo.jpg", "-o", "photo.jpg"], "photo.jpg is a file, expected a folder"),
        (["photo.jpg", "-o", "out", "--threads", "0"], "--threads: got '0', expected a whole number, 1 to 1024"),
    ],
)
def test_what_is_missing_is_noticed_before_anything_is_loaded(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    program = (
        "import sys; from mosar.jobs.cli import main; code = main(sys.argv[1:]); "
        f"sys.exit(code if not {set(HEAVY)} & set(sys.modules) else 99)"
    )
    command = [sys.executable, "-c", program, "reconstruct", *arguments, "--storage", str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("device", ["cuda", "banana"])
def test_a_device_that_is_not_there_is_one_sentence(
    device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "photo.jpg").write_bytes(b"")
    bundle.write_files(str(tmp_path / "bundle"), {"head.npz": b""}, {})
    command = ["reconstruct", str(tmp_path / "photo.jpg"), "-o", str(tmp_path / "out")]
    assert cli.main([*command, "--bundle", str(tmp_path / "bundle"), "--device", device]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: device: got {device!r}"[: -2 - len(device)])


def without(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing OpenCV or mediapipe fails as it does on a machine without the library."""
    original = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".", maxsplit=1)[0] in {"cv2", "mediapipe"}:
            raise ImportError(f"{library}: cannot open shared object file: No such file or directory")
        return original(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize("library", ["libGL.so.1", "libEGL.so.1", "libGLESv2.so.2"])
def test_a_missing_system_library_is_one_sentence_with_the_remedy(
    library: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(_: Any) -> None:
        without(library, monkeypatch)
        try:
            import cv2  # noqa: F401
        except ImportError as error:
            raise OSError("could not start") from error

    assert hydra_main.run(job, Package, "package", []) == 1
    said = capsys.readouterr().err
    assert library in said
    assert "apt-get install libgl1 libegl1 libgles2" in said
    assert said.count("\n") == 1


def test_other_errors_are_not_taken_for_missing_libraries() -> None:
    assert system_libraries.missing(KeyError("libGL.so.1")) is None


def test_every_job_can_be_started_without_the_libraries() -> None:
    """OpenCV is imported where it is used, so that the error can be told in one sentence."""
    jobs = sorted(path.stem for path in Path(hydra_main.__file__).parent.glob("*.py"))
    program = (
        "import sys, importlib; sys.modules['cv2'] = sys.modules['mediapipe'] = None\n"
        f"for name in {jobs}: importlib.import_module('mosar.jobs.' + name)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert importlib.import_module("mosar.jobs.make_shards")


def test_workers_are_forked_unless_threads_may_run_already() -> None:
    asked = "from mosar.jobs.commands.photograph_workers import start_method; print(start_method())"
    for first, expected in (("import mosar.jobs.cli", "fork"), ("import torch", "spawn")):
        done = subprocess.run([sys.executable, "-c", f"{first}; {asked}"], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == (expected if sys.platform == "linux" else "spawn")


def test_a_reader_that_leaves_is_no_traceback() -> None:
    command = [sys.executable, "-m", "mosar.jobs.cli", "info", "released"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1
