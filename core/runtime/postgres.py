"""The only module that imports asyncpg: pools, transactions, and the driver's names that others may use."""

import asyncio
import hmac
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import asyncpg
import msgspec
from asyncpg import (
    CheckViolationError,
    DiskFullError,
    ExclusionViolationError,
    ForeignKeyViolationError,
    InsufficientPrivilegeError,
    InterfaceError,
    InvalidPasswordError,
    LockNotAvailableError,
    PostgresConnectionError,
    PostgresError,
    ProgramLimitExceededError,
    Record,
    UniqueViolationError,
)
from asyncpg.pgproto import pgproto
from asyncpg.pool import PoolConnectionProxy
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.runtime.errors import CUT, sql_reason
from core.runtime.waiting import Waiting, network_reason

__all__ = [
    "BAD_DATA",
    "DATABASE_AWAY",
    "BareConnection",
    "CheckViolationError",
    "Connection",
    "DiskFullError",
    "ExclusionViolationError",
    "ForeignKeyViolationError",
    "InsufficientPrivilegeError",
    "InvalidPasswordError",
    "LockNotAvailableError",
    "Pool",
    "PostgresError",
    "ProgramLimitExceededError",
    "Record",
    "UniqueViolationError",
    "connect",
    "database_address",
    "database_reason",
    "open_bare_connection",
    "open_pool",
    "password_proof",
    "proof_of",
    "transaction_of",
    "uuid_of",
]

if TYPE_CHECKING:  # Only the stubs make these classes generic.
    Connection = asyncpg.Connection[Record] | PoolConnectionProxy[Record]
    Pool = asyncpg.Pool[Record]
    BareConnection = asyncpg.Connection[Record]
else:
    BareConnection = asyncpg.Connection
    Connection = asyncpg.Connection | PoolConnectionProxy
    Pool = asyncpg.Pool

# What a driver raises while the server is away, restarts, or has no room left: try again, lose nothing.
DATABASE_AWAY = (
    PostgresConnectionError,
    InterfaceError,
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DiskFullError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    # A deadlock, a conflict: undone in favour of another transaction; a second attempt succeeds.
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,  # The other half of a failover.
    asyncpg.OutOfMemoryError,
    # What asyncpg says of a connection whose server was killed in the middle of a statement.
    asyncpg.InternalClientError,
    TimeoutError,
    # A password that is being changed, a database that is being restored: a caller that waits recovers by itself.
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)

# Errors of values that no repetition will make acceptable (SQLSTATE classes 22 and 23).
BAD_DATA = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)

JSONB_VERSION = b"\x01"

# A uuid.UUID from sixteen octets as the driver makes it, at a tenth of what the standard library's takes.
uuid_of: Callable[[bytes], UUID] = pgproto.UUID


def _encode_jsonb(value: object) -> bytes:
    return JSONB_VERSION + msgspec.json.encode(value)


def _decode_jsonb(octets: bytes) -> Any:
    return msgspec.json.decode(octets[len(JSONB_VERSION) :])


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=_encode_jsonb, decoder=_decode_jsonb
    )


def database_address(database_url: str) -> str:
    """`host:port/database`, as which account: without the password."""
    parts = urlsplit(database_url)
    options = parse_qs(parts.query)
    hosts = parts.netloc.rpartition("@")[2] or ",".join(options.get("host", ["localhost"]))
    account = unquote(parts.username) if parts.username else options.get("user", ["?"])[0]
    return f"{hosts}{parts.path}, compte {account}"


def database_reason(error: BaseException) -> str:
    """Why there is no connection to PostgreSQL, or what it refused, in French."""
    if isinstance(error, PostgresError):
        return sql_reason(error)
    if isinstance(error, InterfaceError | asyncpg.InternalClientError):
        return CUT
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return "le serveur refuse TLS (sslmode=…)"
    return network_reason(error)


def password_of(database_url: str) -> str:
    """The password in an address; empty when it has none."""
    parts = urlsplit(database_url)
    return unquote(parts.password) if parts.password else parse_qs(parts.query).get("password", [""])[0]


def password_proof(password: str) -> bytes:
    """What only a process that knows this password can present: SQL that runs as its login reads it nowhere."""
    return hmac.digest(password.encode(), b"territoire: the process of this login", "sha256")


class _OurConnection(asyncpg.Connection):  # pyright: ignore[reportMissingTypeArgument] - Generic in the stubs only.
    """A connection that knows the proof of its login's password."""

    __slots__ = ("proof",)


def _connecting(database_url: str) -> Callable[..., Any]:
    proof = password_proof(password_of(database_url))

    async def connect_ours(*arguments: Any, **options: Any) -> Any:
        connection = await asyncpg.connect(*arguments, **{**options, "connection_class": _OurConnection})
        connection.proof = proof  # pyright: ignore[reportAttributeAccessIssue]
        return connection

    return connect_ours


def proof_of(connection: Connection) -> bytes:
    """The proof of the password by which this connection was made."""
    known: Any = connection  # The pool's proxy hands it on.
    return known.proof


async def connect(
    database_url: str,
    application_name: str = "territoire",
    settings: Mapping[str, str] = MappingProxyType({}),
) -> "asyncpg.Connection[Record]":
    """One connection of its own, with our JSON codec; `settings` are the session's from its start."""
    connection = await _connecting(database_url)(
        database_url, server_settings={"application_name": application_name, **settings}
    )
    await _prepare(connection)
    return connection


