# pyright: reportUnknownMemberType=false
"""The connection to the bus, made and made again, and what is said of it while it is away."""

import asyncio
import re
import ssl
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from urllib.parse import parse_qsl, unquote, urlsplit

import nats.errors
import structlog
from nats.aio.client import Client
from prometheus_client import Counter

from core.messages.permissions import OWN_INBOX, inbox_of
from core.runtime.errors import CUT, OperatorError, describe
from core.runtime.tls import client_tls
from core.runtime.waiting import Waiting, network_reason

RECONNECT_WAIT_S = 0.2
# As the driver hands it on, in small letters.
VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')
BUS_REFUSALS = (
    (nats.errors.NoServersError, "aucun de ses serveurs n'accepte de connexion"),
    (nats.errors.NoRespondersError, "le serveur répond, personne n'y traite ce qui est demandé"),
    (nats.errors.StaleConnectionError, "le serveur ne répond plus"),
    (nats.errors.ConnectionClosedError, CUT),
)
REMEMBERED = 200
SAID_AGAIN_AFTER_S = 60.0

DENIED = Counter(
    "territoire_bus_denied_total", "Messages and subscriptions that this process's login may not", ["operation"]
)
for _operation in ("publish", "subscription"):  # Shown before the first of them, which rings.
    DENIED.labels(_operation)

log = structlog.get_logger()


class BusLost(OperatorError):
    """The server rejects our account: start the process again, which then waits for the bus."""


class BusNotReached(OperatorError):
    """No server has let us in for as long as the caller waits; the message says why not."""

    def __init__(self, waiting: Waiting, within_s: float) -> None:
        why = waiting.reason or network_reason(TimeoutError())
        super().__init__(
            f"no connection to the bus ({waiting.address}) within {within_s:.0f} s: {why}",
            f"le bus ne répond pas ({waiting.address}) : {why}",
        )


class BusDenied(nats.errors.Error):
    """This process's login may not publish there: the server's users are not those of this version."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"the bus denies this login {subject}")


class NoJetStream(nats.errors.Error):
    """The server carries messages and keeps none: JetStream is not switched on."""

    def __init__(self) -> None:
        super().__init__("the server runs without JetStream")


class NoMajority(nats.errors.Error):
    """Too many servers of the cluster are away: the stream has no leader, and takes nothing."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"{stream} has no leader: a majority of the servers is away")


class NoTls(nats.errors.Error):
    """The address says TLS, and this server asks for none: it is not told the password."""

    def __init__(self) -> None:
        super().__init__("the server speaks without encryption")


class _Client(Client):
    """Over TLS with every server where the address says so, with the authority's file as it is at that moment."""

    def __init__(self, read_tls: Callable[[], ssl.SSLContext] | None) -> None:
        """Raises OSError and ssl.SSLError where the file cannot be read from the beginning."""
        super().__init__()
        self._read_tls = read_tls
        if read_tls is not None:
            read_tls()

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """For one connection: an authority that was renewed counts from the next one on."""
        return super().ssl_context if self._read_tls is None else self._read_tls()

    def _connect_command(self) -> bytes:
        """It has the password in it. The driver asks for TLS only where the server does."""
        if self._read_tls is not None and not self._server_info.get("tls_required"):
            raise NoTls
        return super()._connect_command()


class Denials:
    """What the server says that this login may not. Nothing else tells: a request is left without an answer."""

    def __init__(self) -> None:
        self.count = 0
        self._last: deque[tuple[int, str, str]] = deque(maxlen=REMEMBERED)
        self._said: dict[tuple[str, str], float] = {}

    def record(self, error: Exception) -> None:
        """Count and log it; of another error, log it."""
        found = VIOLATION.search(str(error))
        if found is None:
            log.warning("bus_error", error=describe(error))
            return
        operation, subject = found.groups()
        DENIED.labels(operation).inc()
        self.count += 1
        self._last.append((self.count, operation, subject))
        now = time.monotonic()
        if now - self._said.get((operation, subject), float("-inf")) > SAID_AGAIN_AFTER_S:
            if len(self._said) >= REMEMBERED:
                self._said.clear()
            self._said[operation, subject] = now
            log.error("bus_denied", operation=operation, subject=subject)

    def since(self, count: int, subject: str) -> BusDenied | None:
        """The last denial of a publish since there were `count`, on a subject that begins so."""
        for number, operation, denied in reversed(self._last):
            if number > count and operation == "publish" and denied.startswith(subject.lower()):
                return BusDenied(denied)
        return None


