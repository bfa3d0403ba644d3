"""What streams of pages cost: many sessions on Supervision while ten things happen in a second that they show.

The API of a running stack, whose owner has logged in as many times; one alert of theirs is given another text ten
times a second, and the bus says each time that something has happened.
"""

import asyncio
import os
import re
import secrets
import signal
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from api.cookies import LOOPBACK_COOKIE
from core.messages import topics
from core.messages.batch import encode_batch
from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Connection, connect
from lab.bench.metrics import read_counters
from lab.bench.processes import cpu_seconds
from lab.simulator.stack_memory import pss_mb
from registry.people import make_token, token_digest
from services.supervisor.run_info import RunInfo

EVENTS_PER_S = 10
MEMORY_BELOW_MB, CORES_BELOW, STOPS_WITHIN_S = 200.0, 0.3, 5.0
# Whatever is not over by then is killed by the supervisor, and has failed.
LOOK_FOR_END_EVERY_S, END_PATIENCE_S = 0.02, 60.0
SETTLES_S = 3.0
STEP = re.compile(rb"banc-(\d+)<")
RENDERED = "territoire_api_live_renderings_total"

FIND_OWNER = "SELECT id FROM person WHERE email = $1"
FIND_TENANT = "SELECT tenant_id FROM asset GROUP BY tenant_id ORDER BY count(*) DESC, tenant_id LIMIT 1"
JOIN = """
INSERT INTO membership (person_id, tenant_id, role) VALUES ($1, $2, 'service_manager')
ON CONFLICT DO NOTHING RETURNING true
"""
LEAVE = "DELETE FROM membership WHERE person_id = $1 AND tenant_id = $2"
OPEN_SESSIONS = """
INSERT INTO person_session (token_sha256, person_id, tenant_id, address, expires_at, user_agent)
SELECT unnest($1::bytea[]), $2, $3, '127.0.0.1', now() + interval '1 hour', 'banc'
"""
CLOSE_SESSIONS = "DELETE FROM person_session WHERE token_sha256 = ANY($1::bytea[])"
MAKE_ASSET = "INSERT INTO asset (tenant_id, kind, name) VALUES ($1, 'bin', $2) RETURNING id"
OPEN_ALERT = """
INSERT INTO alert (tenant_id, rule_id, asset_id, severity, message, condition, opened_at)
SELECT $1, min(id), $2, 'info', 'banc', 'firing', now() FROM alert_rule WHERE tenant_id = $1 RETURNING id
"""


@dataclass(slots=True)
class StreamFigures:
    """Of the API's process and of what it sent, over `seconds`."""

    sessions: int
    seconds: float
    cores: float = 0.0
    memory_mb: float = 0.0
    """PSS of the process at the end."""
    renderings_per_s: float = 0.0
    octets_per_s: float = 0.0
    seen_after_ms: list[float] = field(default_factory=list[float])
    """From the commit of a change until a session has what shows it, or a later one: each the longest wait."""
    ended: int = 0
    """Streams that did not last."""
    stopped_after_s: float = 0.0
    """From SIGTERM, with all of them open, to the end of the process."""

    @property
    def p95_ms(self) -> float:
        """Of `seen_after_ms`."""
        return statistics.quantiles(self.seen_after_ms, n=20)[-1] if len(self.seen_after_ms) > 1 else 0.0

    @property
    def is_reached(self) -> bool:
        """Whether it stays below all limits, and every stream lasts."""
        return (
            self.memory_mb < MEMORY_BELOW_MB
            and self.cores < CORES_BELOW
            and self.stopped_after_s < STOPS_WITHIN_S
            and not self.ended
        )


@dataclass(slots=True)
class _Changes:
    """Since when each step is committed, and which each session has seen."""

    at: dict[int, float] = field(default_factory=dict[int, float])
    octets: int = 0


