"""The endpoint's routes without Ray: errors that a client sees if the server fails."""

import asyncio
import logging
from types import SimpleNamespace

import httpx
import pytest

from mosar.errors import PhotographError
from mosar.platform.serving import endpoint


class Replica:
    """Raises the error that the request names."""

    async def respond(self, body: bytes, _: str) -> bytes:
        if body == b"photograph":
            raise PhotographError("no face")
        raise KeyError("secret of /etc/somewhere")


def test_a_bug_returns_500_without_internal_details(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ray.serve.get_replica_context", lambda: SimpleNamespace(servable_object=Replica()))
    app = endpoint._routes("/v1/things", ("image/png",), "", 1000, "")

    async def post(*bodies: bytes) -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return [await client.post("/v1/things", content=body) for body in bodies]

    with caplog.at_level(logging.ERROR):
        bug, mistake = asyncio.run(post(b"bug", b"photograph"))
    assert bug.status_code == 500
    assert bug.json() == {"error": "internal error; see the log of the endpoint"}
    assert "secret" in caplog.text
    assert (mistake.status_code, mistake.json()) == (422, {"error": "no face"})