@asynccontextmanager
async def connected(
    nats_url: str, name: str, waiting: Waiting | None = None, *, within_s: float | None = None
) -> AsyncGenerator[tuple[Client, Denials]]:
    """A client that reconnects without limit, and what it is denied; it waits for a server that is not there yet.

    `tls://user:password@host:port?ca=/path/ca.pem` for TLS, `ca` naming the server's authority when it is not one
    of the system's; the file is read for each connection. Several servers of a cluster, each in full, have commas
    between them. A caller with a deadline hands `waiting` in, and reads there why no connection was made;
    `within_s` is the deadline of the first connection alone.

    Raises:
        OSError, ssl.SSLError: the authority's file cannot be read.
        BusNotReached: `within_s` is over.
        BusLost: the server said that we may not come any more.
    """
    servers, read_tls = _servers_of(nats_url), _tls_of(nats_url)
    waiting = waiting or waiting_for_bus(nats_url)
    client, denials = _Client(read_tls), Denials()
    using = asyncio.current_task()
    assert using is not None  # noqa: S101 - There is one wherever there is an await.
    lost: list[str] = []
    is_closing = False

    async def report(error: Exception) -> None:
        if not client.is_connected:
            waiting.failed(bus_reason(error), error, RECONNECT_WAIT_S)
        else:
            denials.record(error)

    async def disconnected() -> None:
        if not is_closing and not lost:
            waiting.failed(CUT, "disconnected", RECONNECT_WAIT_S)

    async def reconnected() -> None:
        waiting.over()

    async def closed() -> None:
        """The driver gives up for good when the server ends it with an error, an account that has expired say."""
        if not is_closing:
            lost.append(bus_reason(client.last_error or ConnectionError()))
            using.cancel()

    try:
        async with _within(within_s, waiting):
            await client.connect(
                servers,
                name=name,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_WAIT_S,  # pyright: ignore[reportArgumentType] - It sleeps for as long.
                connect_timeout=2,
                ping_interval=5,
                max_outstanding_pings=2,
                pending_size=64 << 20,
                inbox_prefix=_inbox(servers[0]),
                error_cb=report,
                disconnected_cb=disconnected,
                reconnected_cb=reconnected,
                closed_cb=closed,
            )
        waiting.over()
        yield client, denials
    except asyncio.CancelledError:
        if lost and using.uncancel() == 0:
            raise BusLost(
                f"the bus closed the connection: {client.last_error}", f"bus ({waiting.address}) : {lost[0]}"
            ) from None
        raise
    finally:
        is_closing = True
        waiting.given_up()
        # A bus that is away at the end is no failure. The driver flushes what is pending on a transport whose
        # connection may be lost already, where CPython 3.13 raises a TypeError.
        with suppress(nats.errors.Error, OSError, TimeoutError, TypeError):
            await client.close()  # Never drain(): it hangs on a pull subscription that still holds messages.


@asynccontextmanager
async def _within(within_s: float | None, waiting: Waiting) -> AsyncGenerator[None]:
    """Raises BusNotReached when it takes longer."""
    deadline = asyncio.timeout(within_s)
    try:
        async with deadline:
            yield
    except TimeoutError:
        if within_s is None or not deadline.expired():
            raise
        raise BusNotReached(waiting, within_s) from None


def waiting_for_bus(nats_url: str) -> Waiting:
    """The wait of a process that can do nothing without the bus."""
    return Waiting("bus_waited_for", "bus", bus_address(nats_url), holds_start=True)


def bus_address(nats_url: str) -> str:
    """The servers without their passwords."""
    return ", ".join(server.partition("://")[2].rpartition("@")[2] for server in _servers_of(nats_url))


def bus_reason(error: BaseException) -> str:
    """Why there is no connection to the bus, in French."""
    text = str(error).lower()
    if isinstance(error, NoJetStream):
        return "le serveur tourne sans JetStream"
    if isinstance(error, NoMajority):
        return "une majorité de ses serveurs manque"
    if isinstance(error, NoTls):
        return "le serveur ne chiffre pas (nats://… dans l'adresse), ou quelqu'un parle à sa place"
    if "authorization" in text or "authentication" in text:
        return "le compte ou le mot de passe est refusé"
    if "tls" in text and isinstance(error, nats.errors.Error):
        return "le serveur demande TLS (tls://… dans l'adresse)"
    return next((french for kind, french in BUS_REFUSALS if isinstance(error, kind)), None) or network_reason(
        error
    )


def _tls_of(nats_url: str) -> Callable[[], ssl.SSLContext] | None:
    """What reads whom to believe; None: the address says no TLS."""
    if not nats_url.startswith("tls://"):
        return None
    return partial(client_tls, dict(parse_qsl(nats_url.partition("?")[2])).get("ca"))


def _inbox(server: str) -> str:
    """Under which subject answers come; a user without a password is a token, which is no name."""
    parts = urlsplit(server)
    return inbox_of(unquote(parts.username)) if parts.username and parts.password else OWN_INBOX


def _servers_of(nats_url: str) -> list[str]:
    return nats_url.partition("?")[0].split(",")
