import pytest

from mosar.errors import DataError
from mosar.platform.monitoring.redact import redact
from mosar.platform.training import failure


def test_logins_and_secret_variables_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc123secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalr/K7MDENG")
    monkeypatch.setenv("SERVING_KEY_FILE", "/etc/hostname")
    said = "https://me:hunter2@odd@host.example/api?t=abc123secret with wJalr/K7MDENG in /etc/hostname: s3://bucket/a@b"
    assert redact(said) == (
        "https://host.example/api?t=[MLFLOW_TRACKING_TOKEN] with [AWS_SECRET_ACCESS_KEY] in /etc/hostname: s3://bucket/a@b"
    )


def test_a_run_keeps_no_secret_of_its_failure(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path
    from types import SimpleNamespace

    monkeypatch.setenv("WANDB_API_KEY", "f00dfeed")
    spec = SimpleNamespace(location=str(tmp_path), submission="a")
    failure.keep_traceback(spec, "Error: key f00dfeed is refused")  # type: ignore[arg-type]
    failure.note_failure(spec, DataError("http://u:f00dfeed@host is gone"))  # type: ignore[arg-type]
    texts = [path.read_text() for path in Path(str(tmp_path)).iterdir()]
    assert len(texts) == 2
    assert not any("f00dfeed" in text for text in texts)
