"""An HTTP endpoint on Ray Serve around one function from a request's body to a file, whatever both contain.

The limit of the body's size applies while it arrives, and a body that stalls is given up. The work runs off the event
loop, one request at a time to its end, even if its client has left; the queue is bounded; ``/healthz`` does not wait
in it. Every error of the client returns a JSON object ``{"error": ...}`` with a 4xx status.
"""

import asyncio
import errno
import hmac
import logging
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from mosar.errors import InputError, RunError
from mosar.platform import cluster
from mosar.platform.monitoring import metrics
from mosar.platform.serving.config import ServingConfig

log = logging.getLogger(__name__)
_NAME = "mosar"
_RETRY_AFTER_S = 5
"""Seconds after which a client should try again if the queue is full."""
_SENDERS = 64
"""Requests of a replica whose bodies may arrive at once."""
_PROXY_S = 120
"""Seconds for which a proxy that Ray Serve started again may take to answer."""
_WHOLE_BODY = 6
"""A body may take this many times the time after which it counts as stalled."""


class FullError(Exception):
    """The queue of a replica is full."""


class Handler(Protocol):
    """What a replica does with a request."""

    def respond(self, body: bytes, media_type: str) -> bytes:
        """The response body in the requested media type.

        Raises:
            InputError: the client's request is wrong; the endpoint returns 422.
        """

    def health(self) -> Mapping[str, Any]:
        """JSON-ready facts for ``GET /healthz``."""


def start(
    config: ServingConfig, build: Callable[[], Handler], path: str, media_types: tuple[str, ...], page: str
) -> None:
    """Deploy on the connected Ray cluster, and return when the endpoint runs. See :func:`application`.

    Raises:
        RunError: the cluster already serves something or lacks the resources, or a replica did not start.
    """
    from ray import serve

    served = serve.status().applications
    if served:
        raise RunError(
            f"this cluster already serves {', '.join(map(repr, served))}, and has one port for all; stop that first "
            "(`serve shutdown -y`), or start this endpoint without RAY_ADDRESS, on a cluster of its own"
        )
    _check_resources(config)
    _start_proxies({"host": config.host, "port": config.port})
    try:
        serve.run(application(config, build, path, media_types, page), name=_NAME, route_prefix="/")
    except RuntimeError as error:
        reason = _reason(serve.status().applications.get(_NAME), error)
        serve.shutdown()
        raise RunError(f"the endpoint did not start: {reason}") from error


def _start_proxies(options: Mapping[str, Any]) -> None:
    """Start Ray Serve, and return when its HTTP proxies answer.

    On a busy machine a proxy may take longer than Ray Serve allows (``RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S``). Its
    controller then ends this proxy, for which ``serve.start`` waits, and starts another with more time.

    Raises:
        RunError: no proxy answers in time.
    """
    from ray import serve
    from ray.exceptions import ActorDiedError
    from ray.serve.schema import ProxyStatus

    try:
        serve.start(http_options=dict(options))
    except ActorDiedError:
        log.warning("Ray Serve started its HTTP proxy again, because it did not answer in time")
        serve.start(http_options=dict(options))
        deadline = time.monotonic() + _PROXY_S
        while set(serve.status().proxies.values()) != {ProxyStatus.HEALTHY}:
            if time.monotonic() > deadline:
                serve.shutdown()
                raise RunError(f"Ray Serve's HTTP proxy did not answer within {_PROXY_S} seconds") from None
            time.sleep(0.2)


