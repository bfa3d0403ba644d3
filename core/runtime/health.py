"""/livez, /readyz and /metrics of a process that has no other HTTP server."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from core.runtime.bus import Bus
from core.runtime.errors import CUT, OperatorError, system_reason
from core.runtime.http.descriptor_reserve import RESERVED_FROM_PROBES
from core.runtime.http.head_deadline import HeadDeadlineProtocol
from core.runtime.http.headers import CONTENT_POLICY, NO_STORE, SECURITY_HEADERS
from core.runtime.http.origin import Network
from core.runtime.http.proxy_header import ProxiedSocket
from core.runtime.postgres import DATABASE_AWAY, Pool, database_reason
from core.runtime.waiting import what_is_waited_for

READY = Gauge("territoire_ready", "1 when nothing keeps this process from its work, else 0: as /readyz says it")

CHECK_TIMEOUT_S = 2.0
# Whoever reads the metrics of many processes is not kept waiting by what hangs in each.
SHOWN_WITHIN_S = 0.5
DATED_EVERY_S = 1.0

# A named check: returns None when all is well, or what is wrong.
Check = Callable[[], Awaitable[str | None]]


class CannotListen(OperatorError):
    """The address is not this machine's, or the port is taken."""

    def __init__(self, host: str, port: int, cause: OSError) -> None:
        super().__init__(
            f"cannot listen on {host}:{port}: {cause}",
            f"impossible d'écouter sur {host}:{port} : {system_reason(cause)}",
        )


@dataclass(slots=True)
class Readiness:
    """Named checks; a service is ready when none of them complains.

    A check that hangs is left to itself: a driver whose server is frozen does not even return from a cancellation.
    """

    checks: dict[str, Check]
    _running: dict[str, asyncio.Task[str | None]] = field(default_factory=dict[str, "asyncio.Task[str | None]"])

    async def problems(self, within_s: float = CHECK_TIMEOUT_S) -> dict[str, str]:
        """What is wrong, by name of the check; several may ask at once, and are told the same."""
        asked = {name: self._asked(name, check) for name, check in self.checks.items()}
        await asyncio.wait(asked.values(), timeout=within_s)
        found: dict[str, str] = {}
        for name, task in asked.items():
            problem = task.result() if task.done() else f"no answer within {within_s:g} s"
            if problem is not None:
                found[name] = problem
        return found

    def _asked(self, name: str, check: Check) -> asyncio.Task[str | None]:
        running = self._running.get(name)
        if running is None or running.done():
            running = self._running[name] = asyncio.create_task(_outcome(check), name=f"check {name}")
        return running


def starting() -> Readiness:
    """The readiness of a process that does not serve yet: not ready, with what it waits for. Replaced later."""

    async def check() -> str | None:
        return " | ".join(what_is_waited_for()) or "starting"

    return Readiness({"start": check})


async def _outcome(check: Check) -> str | None:
    try:
        return await check()
    except (*DATABASE_AWAY, TimeoutError) as away:
        return database_reason(away)


def database_check(pool: Pool) -> Check:
    """The database answers a query."""

    async def check() -> str | None:
        await pool.fetchval("SELECT 1")
        return None

    return check


def bus_check(bus: Bus) -> Check:
    """The bus is connected."""

    async def check() -> str | None:
        return None if bus.is_connected else CUT

    return check


class HealthApp:
    """An ASGI application of three routes; a framework would cost each process 20 MB for them."""

    paths = ("/livez", "/readyz", "/metrics")

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def __call__(
        self, scope: dict[str, Any], _receive: object, send: Callable[..., Awaitable[None]]
    ) -> None:
        """As ASGI says."""
        if scope["type"] != "http":
            return
        status, content_type, body = await self.answer(scope["path"])
        headers = [(b"content-type", content_type.encode()), *SECURITY_HEADERS, CONTENT_POLICY, NO_STORE]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        match path:
            case "/livez":
                return 200, "application/json", b'{"status":"ok"}'
            case "/readyz":
                problems = await self._readiness.problems()
                body = {"status": "unready" if problems else "ok", "problems": problems}
                return 503 if problems else 200, "application/json", msgspec.json.encode(body)
            case "/metrics":
                READY.set(not await self._readiness.problems(SHOWN_WITHIN_S))
                return 200, CONTENT_TYPE_LATEST, generate_latest()
            case _:
                return 404, "application/json", b'{"status":"unknown path"}'


class ProbesProtocol(HeadDeadlineProtocol):
    """For those who ask how the process is doing: also when nobody else is let in any more."""

    reserved = RESERVED_FROM_PROBES


class QuietServer(uvicorn.Server):
    """Uvicorn inside a process whose signals are not uvicorn's to handle, and which mostly waits."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def capture_signals(self) -> Any:
        """Leave SIGTERM and SIGINT to core.runtime.lifetime."""
        return _no_signals()

    def end(self) -> None:
        """Finish what is being answered, and return from `serve`."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Uvicorn's wakes ten times a second to see whether it is to end; this one for the date of its answers."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(DATED_EVERY_S):
                    await self._ending.wait()


class _no_signals:  # noqa: N801
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@asynccontextmanager
async def serve_http(
    app: Any,
    host: str,
    port: int,
    *,
    shutdown_timeout_s: int = 3,
    tls: ssl.SSLContext | None = None,
    proxies: Sequence[Network] = (),
    protocol: type[HeadDeadlineProtocol] = HeadDeadlineProtocol,
) -> AsyncGenerator[int]:
    """Serve an ASGI application while the block runs; yields the port it listens on.

    `proxies` are the networks from where every connection begins with a PROXY header.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=shutdown_timeout_s,
        server_header=False,
        http=protocol,
        ws="none",  # Nobody has one here, and an upgraded connection has no deadline.
    )
    config.load()
    config.ssl = tls
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as refused:
        raise CannotListen(host, port, refused) from None
    if proxies:
        listening = ProxiedSocket(listening, proxies)
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve([listening]), name="http server")
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it.
        await asyncio.sleep(0.01)
    if serving.done():
        await serving
    try:
        yield listening.getsockname()[1]
    finally:
        server.end()
        await serving


@asynccontextmanager
async def serve_health(readiness: Readiness, host: str, port: int) -> AsyncGenerator[int]:
    """Serve the three routes while the block runs; yields the port."""
    async with serve_http(HealthApp(readiness), host, port, protocol=ProbesProtocol) as bound:
        yield bound
