"""The endpoint's routes without Ray: errors that a client sees if the server fails."""

import asyncio
import logging
import socket
from types import SimpleNamespace

import httpx
import pytest

from mosar.errors import PhotographError, RunError
from mosar.platform.serving import endpoint
from mosar.platform.serving.config import ServingConfig


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

    async def wrong_routes() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return [await client.get("/v1/nothing"), await client.get("/v1/things"), await client.delete("/healthz")]

    with caplog.at_level(logging.ERROR):
        bug, mistake = asyncio.run(post(b"bug", b"photograph"))
    for answer, status, said in zip(
        asyncio.run(wrong_routes()), (404, 405, 405), ("GET /v1/nothing", "GET", "DELETE"), strict=True
    ):
        assert answer.status_code == status
        assert answer.json()["error"].startswith(said)
        assert "expected POST /v1/things" in answer.json()["error"]
        assert (answer.headers.get("allow") is None) == (status == 404)
    assert bug.status_code == 500
    assert bug.json() == {"error": "internal error; see the log of the endpoint"}
    assert "secret" in caplog.text
    assert (mistake.status_code, mistake.json()) == (422, {"error": "no face"})


@pytest.mark.parametrize("share", [False, True])
def test_a_port_that_is_taken_is_refused_even_if_its_owner_would_share_it(share: bool) -> None:
    with socket.socket() as owner:
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(share))
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        port = owner.getsockname()[1]
        with pytest.raises(RunError, match=rf"port {port} of 127\.0\.0\.1 .*serving\.port"):
            endpoint.check_port(ServingConfig(port=port))
    endpoint.check_port(ServingConfig(port=port))


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(RunError, match="Cannot assign"):
        endpoint.check_port(ServingConfig(host="192.0.2.1", key_file=__file__))
