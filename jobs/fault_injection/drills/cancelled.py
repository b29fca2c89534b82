"""Clients that leave at once beside others that wait: the endpoint answers those who wait, one at a time, then rests.

python jobs/drill.py what=cancelled bundle=demo storage=/abs/storage
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mosar.errors import ConfigError, RunError
from mosar.jobs import demo, serve
from mosar.platform.cluster import connect, free_ports
from mosar.platform.serving import endpoint
from mosar.platform.serving.config import ServingConfig

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
_PATIENCE_S = 600.0
"""How long a client waits for an answer."""
_LEFT = 0
"""In place of a status: the client left before there was one."""
_IDLE_SHARE, _LOOK_S, _LONGEST_S = 0.1, 1.0, 120.0
"""A process is idle if it takes less than this share of a core for so long; how long that is awaited."""
_SOON_S = 5.0
"""Seconds after the last answer in which the endpoint is to become idle."""


@dataclass(frozen=True)
class Config:
    """Attributes:

    bundle: name or location of the bundle.
    storage: root of the bundles; default: MOSAR_STORAGE, else ~/.mosar.
    photo: an image file; scikit-image's astronaut if empty.
    posts: number of posts whose clients leave.
    after_s: seconds after which they leave.
    together: how many of them are under way at once.
    ordinary: number of posts whose clients wait, which begin after the first of the others.
    ordinary_together: how many of them are under way at once. With one, those who leave also get turns: between its
        answer and the next post the handler takes one of them.
    """

    bundle: str = "released"
    storage: str | None = None
    photo: str = ""
    posts: int = 200
    after_s: float = 0.3
    together: int = 8
    ordinary: int = 20
    ordinary_together: int = 1

    def __post_init__(self) -> None:
        if min(self.posts, self.together, self.ordinary, self.ordinary_together) < 1 or self.after_s <= 0:
            raise ConfigError("posts, together, ordinary, ordinary_together and after_s must be positive")


@dataclass(frozen=True)
class Work:
    """One call of the handler: when it began and ended, monotonic seconds, and the process that did it."""

    began_s: float
    ended_s: float
    process: int


class Watched:
    """A handler that notes each of its calls in a file."""

    def __init__(self, build: Callable[[], endpoint.Handler], notes: str) -> None:
        self._handler = build()
        self._notes = Path(notes)

    def respond(self, body: bytes, media_type: str) -> bytes:
        began_s = time.monotonic()
        try:
            return self._handler.respond(body, media_type)
        finally:
            with self._notes.open("a", encoding="ascii") as file:
                file.write(f"{began_s} {time.monotonic()} {os.getpid()}\n")

    def health(self) -> Mapping[str, Any]:
        return self._handler.health()


def run(config: Config) -> dict[str, Any]:
    """Answers of both kinds of client, calls of the handler, and seconds until the endpoint is idle."""
    photo = demo.photograph(config.photo)
    (port,) = free_ports(1)
    served = serve.Serve(config.bundle, config.storage, serving=ServingConfig(port=port))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        printed = _command_line(config, folder, photo)
        build, *others = serve.parts(served)
        with connect(), _served(served.serving, partial(Watched, build, str(folder / "notes")), *others):
            alone, waited, left = asyncio.run(_posts(config, f"http://127.0.0.1:{port}{serve.ROUTE}", photo))
            idle_s = _until_idle(_works(folder / "notes")[0].process)
            works = _works(folder / "notes")
    return {
        "ordinary": len(waited),
        "answered": sum(status == 200 for status, _ in waited),
        "as_alone": sum(content == alone for _, content in waited),
        "as_command_line": sum(content == printed for _, content in waited),
        "left": left.count(_LEFT),
        "refused": dict(Counter(str(status) for status in left if status not in (_LEFT, 200))),
        "works": len(works),
        "works_for_none": len(works) - 1 - len(waited) - left.count(200),
        "work_s": sum(w.ended_s - w.began_s for w in works) / len(works),
        "at_once": at_once(works),
        "idle_s": idle_s,
    }


def short(metrics: dict[str, Any]) -> list[str]:
    """Requirements that are not met."""
    wanted = metrics["ordinary"]
    found = [
        f"{key}: {metrics[key]} of {wanted}"
        for key in ("answered", "as_alone", "as_command_line")
        if metrics[key] < wanted
    ]
    if metrics["refused"]:
        found.append(f"refused: {metrics['refused']}")
    if not metrics["works_for_none"]:
        found.append("works_for_none: no client left while the handler worked for it, so that nothing was tried")
    if metrics["at_once"] > 1:
        found.append(f"at_once: {metrics['at_once']} in the handler")
    if metrics["idle_s"] > _SOON_S:
        found.append(f"idle_s: {metrics['idle_s']:.1f}, at most {_SOON_S:g}")
    return found


def at_once(works: Sequence[Work]) -> int:
    """The most calls of the handler that went on at the same time."""
    return max((sum(w.began_s <= work.began_s < w.ended_s for w in works) for work in works), default=0)


@contextlib.contextmanager
def _served(config: ServingConfig, *parts: Any) -> Iterator[None]:
    endpoint.start(config, *parts)
    try:
        yield
    finally:
        endpoint.stop()


def _command_line(config: Config, folder: Path, photo: bytes) -> bytes:
    """The GLB file of the command line."""
    (folder / "photo.png").write_bytes(photo)
    place = ["--storage", config.storage] if config.storage else []
    words = ["reconstruct", str(folder / "photo.png"), "-o", str(folder / "avatar"), "--bundle", config.bundle, *place]
    done = subprocess.run([sys.executable, "-m", "mosar.jobs.cli", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"the command line ended with {done.returncode}: {done.stderr[-1500:]}")
    return (folder / "avatar" / "avatar.glb").read_bytes()


async def _posts(config: Config, url: str, photo: bytes) -> tuple[bytes, list[tuple[int, bytes]], list[int]]:
    """The content of one answer alone; then statuses and contents of those who wait, statuses of those who leave."""
    import httpx

    async with httpx.AsyncClient(
        trust_env=False, timeout=_PATIENCE_S, limits=httpx.Limits(max_keepalive_connections=0)
    ) as client:
        alone = await _post(client, url, photo)
        if alone[0] != httpx.codes.OK:
            raise RunError(f"the endpoint responded with status {alone[0]}: {alone[1][:500]!r}")
        leaving = asyncio.create_task(
            _turns(config.posts, config.together, partial(_leave, client, url, photo, config.after_s))
        )
        await asyncio.sleep(config.after_s / 2)  # the handler is at work for one who leaves
        waited = await _turns(config.ordinary, config.ordinary_together, partial(_post, client, url, photo))
        left = await leaving
    return alone[1], waited, left


async def _turns(count: int, together: int, call: Callable[[], Awaitable[T]]) -> list[T]:
    """Results of ``count`` calls, of which ``together`` are under way at once."""
    room = asyncio.Semaphore(together)

    async def one() -> T:
        async with room:
            return await call()

    return await asyncio.gather(*(one() for _ in range(count)))


async def _post(client: "httpx.AsyncClient", url: str, photo: bytes) -> tuple[int, bytes]:
    answer = await client.post(url, content=photo, headers={"Accept": serve.GLB})
    return answer.status_code, answer.content


async def _leave(client: "httpx.AsyncClient", url: str, photo: bytes, after_s: float) -> int:
    try:
        async with asyncio.timeout(after_s):
            return (await _post(client, url, photo))[0]
    except TimeoutError:
        return _LEFT


def _works(notes: Path) -> list[Work]:
    rows = [line.split() for line in notes.read_text(encoding="ascii").splitlines()]
    return [Work(float(began), float(ended), int(process)) for began, ended, process in rows]


def _until_idle(number: int) -> float:
    """Seconds until a process takes next to no processor time; :data:`_LONGEST_S` if it goes on for so long."""
    import psutil

    process, first = psutil.Process(number), time.monotonic()
    while (began := time.monotonic()) - first < _LONGEST_S:
        before = sum(process.cpu_times()[:2])
        time.sleep(_LOOK_S)
        if sum(process.cpu_times()[:2]) - before < _IDLE_SHARE * _LOOK_S:
            return began - first
    return _LONGEST_S