def check_port(config: ServingConfig) -> None:
    """Check that nothing listens on the port yet: Ray Serve would share it, and clients would reach either server.

    Raises:
        RunError: the port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that just ended do not count
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = (
                "another program listens there; stop it, or choose another"
                if taken
                else f"{error.strerror}; choose one"
            )
            raise RunError(
                f"port {config.port} of {config.host} cannot be used: {why} with serving.port=..."
            ) from error


def _check_resources(config: ServingConfig) -> None:
    """Raises RunError if no node of the cluster, nor one that it can add, could hold a replica."""
    import ray

    if cluster.growth():
        return
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for key, name, wanted in (("cpus", "CPU", config.cpus), ("gpus", "GPU", config.gpus)):
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if wanted > most:
            raise RunError(f"serving.{key}: a replica asks for {wanted:g} {name}, but the largest node has {most:g}")


def _reason(status: Any, error: BaseException) -> str:
    """The last line of what a failed replica reported."""
    said = [d.message for d in status.deployments.values() if d.message] if status else []
    lines = [line.strip() for line in (said[0] if said else str(error)).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    return (named or lines or [repr(error)])[-1]


def application(
    config: ServingConfig, build: Callable[[], Handler], path: str, media_types: tuple[str, ...], page: str
) -> Any:
    """The endpoint as a Ray Serve application, to be deployed.

    Args:
        config: address and limits.
        build: makes the handler inside each replica.
        path: route of the POST, such as ``/v1/things``.
        media_types: types that ``respond`` can return, the default first; the Accept header selects one.
        page: HTML at ``/``.
    """
    from ray import serve
    from ray.serve.config import BackpressureConfig

    key = Path(config.key_file).read_text(encoding="utf-8").strip() if config.key_file else ""
    app = _routes(path, media_types, page, int(config.max_body_mb * 1e6), key, config.stall_s)
    deployment = serve.deployment(
        name="Endpoint",
        num_replicas=config.replicas,
        max_ongoing_requests=2 * _SENDERS + config.max_queued,  # the replica bounds its own queue; health passes it
        max_queued_requests=config.max_queued,
        backpressure_config=BackpressureConfig(retry_after_s=_RETRY_AFTER_S),
        ray_actor_options={"num_cpus": config.cpus, "num_gpus": config.gpus},
    )(serve.ingress(app)(_Replica))
    return deployment.bind(build, config.threads, config.max_queued)


class _Replica:
    """Holds the handler. It works on one request at a time; the others wait without blocking the event loop."""

    def __init__(self, build: Callable[[], Handler], threads: int, max_queued: int) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        import torch

        torch.set_num_threads(threads)
        self.handler = build()
        self.busy = asyncio.Lock()
        self.waiting = 0
        self.max_queued = max_queued

    async def respond(self, body: bytes, media_type: str) -> bytes:
        """The handler's response.

        A request that is cancelled while it waits gives up its place. Once its work has begun, the work goes on to its
        end, and no other begins before.

        Raises:
            FullError: too many requests wait.
        """
        if self.waiting >= self.max_queued and self.busy.locked():
            raise FullError
        self.waiting += 1
        try:
            await self.busy.acquire()
        finally:
            self.waiting -= 1
        work = asyncio.ensure_future(asyncio.to_thread(self.handler.respond, body, media_type))
        work.add_done_callback(self._done)
        return await asyncio.shield(work)

    def health(self) -> Mapping[str, Any]:
        return {"busy": self.busy.locked(), "waiting": self.waiting, **self.handler.health()}

    def _done(self, work: "asyncio.Future[bytes]") -> None:
        self.busy.release()
        if not work.cancelled():
            work.exception()  # a client that has left does not fetch it


def _routes(path: str, media_types: tuple[str, ...], page: str, max_bytes: int, key: str, stall_s: float) -> Any:
    """The ASGI application; its routes run inside a :class:`_Replica`."""
    from fastapi import FastAPI, Request
    from fastapi.responses import HTMLResponse, JSONResponse, Response
    from ray import serve
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    senders, late = 0, _WHOLE_BODY * stall_s
    app = FastAPI(title="mosar", docs_url=None, redoc_url=None)

    def error(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
        return JSONResponse({"error": text}, status_code=status, headers=dict(headers or {}))

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, problem: HTTPException) -> Response:
        """Paths and methods that do not exist (404, 405)."""
        got = f"{request.method} {request.url.path}: {problem.detail}"
        return error(problem.status_code, f"{got}; expected POST {path}, GET /healthz or GET /", problem.headers)

    def full(text: str) -> Response:
        return error(503, f"{text}; try again in {_RETRY_AFTER_S} s", {"retry-after": str(_RETRY_AFTER_S)})

    def replica() -> Any:
        return serve.get_replica_context().servable_object

    @app.get("/", response_class=HTMLResponse)
    async def index() -> HTMLResponse:
        policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:; "
        return HTMLResponse(page, headers={"Content-Security-Policy": policy + "connect-src 'self'"})

    @app.get("/healthz")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok", **replica().health()})

    @app.post(path)
    async def post(request: Request) -> Response:
        before = time.monotonic()
        response = await answer(request)
        metrics.REQUESTS.add(status=str(response.status_code))
        if response.status_code == 200:
            metrics.ANSWER_SECONDS.observe(time.monotonic() - before)
        return response

    async def answer(request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if key and not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            return error(401, "the key is missing or wrong; send it as `Authorization: Bearer KEY`")
        if request.headers.get("content-type", "").startswith("multipart/"):
            return error(415, "got a form; send the file itself as the body (curl --data-binary @FILE)")
        media_type = _negotiate(request.headers.get("accept", ""), media_types)
        if media_type is None:
            return error(406, f"expected Accept to allow one of {', '.join(media_types)}")
        nonlocal senders
        if senders >= _SENDERS:
            return full("too many requests arrive at once")
        senders += 1
        try:
            body = await _body(request.stream(), max_bytes, stall_s)
        except TimeoutError:
            return error(408, f"the body did not arrive: nothing for {stall_s:g} s, or less than a whole in {late:g} s")
        except ClientDisconnect:
            return error(400, "the body was cut short")
        finally:
            senders -= 1
        if body is None:
            return error(413, f"the body is larger than {max_bytes / 1e6:g} MB")
        try:
            return Response(await replica().respond(body, media_type), media_type=media_type)
        except FullError:
            return full("too many requests wait")
        except InputError as problem:
            return error(422, str(problem))
        except Exception:
            log.exception("a request failed")
            return error(500, "internal error; see the log of the endpoint")

    return app


async def _body(stream: AsyncIterator[bytes], max_bytes: int, stall_s: float) -> bytes | None:
    """The whole body; None if it is too large.

    Raises:
        TimeoutError: the body stalls.
    """
    body = bytearray()
    async with asyncio.timeout(_WHOLE_BODY * stall_s):
        while True:
            try:
                async with asyncio.timeout(stall_s):
                    body += await anext(stream)
            except StopAsyncIteration:
                return bytes(body)
            if len(body) > max_bytes:
                return None


def _negotiate(accept: str, media_types: tuple[str, ...]) -> str | None:
    """The first of ``media_types`` that the Accept header allows, in the header's order; None if there is none."""
    for item in accept.split(",") if accept.strip() else ["*/*"]:
        wanted = item.split(";")[0].strip().lower()
        for media_type in media_types:
            if wanted in {"*/*", media_type, media_type.split("/")[0] + "/*"}:
                return media_type
    return None


def stop() -> None:
    """Stop the endpoint; the cluster keeps running."""
    from ray import serve

    serve.shutdown()