async def measure_streams(
    run: RunInfo, sessions: int, seconds: float, tenant_id: int | None = None
) -> StreamFigures:
    """Open the streams, let them settle, then count for so long; then end the API, which is started again.

    Of this tenant, or of the one with the most assets.
    """
    figures, changes = StreamFigures(sessions, seconds), _Changes()
    api = next(service for service in run.services if service.name == "api")
    assert api.pid is not None
    connection = await connect(run.database_admin_url, "bench-streams")
    try:
        tenant_id = tenant_id or await connection.fetchval(FIND_TENANT)
        assert tenant_id is not None, "a stack without assets has nothing to show"
        async with (
            _sessions(connection, run.login_email, tenant_id, sessions) as tokens,
            _alert(connection, tenant_id) as alert_id,
            connect_bus(run.nats_url, "bench-streams") as bus,
            asyncio.TaskGroup() as group,
        ):
            readers = [
                group.create_task(_read(run.api_url, tenant_id, token, changes, figures)) for token in tokens
            ]
            changing = group.create_task(_change(connection, bus, alert_id, changes))
            await asyncio.sleep(SETTLES_S)
            figures.seen_after_ms.clear()
            changes.octets = 0
            began, cpu, rendered = time.monotonic(), cpu_seconds({"api": api.pid})["api"], await _rendered(run)
            await asyncio.sleep(seconds)
            took = time.monotonic() - began
            figures.cores = (cpu_seconds({"api": api.pid})["api"] - cpu) / took
            figures.renderings_per_s = (await _rendered(run) - rendered) / took
            figures.octets_per_s = changes.octets / took
            figures.memory_mb = pss_mb(api.pid)
            changing.cancel()
            figures.ended = sum(reader.done() for reader in readers)
            figures.stopped_after_s = await _stop(api.pid)
            for reader in readers:
                reader.cancel()
    finally:
        await connection.close()
    return figures


@asynccontextmanager
async def _sessions(connection: Connection, email: str, tenant_id: int, count: int) -> AsyncGenerator[list[str]]:
    """Open sessions of this person in the tenant, closed again afterwards: their tokens."""
    person_id = await connection.fetchval(FIND_OWNER, email)
    assert person_id is not None
    tokens = [make_token() for _ in range(count)]
    digests = [token_digest(token) for token in tokens]
    has_joined = await connection.fetchval(JOIN, person_id, tenant_id)
    await connection.execute(OPEN_SESSIONS, digests, person_id, tenant_id)
    try:
        yield tokens
    finally:
        await connection.execute(CLOSE_SESSIONS, digests)
        if has_joined:
            await connection.execute(LEAVE, person_id, tenant_id)


@asynccontextmanager
async def _alert(connection: Connection, tenant_id: int) -> AsyncGenerator[int]:
    """An alert about an asset, both made for this and removed again: its id."""
    asset_id = await connection.fetchval(MAKE_ASSET, tenant_id, f"banc {secrets.token_hex(4)}")
    try:
        yield await connection.fetchval(OPEN_ALERT, tenant_id, asset_id)
    finally:
        await connection.execute("DELETE FROM alert WHERE asset_id = $1", asset_id)
        await connection.execute("DELETE FROM asset WHERE id = $1", asset_id)


async def _change(connection: Connection, bus: Bus, alert_id: int, changes: _Changes) -> None:
    """Another text of the alert, ten times a second, until cancelled."""
    due, step = time.monotonic(), 0
    while True:
        step += 1
        await connection.execute("UPDATE alert SET message = $2 WHERE id = $1", alert_id, f"banc-{step}")
        changes.at[step] = time.monotonic()
        await bus.nudge(topics.measurements(0), encode_batch([]))
        due += 1 / EVENTS_PER_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _read(api_url: str, tenant_id: int, token: str, changes: _Changes, figures: StreamFigures) -> None:
    """One stream as a browser reads it, until it ends."""
    where = urlsplit(api_url)
    assert where.hostname is not None
    reader, writer = await asyncio.open_connection(where.hostname, where.port or 80, limit=1 << 20)
    headers = f"Host: {where.netloc}\r\nCookie: {LOOPBACK_COOKIE}={token}\r\n\r\n"
    writer.write(f"GET /direct?collectivite={tenant_id} HTTP/1.1\r\n{headers}".encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            return
        seen = 0
        while octets := await reader.read(1 << 16):
            changes.octets += len(octets)
            for step in map(int, STEP.findall(octets)):
                waited = changes.at.get(seen + 1 if seen else step)
                seen = step
                if waited is not None:
                    figures.seen_after_ms.append((time.monotonic() - waited) * 1000)
    finally:
        writer.close()


async def _stop(pid: int) -> float:
    """Seconds from SIGTERM to the end of the process."""
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    while Path(f"/proc/{pid}").exists() and time.monotonic() < began + END_PATIENCE_S:  # noqa: ASYNC110, ASYNC240 - No child of ours.
        await asyncio.sleep(LOOK_FOR_END_EVERY_S)
    return time.monotonic() - began


async def _rendered(run: RunInfo) -> int:
    return (await read_counters(run, "api"))[RENDERED, ()]
