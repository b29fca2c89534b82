"""The endpoint without Ray: what a client sees if the server fails, clients that leave or stall, and a full queue."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from mosar.errors import PhotographError, RunError
from mosar.platform.serving import endpoint
from mosar.platform.serving.config import ServingConfig


class Worker:
    """A handler that takes a while, and notices if it is entered twice at once."""

    def __init__(self) -> None:
        self.inside, self.most, self.done = 0, 0, 0
        self.lock = threading.Lock()

    def respond(self, body: bytes, media_type: str) -> bytes:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(0.02)
        with self.lock:
            self.inside -= 1
            self.done += 1
        if body == b"photograph":
            raise PhotographError("no face")
        if body == b"bug":
            raise KeyError("secret of /etc/somewhere")
        return body + media_type.encode()

    def health(self) -> Mapping[str, Any]:
        return {"done": self.done}


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> endpoint._Replica:
    made = endpoint._Replica(Worker, threads=1, max_queued=4)
    monkeypatch.setattr("ray.serve.get_replica_context", lambda: SimpleNamespace(servable_object=made))
    return made


def client(stall_s: float = 10.0) -> httpx.AsyncClient:
    app = endpoint._routes("/v1/things", ("image/png",), "", 1000, "", stall_s)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def test_a_bug_returns_500_without_internal_details(
    replica: endpoint._Replica, caplog: pytest.LogCaptureFixture
) -> None:
    async def post(*bodies: bytes) -> list[httpx.Response]:
        async with client() as http:
            return [await http.post("/v1/things", content=body) for body in bodies]

    async def wrong_routes() -> list[httpx.Response]:
        async with client() as http:
            return [await http.get("/v1/nothing"), await http.get("/v1/things"), await http.delete("/healthz")]

    with caplog.at_level(logging.ERROR):
        bug, mistake, fine, large = asyncio.run(post(b"bug", b"photograph", b"x", bytes(1001)))
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
    assert (fine.status_code, fine.content) == (200, b"ximage/png")
    assert large.status_code == 413


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


def test_cancelled_requests_never_let_two_into_the_handler(replica: endpoint._Replica) -> None:
    replica.max_queued = 1000

    async def leave(after: float) -> None:
        work = asyncio.create_task(replica.respond(b"x", "image/png"))
        await asyncio.sleep(after)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    async def both() -> list[bytes]:
        leavers = [asyncio.create_task(leave(0.001 * (i % 40))) for i in range(80)]
        answers = await asyncio.gather(*(replica.respond(b"%d" % i, "") for i in range(10)))
        assert replica.health()["busy"] in {True, False}
        await asyncio.gather(*leavers)
        for _ in range(500):
            if not replica.busy.locked():
                break
            await asyncio.sleep(0.01)
        return answers

    assert asyncio.run(both()) == [b"%d" % i for i in range(10)]
    worker = replica.handler
    assert isinstance(worker, Worker)
    assert worker.most == 1
    assert worker.done < 90  # those that left while they waited were not computed
    assert (replica.busy.locked(), replica.waiting) == (False, 0)


def test_health_answers_while_work_goes_on_and_a_full_queue_says_when_to_retry(replica: endpoint._Replica) -> None:
    async def run() -> tuple[httpx.Response, list[httpx.Response]]:
        async with client() as http:
            posts = [asyncio.create_task(http.post("/v1/things", content=b"x")) for _ in range(12)]
            await asyncio.sleep(0.01)
            health = await http.get("/healthz")
            return health, await asyncio.gather(*posts)

    health, answers = asyncio.run(run())
    assert health.json()["busy"] is True
    assert health.json()["done"] == 0
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) == 5  # one at work, four wait
    assert {a.headers.get("retry-after") for a in answers if a.status_code == 503} == {"5"}


def test_a_body_that_stalls_or_trickles_is_given_up(replica: endpoint._Replica) -> None:
    async def slow(pause: float) -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x"
            await asyncio.sleep(pause)

    async def run() -> list[int]:
        async with client(stall_s=0.1) as http:
            answers = [http.post("/v1/things", content=slow(pause)) for pause in (0.0, 0.05, 5.0)]
            return [answer.status_code for answer in await asyncio.gather(*answers)]

    assert asyncio.run(run()) == [200, 408, 408]
    assert isinstance(replica.handler, Worker)
    assert replica.handler.done == 1
