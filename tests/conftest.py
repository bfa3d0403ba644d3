"""Real servers for tests: each worker starts its own, once, when a test first asks; all die with it."""

import asyncio
import logging
import os
import re
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import asyncpg
import nats
import pytest
import structlog
from hypothesis import HealthCheck, settings
from structlog.testing import capture_logs

from core.messages.measurements import Flag
from core.runtime.postgres import Pool, connect, open_pool
from registry.rights import LOGINS, OWNER
from registry.schema import migrate
from services.supervisor.launch import Launch
from services.supervisor.mosquitto import ACCOUNTS, BRIDGE, SIMULATOR, PrivateMosquitto
from services.supervisor.nats import PrivateNats
from services.supervisor.ports import free_tcp_port
from services.supervisor.postgres import PrivatePostgres, binaries
from services.supervisor.run_info import RunInfo
from tests.entering import LET_EVERYBODY_SEAL
from tests.forked_programs import fork_server
from tests.forks import before_fork, in_each_worker
from tests.hooks import (
    pytest_addoption,
    pytest_collection,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_logreport,
    pytest_runtest_protocol,
    pytest_runtestloop,
    pytest_sessionstart,
    pytest_terminal_summary,
)
from tests.leftovers import owned_folder

__all__ = [
    "pytest_addoption",
    "pytest_collection",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_runtest_logreport",
    "pytest_runtest_protocol",
    "pytest_runtestloop",
    "pytest_sessionstart",
    "pytest_terminal_summary",
]