@asynccontextmanager
async def open_bare_connection(
    database_url: str,
    application_name: str,
    *,
    command_timeout: float = 30,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> "AsyncGenerator[asyncpg.Connection[Record]]":
    """One direct connection without our codecs, for a library that listens on it and brings its own.

    No statement of ours comes before the caller's first; `settings` are the session's from its start.
    """
    connection = await asyncpg.connect(
        database_url,
        timeout=10,
        command_timeout=command_timeout,
        server_settings={"application_name": application_name, **settings},
    )
    try:
        yield connection
    finally:
        connection.terminate()


async def _leave_as_it_is(connection: Any) -> None:
    """Reset nothing: settings and locks of ours are local to their transaction.

    The driver's own reset asks the server four things each time that a connection is given back; what it does
    without asking stays: a transaction that was left open is rolled back.
    """


@asynccontextmanager
async def transaction_of(at: Connection | Pool) -> AsyncGenerator[Connection]:
    """The connection, in whatever transaction it is; of a pool, one in a transaction of its own."""
    if isinstance(at, asyncpg.Pool):
        async with at.acquire() as connection, connection.transaction():
            yield connection
    else:
        yield at


class _Pools(Collector):
    """Use of this process's pools, read when the metrics are collected."""

    _labelnames = ("pool",)  # As the library's own metrics say what theirs are.

    def __init__(self) -> None:
        self._pools: list[tuple[str, Any]] = []

    @contextmanager
    def watched(self, name: str, pool: Any) -> Generator[None]:
        """Export this pool's metrics while the block runs."""
        entry = (name, pool)
        self._pools.append(entry)
        try:
            yield
        finally:
            self._pools = [other for other in self._pools if other is not entry]

    def describe(self) -> Iterable[Metric]:
        """The names alone, as registering needs them."""
        return _families()

    def collect(self) -> Iterable[Metric]:
        """The metrics as of this instant."""
        families = _families()
        by_name: dict[str, list[Any]] = {}
        for name, pool in self._pools:
            by_name.setdefault(name, []).append(pool)
        for name, pools in by_name.items():
            for family, *values in zip(families, *map(_measures, pools), strict=True):
                family.add_metric([name], sum(values))
        return families


def _measures(pool: Any) -> tuple[int, int, int, int]:
    """In the order of `_NAMES`. Waiting callers are counted in the driver's queue of free connections."""
    getters = getattr(getattr(pool, "_queue", None), "_getters", ())
    waiting = sum(not getter.done() for getter in getters)
    return pool.get_size(), pool.get_idle_size(), pool.get_max_size(), waiting


_NAMES = (
    ("territoire_database_pool_size", "Connections that are open"),
    ("territoire_database_pool_free", "Connections that are open and used by nobody"),
    ("territoire_database_pool_limit", "Connections that may be open"),
    ("territoire_database_pool_waiting", "Tasks that wait for a connection"),
)


def _families() -> list[GaugeMetricFamily]:
    return [GaugeMetricFamily(name, documentation, labels=["pool"]) for name, documentation in _NAMES]


_POOLS = _Pools()
REGISTRY.register(_POOLS)


@asynccontextmanager
async def open_pool(
    database_url: str,
    application_name: str,
    *,
    size: int = 4,
    command_timeout: float = 30,
    given_out: Callable[[Any], Coroutine[Any, Any, None]] | None = None,
) -> AsyncGenerator[Pool]:
    """A pool that waits for a database that is not there yet, with a log line, instead of failing.

    Its metrics have the name up to a stroke; what follows it only the database sees. `given_out` is awaited
    with each connection before it is given to who asks for one.
    """
    waiting = Waiting("database_waited_for", "base de données", database_address(database_url), holds_start=True)
    delay = 0.2
    while True:
        try:
            pool = await asyncpg.create_pool(
                database_url,
                min_size=1,
                max_size=size,
                init=_prepare,
                setup=given_out,  # pyright: ignore[reportArgumentType] - The stubs name its parameter.
                connect=_connecting(database_url),
                connection_class=_OurConnection,
                reset=_leave_as_it_is,
                command_timeout=command_timeout,
                timeout=10,
                server_settings={
                    "application_name": application_name,
                    "idle_in_transaction_session_timeout": "3000",
                    "jit": "off",  # Compiling a plan over many chunks takes seconds, running it takes none.
                    # What a killed process was waiting for is given up, and with it the fence of its shards.
                    "client_connection_check_interval": "2000",
                    # Otherwise who asks to be forgotten stays in compressed chunks beyond the 100,000th row.
                    "timescaledb.max_tuples_decompressed_per_dml_transaction": "0",
                },
            )
            break
        except DATABASE_AWAY as away:
            waiting.failed(database_reason(away), away, delay)
            try:
                await asyncio.sleep(delay)
            except BaseException:
                waiting.given_up()
                raise
            delay = min(delay * 2, 5)
    waiting.over()
    try:
        with _POOLS.watched(application_name.partition("/")[0], pool):
            yield pool
    finally:
        try:
            async with asyncio.timeout(5):
                await pool.close()
        except (TimeoutError, *DATABASE_AWAY):
            pool.terminate()