# How fast the machine is at this moment is no property of what is tested.
settings.register_profile(
    "territoire", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("territoire")

TEMPLATE = "territoire_template"
# No table lives for long enough to be vacuumed, no statement runs for as long as compiling it takes.
# Nobody replicates from it either, and what is written to its log is in memory.
CLUSTER_SETTINGS = {
    "shared_buffers": "64MB",
    "max_wal_size": "128MB",
    "autovacuum": "off",
    "jit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "wal_compression": "off",
}
# Ten thousand connections are made, with random passwords: nobody guesses them however cheap a guess is.
ONE_SCRAM_ITERATION = {"scram_iterations": "1"}
HAS_SCRAM_ITERATIONS = 16
# Ours have no certificate: each connection would build a TLS context to be told so, at a third of its cost.
os.environ.setdefault("PGSSLMODE", "disable")
# A copy gets a row for each grant in its template, two thousand of them and their index entries: half of what it
# takes. Nothing but dropping a role reads them, and no test drops one.
FORGET_GRANTEES = f"""
SET allow_system_table_mods = on;
DELETE FROM pg_shdepend WHERE dbid = (SELECT oid FROM pg_database WHERE datname = '{TEMPLATE}')
"""
MEMORY, MEMORY_FREE = Path("/dev/shm"), 6 << 30
T = TypeVar("T")


_introspect = asyncpg.Connection._introspect_types
_known_types: dict[tuple[int, ...], Any] = {}
COPY = "test_"


async def _introspect_once(
    connection: Any,
    typeoids: Iterable[int],
    timeout: float | None,  # noqa: ASYNC109 - The driver's own signature.
) -> Any:
    """The driver asks what an enumeration is on each connection; in all copies of the template it is the same.

    The question takes twelve milliseconds: three times what the connection does.
    """
    wanted = tuple(sorted(typeoids))
    if wanted in _known_types and connection._params.database.startswith(COPY):
        return _known_types[wanted], _ASKED_BY_NOBODY
    rows, statement = await _introspect(connection, typeoids, timeout)
    # A row's type changes with its table.
    if connection._params.database.startswith(COPY) and all(row["kind"] != b"c" for row in rows):
        _known_types[wanted] = rows
    return rows, statement


_ASKED_BY_NOBODY = SimpleNamespace(name="none")  # Without a name the driver prepares its own statement again.
asyncpg.Connection._introspect_types = _introspect_once  # type: ignore[method-assign]


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run in a loop of its own, in a thread: the test's loop is left as it is."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


async def _answers(process: subprocess.Popen[bytes], ready: Callable[[], Awaitable[bool]]) -> bool:
    async with asyncio.timeout(30):
        while process.poll() is None:
            if await ready():
                return True
            await asyncio.sleep(0.02)
    return False


@contextmanager
def running(launch: Launch, ready: Callable[[], Awaitable[bool]], log: Path) -> Iterator[None]:
    """One server for the length of the session; `ready` also proves that it is ours."""
    with log.open("wb") as output, subprocess.Popen(launch.argv, **launch.arguments(output)) as process:
        try:
            if not run_apart(_answers(process, ready)):
                pytest.fail(f"{launch.argv[0]} does not start:\n{log.read_text('utf-8')[-2000:]}")
            yield
        finally:
            process.send_signal(launch.stop_signal)
            process.wait(20)


@contextmanager
def plain_server(folder: Path, log: Path) -> Iterator[PrivatePostgres]:
    """PostgreSQL without the tests' settings: it loads TimescaleDB only where a database asks for it."""
    server = PrivatePostgres(folder, free_tcp_port(), secrets.token_hex(16), {}, durable=False)
    server.prepare()
    with running(server.launch(), server.ready, log):
        yield server


@pytest.fixture(autouse=True)
def logs_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """How a test has logs written ends with it. A process keeps each logger as it first was, here none is kept."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(structlog, "configure", partial(_configure_uncached, structlog.configure))
    yield
    log_plainly()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def log_plainly() -> None:
    """As structlog does unasked, but a traceback as Python prints it: with every local variable, drawn by rich, it
    takes seconds of a core, and half an hour where one of them is the application."""
    structlog.reset_defaults()
    *before, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*before, plain])


log_plainly()


def _configure_uncached(configure: Callable[..., None], **settings: Any) -> None:
    configure(**{**settings, "cache_logger_on_first_use": False})


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that the `postgres` account may enter too, which pytest's own is not."""
    with owned_folder(_memory()) as folder:
        yield folder


def _memory() -> Path | None:
    """Where there is room: databases are copied in half the time. None: the usual folder."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_FREE else None


@dataclass(frozen=True, slots=True)
class Cluster:
    """The worker's PostgreSQL, with a migrated template and the login roles' passwords, by role."""

    server: PrivatePostgres
    passwords: Mapping[str, str]

    def url(self, database: str, role: str) -> str:
        """This database as this login role."""
        return self.server.url(database, role, self.passwords[role])


@pytest.fixture(scope="session")
def cluster(server_folder: Path) -> Iterator[Cluster]:
    if _prepared:
        with _running_clone(_prepared[0], server_folder) as cluster:
            yield cluster
        return
    cluster = _new_cluster(server_folder)
    with running(cluster.server.launch(), cluster.server.ready, server_folder / "postgres.log"):
        run_apart(_make_template(cluster))
        yield cluster


def _new_cluster(folder: Path) -> Cluster:
    server = PrivatePostgres(
        folder / "pg",
        free_tcp_port(),
        secrets.token_hex(16),
        CLUSTER_SETTINGS
        | {"shared_preload_libraries": _with_its_extension()}
        | (ONE_SCRAM_ITERATION if postgres_major() >= HAS_SCRAM_ITERATIONS else {}),
        durable=False,
    )
    server.prepare()
    return Cluster(server, {role: secrets.token_hex(16) for role in (OWNER, *LOGINS.values())})


def _with_its_extension() -> str:
    """TimescaleDB's loader, and what it loads into each backend at its first statement, once for all of them.

    A fifth of what a connection costs, ten thousand times.
    """
    config = subprocess.run(
        [binaries() / "pg_config", "--sharedir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    control = (Path(config) / "extension" / "timescaledb.control").read_text("utf-8")
    version = re.search(r"^default_version\s*=\s*'([^']+)'", control, re.MULTILINE)
    assert version is not None
    return f"timescaledb,timescaledb-{version[1]}"


# Forked workers copy what their parent has made once: a cluster takes two and a half seconds of a core.
_prepared: list[Cluster] = []


def prepare_cluster(items: Sequence[pytest.Item]) -> None:
    """A stopped cluster that has the template, where a test that will run asks for one."""
    if all("cluster" not in getattr(item, "fixturenames", ()) for item in items):
        return
    kept = ExitStack()
    items[0].config.add_cleanup(kept.close)
    folder = kept.enter_context(owned_folder(_memory()))
    cluster = _new_cluster(folder)
    launch, ready, log = cluster.server.launch(), cluster.server.ready, folder / "postgres.log"
    with capture_logs(), running(launch, ready, log):  # A line for each migration.
        run_apart(_make_template(cluster))
        run_apart(_pack_template(cluster))
    _prepared.append(cluster)


async def _pack_template(cluster: Cluster) -> None:
    """A tenth less to copy, for half a second: worth it where hundreds of copies follow."""
    for statement in ("VACUUM FULL", "SELECT 1"):  # The second connection leaves its cache of the catalogue.
        connection = await connect(cluster.server.url(TEMPLATE), "territoire-tests")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def _running_clone(prepared: Cluster, folder: Path) -> Iterator[Cluster]:
    server = replace(prepared.server, data=folder / "pg", port=free_tcp_port())
    subprocess.run(["cp", "-a", str(prepared.server.data), str(server.data)], check=True)
    with running(server.launch(), server.ready, folder / "postgres.log"):
        yield Cluster(server, prepared.passwords)


def build_routes(items: Sequence[pytest.Item]) -> None:
    """The routes of the API, which the first request makes: also two and a half seconds."""
    if any("app" in getattr(item, "fixturenames", ()) for item in items):
        from api.app import without_state  # noqa: PLC0415 - Most runs of a few tests have no use for it.

        for route in without_state().routes:
            for _ in getattr(route, "effective_route_contexts", tuple)():
                pass


before_fork += [prepare_cluster, build_routes]
in_each_worker.append(fork_server)


def postgres_major() -> int:
    return int(binaries().parent.name)


async def _make_template(cluster: Cluster) -> None:
    await cluster.server.create_database(TEMPLATE)
    await migrate(cluster.server.url(TEMPLATE), shards=4, passwords=dict(cluster.passwords))
    # Tests write what a service finds as the owner of the policies' functions, who sees every tenant.
    connection = await connect(cluster.server.url(TEMPLATE), "territoire-tests")
    try:
        await connection.execute(f"ALTER ROLE {OWNER} LOGIN; {LET_EVERYBODY_SEAL}; {FORGET_GRANTEES}")
    finally:
        await connection.close()


class Administrator:
    """One connection of the superuser's for all of a session: a database is made and dropped for most tests."""

    def __init__(self, server: PrivatePostgres) -> None:
        self._url = server.url("postgres")
        self._loop = asyncio.new_event_loop()
        self._connection: Any = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="administrator", daemon=True)
        self._thread.start()

    def execute(self, statement: str) -> None:
        """Run it to the end, in a loop of its own: the test's is left as it is."""
        asyncio.run_coroutine_threadsafe(self._execute(statement), self._loop).result()

    async def _execute(self, statement: str) -> None:
        if self._connection is None or self._connection.is_closed():  # A test may have ended it.
            self._connection = await connect(self._url, "territoire-tests")
        await self._connection.execute(statement)

    def close(self) -> None:
        if self._connection is not None:
            asyncio.run_coroutine_threadsafe(self._connection.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def administrator(cluster: Cluster) -> Iterator[Administrator]:
    administrator = Administrator(cluster.server)
    yield administrator
    administrator.close()


@dataclass(frozen=True, slots=True)
class Database:
    """One test's own database, as each of the roles that use it."""

    cluster: Cluster
    name: str

    @property
    def admin_url(self) -> str:
        """As superuser."""
        return self.cluster.server.url(self.name)

    @property
    def service_url(self) -> str:
        """As the owner of the policies' functions, who sees every tenant: to write what a service finds."""
        return self.cluster.url(self.name, OWNER)

    @property
    def api_url(self) -> str:
        """As the API, which row security binds."""
        return self.url_of("api")

    def url_of(self, service: str) -> str:
        """As this service, which may do what `registry.rights` says."""
        return self.cluster.url(self.name, LOGINS[service])


@contextmanager
def empty_database(cluster: Cluster, administrator: Administrator) -> Iterator[str]:
    """The address of a database without a schema, as superuser, dropped at the end."""
    name = f"empty_{secrets.token_hex(6)}"
    administrator.execute(f'CREATE DATABASE "{name}"')
    yield cluster.server.url(name)
    administrator.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def empty_database_url(cluster: Cluster, administrator: Administrator) -> Iterator[str]:
    """A database without a schema, as superuser: for tests of the migrations themselves."""
    with empty_database(cluster, administrator) as url:
        yield url


@contextmanager
def fresh_database(cluster: Cluster, administrator: Administrator) -> Iterator[Database]:
    """A copy of the migrated schema, dropped at the end."""
    name = f"{COPY}{secrets.token_hex(6)}"
    administrator.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" STRATEGY FILE_COPY')
    yield Database(cluster, name)
    administrator.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def database(cluster: Cluster, administrator: Administrator) -> Iterator[Database]:
    """A fresh copy of the migrated schema, dropped after the test."""
    with fresh_database(cluster, administrator) as database:
        yield database


@pytest.fixture
def run(database: Database, tmp_path: Path) -> RunInfo:
    """What run.json says of a stack of which there is only the database."""
    nothing = ""
    return RunInfo(
        home=str(tmp_path),
        mode="test",
        supervisor_pid=os.getpid(),
        started_at=time.time(),
        api_url=nothing,
        udp_host=nothing,
        udp_port=0,
        database_url=database.service_url,
        database_admin_url=database.admin_url,
        nats_url=nothing,
        mqtt_url=nothing,
        mqtt_bridge_url=nothing,
        kek="00" * 16,
        kek_id="kek-1",
        api_key=nothing,
    )


@pytest.fixture
def database_url(database: Database) -> str:
    """To write what a service finds; `database.url_of` is for what runs as one."""
    return database.service_url


@pytest.fixture
def api_database_url(database: Database) -> str:
    """As `territoire_api`, which row security binds."""
    return database.api_url


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, "territoire-tests", size=4) as opened:
        yield opened


@pytest.fixture
async def api_pool(api_database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(api_database_url, "territoire-tests-api", size=4) as opened:
        yield opened


@pytest.fixture(scope="session")
def nats_server(server_folder: Path) -> Iterator[PrivateNats]:
    server = PrivateNats(
        server_folder / "nats",
        free_tcp_port(),
        secrets.token_hex(16),
        f"territoire-test-{secrets.token_hex(4)}",
        durable=False,
    )
    server.prepare()
    with running(server.launch(), server.ready, server_folder / "nats.log"):
        yield server


async def _delete_streams(url: str) -> None:
    connection = await nats.connect(url)
    try:
        jetstream = connection.jetstream()
        for stream in await jetstream.streams_info():
            await jetstream.delete_stream(stream.config.name or "")
    finally:
        await connection.close()


def without_streams(nats_server: PrivateNats) -> str:
    """Its address, once it has no stream left; the server is the worker's own, so no other test writes to it."""
    run_apart(_delete_streams(nats_server.url))
    return nats_server.url


@pytest.fixture
def nats_url(nats_server: PrivateNats) -> str:
    """A JetStream without streams."""
    return without_streams(nats_server)


@pytest.fixture(scope="session")
def mosquitto_server(server_folder: Path) -> Iterator[PrivateMosquitto]:
    accounts = {account: secrets.token_hex(16) for account in (ACCOUNTS, BRIDGE, SIMULATOR)}
    server = PrivateMosquitto(server_folder / "mosquitto", free_tcp_port(), accounts)
    server.prepare()
    with running(server.launch(), server.ready, server_folder / "mosquitto.log"):
        yield server


@pytest.fixture
def mqtt_url(mosquitto_server: PrivateMosquitto) -> str:
    """As the gateway bridge: reads every gateway's events, writes every gateway's commands."""
    return mosquitto_server.url(BRIDGE)


@pytest.fixture
def gateway_mqtt_url(mosquitto_server: PrivateMosquitto) -> str:
    """As a forwarder that may speak for any gateway."""
    return mosquitto_server.url(SIMULATOR)


@pytest.fixture
def free_port() -> int:
    """A TCP port on which nobody listens."""
    return free_tcp_port()


class Measuring:
    """Writes measurements as ingest does: rows, the hours that they dirty, and last values, in one transaction."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def datastreams(self, quantity: str, count: int = 1, *, privacy_class: int = 0) -> list[int]:
        """New ones, of one new asset and device of the tenant `mesures`."""
        tenant = await self._pool.fetchval(
            "INSERT INTO tenant (slug, name) VALUES ('mesures', 'Mesures') "
            "ON CONFLICT (slug) DO UPDATE SET name = excluded.name RETURNING id"
        )
        profile = await self._pool.fetchval(
            "INSERT INTO device_profile (name, vendor, model, codec) VALUES ('p', 'v', 'm', 'c') "
            "ON CONFLICT (tenant_id, name) DO UPDATE SET model = excluded.model RETURNING id"
        )
        device = await self._pool.fetchval(
            "INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation) "
            "VALUES ($1, $2, '\\x0000000000000002', 'd', $3, 0, 'ABP') RETURNING id",
            tenant,
            secrets.token_bytes(8),
            profile,
        )
        asset = await self._pool.fetchval(
            "INSERT INTO asset (tenant_id, kind, name, privacy_class) VALUES ($1, 'essai', $2, $3) RETURNING id",
            tenant,
            f"actif {device}",
            privacy_class,
        )
        await self._pool.execute(
            "INSERT INTO assignment (tenant_id, asset_id, device_id, during) VALUES ($1, $2, $3, '[2020-01-01,)')",
            tenant,
            asset,
            device,
        )
        rows = await self._pool.fetch(
            "INSERT INTO datastream (tenant_id, asset_id, device_id, channel, quantity, unit) "
            "SELECT $1, $2, $3, n, $4, '1' FROM generate_series(1, $5) AS n RETURNING id",
            tenant,
            asset,
            device,
            quantity,
            count,
        )
        return [row["id"] for row in rows]

    async def write(self, *rows: tuple[int, datetime, float, int]) -> None:
        """Datastream, instant, value, flags."""
        hours: dict[datetime, set[int]] = {}
        for datastream, at, _, _ in rows:
            for instant in (at, at - timedelta(microseconds=1)):
                hour = instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
                hours.setdefault(hour, set()).add(datastream)
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.executemany("INSERT INTO observation.measurement VALUES ($1, $2, $3, $4)", rows)
            await connection.executemany("INSERT INTO observation.dirty VALUES ($1, $2)", list(hours.items()))
            await connection.executemany(
                "INSERT INTO observation.latest VALUES ($1, $2, $3, $4) ON CONFLICT (datastream_id) DO UPDATE "
                "SET time = excluded.time, value = excluded.value, flags = excluded.flags "
                "WHERE latest.time < excluded.time",
                [row for row in rows if not row[3] & Flag.TIME_SUSPECT],
            )


@pytest.fixture
def measuring(pool: Pool) -> Measuring:
    return Measuring(pool)
