"""Accepts connections of LoRa Basics Stations: discovery, authorisation, one connection per gateway."""

import asyncio
import re
import resource
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from socket import AF_INET, AF_INET6, create_server
from typing import Any

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from core.runtime.http.headers import CONTENT_POLICY, NO_STORE, SECURITY_HEADERS
from core.runtime.http.origin import client_address
from core.runtime.http.proxy_header import ProxiedSocket
from gateways.settings import FrontendSettings
from gateways.station_credentials import Credential, StationCredentials
from gateways.station_tls import (
    RENEWED_EVERY_S,
    RenewedContext,
    certified_gateway,
    has_certificate,
    station_context,
)
from gateways.telemetry import DATAGRAMS
from lorawan.gateway.basics_station import (
    MalformedMessage,
    eui_of,
    parse_discovery,
)
from lorawan.gateway.basics_station_answers import MAX_URI, discovery_answer, discovery_error
from lorawan.identifiers import GatewayId

DISCOVERY_PATH = "/router-info"
GATEWAY_PATH = "/gateway/"
OPEN_WITHIN_S = 10.0
CLOSE_WITHIN_S = 2.0
# A station's longest message is a frame of 255 octets in hexadecimal, and its remote shell is not used here.
MAX_MESSAGE = 16 * 1024
MAX_QUEUED = 64
MAX_CONNECTIONS = 4096
# What a station that is turned away writes into its log.
WHY = {
    "certificate": "the certificate is another gateway's",
    "token": "the token in tc.key is not this gateway's, or was withdrawn",
    "no_credential": "a token in tc.key or a certificate is required",
    "no_request": "no request",
}

_HOST = re.compile(r"[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:]+\]")
_DEFAULT_PORTS = {"ws": 80, "wss": 443}

log = structlog.get_logger()

Talk = Callable[[GatewayId, ServerConnection, Credential], Awaitable[None]]
Seen = Callable[[GatewayId, str], bool]
TurnedAway = Callable[[GatewayId, str], None]


def peer_of(connection: ServerConnection) -> str:
    """The address that a connection comes from: the station's, or a proxy's."""
    address: Any = connection.remote_address
    return str(address[0]) if address else ""


class StationServer:
    """Serves `/router-info` itself; `talk` serves `/gateway/{eui}` until the connection is over."""

    def __init__(
        self,
        settings: FrontendSettings,
        credentials: StationCredentials,
        talk: Talk,
        seen: Seen,
        turned_away: TurnedAway,
    ) -> None:
        """`turned_away` is called with the gateway and the address of who could not prove to be it."""
        self._settings = settings
        self._credentials = credentials
        self._talk = talk
        self._seen = seen
        self._on_turned_away = turned_away
        self._context: RenewedContext | None = None
        self._server: Server | None = None
        self._connections = 0
        # Half of what this process may open: the bus and the database must always find room.
        self._most = min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None and self._server.is_serving()

    @property
    def scheme(self) -> str:
        """`wss` with a certificate, else `ws`."""
        return "ws" if self._settings.station_certificate is None else "wss"

    async def open(self) -> int:
        """Listen; returns the port.

        Raises:
            OSError: the port is taken, the host is not ours, or a certificate cannot be read.
        """
        settings = self._settings
        self._context = station_context(settings)
        listening = create_server(
            (settings.station_host, settings.station_port or 0),
            family=AF_INET6 if ":" in settings.station_host else AF_INET,
        )
        if settings.station_proxy_protocol:
            listening = ProxiedSocket(listening, settings.station_proxy_protocol)
        self._server = await serve(
            self._serve,
            sock=listening,
            process_request=self._admit,
            ssl=None if self._context is None else self._context.outer,
            compression=None,
            server_header=None,
            open_timeout=OPEN_WITHIN_S,
            ssl_handshake_timeout=None if self._context is None else OPEN_WITHIN_S,
            close_timeout=CLOSE_WITHIN_S,
            ping_interval=None,  # Each session pings by itself: the pong measures the gateway's round trip.
            max_size=MAX_MESSAGE,
            max_queue=MAX_QUEUED,
        )
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        log.info("stations_awaited", host=settings.station_host, port=port, scheme=self.scheme)
        return port

    async def renew(self) -> None:
        """Read the certificates and the revocation list again when they change, until cancelled."""
        while self._context is not None:
            await asyncio.sleep(RENEWED_EVERY_S)
            if self._context.renew() and self._server is not None:
                # Who showed a certificate comes back at once, and shows it to the new list.
                for connection in list(self._server.connections):
                    if has_certificate(connection.transport):
                        connection.transport.abort()

    def address_of(self, connection: ServerConnection) -> str:
        """The address that a station comes from."""
        request = connection.request
        return peer_of(connection) if request is None else self._address_of(connection, request)

    def _address_of(self, connection: ServerConnection, request: Request) -> str:
        forwarded = request.headers.get_all("X-Forwarded-For")
        return client_address(peer_of(connection), forwarded, self._settings.station_proxies)

    async def close(self) -> None:
        """Send every station away; it asks again a second later, and another replica answers."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Before the WebSocket is open: who it is for, and whether its certificate says the same."""
        if self._connections >= self._most:
            return self._turned_away(connection, HTTPStatus.SERVICE_UNAVAILABLE, "too_many")
        path = request.path.partition("?")[0]
        if path == DISCOVERY_PATH:
            return None
        gateway_id = _gateway_of(path)
        if gateway_id is None:
            return self._turned_away(connection, HTTPStatus.NOT_FOUND, "path")
        credential = self._check(connection, request, gateway_id)
        if isinstance(credential, str):
            address = self._address_of(connection, request)
            self._on_turned_away(gateway_id, address)
            status = HTTPStatus.FORBIDDEN if credential == "certificate" else HTTPStatus.UNAUTHORIZED
            return self._turned_away(connection, status, credential)
        return None

    def _turned_away(self, connection: ServerConnection, status: HTTPStatus, reason: str) -> Response:
        DATAGRAMS.labels("station_connection", reason).inc()
        log.warning("station_turned_away", address=peer_of(connection), reason=reason)
        response = connection.respond(status, f"{status.phrase}\n")
        for name, value in (*SECURITY_HEADERS, CONTENT_POLICY, NO_STORE):
            response.headers[name.decode()] = value.decode()
        return response

    def _check(self, connection: ServerConnection, request: Request, gateway_id: GatewayId) -> Credential | str:
        shown = request.headers.get_all("Authorization")
        return self._credentials.check(
            gateway_id,
            certified_gateway(connection.transport),
            has_certificate(connection.transport),
            shown[0] if len(shown) == 1 else "",
        )

    async def _serve(self, connection: ServerConnection) -> None:
        self._connections += 1
        try:
            request = connection.request
            gateway_id = None if request is None else _gateway_of(request.path.partition("?")[0])
            if request is None or gateway_id is None:
                await self._discover(connection)
                return
            credential = self._check(connection, request, gateway_id)
            if not isinstance(credential, str):  # It was let in a moment ago.
                DATAGRAMS.labels("station_connection", "ok").inc()
                await self._talk(gateway_id, connection, credential)
        except ConnectionClosed as closed:
            log.debug("station_connection_lost", address=peer_of(connection), error=str(closed))
        finally:
            self._connections -= 1

    async def _discover(self, connection: ServerConnection) -> None:
        """One question, one answer."""
        try:
            async with asyncio.timeout(OPEN_WITHIN_S):
                gateway_id = parse_discovery(await connection.recv())
        except TimeoutError:
            DATAGRAMS.labels("station_discovery", "silent").inc()
            return
        except MalformedMessage as malformed:
            DATAGRAMS.labels("station_discovery", "malformed").inc()
            log.debug("station_message_malformed", error=str(malformed), address=peer_of(connection))
            return
        answer, result = self._directions(connection, gateway_id)
        DATAGRAMS.labels("station_discovery", result).inc()
        await connection.send(answer)

    def _directions(self, connection: ServerConnection, gateway_id: GatewayId) -> tuple[str, str]:
        """The answer to a station's discovery request, and its result as a metric label."""
        request = connection.request
        credential = "no_request" if request is None else self._check(connection, request, gateway_id)
        if isinstance(credential, str):
            self._on_turned_away(gateway_id, self.address_of(connection))
            return discovery_error(gateway_id, WHY[credential]), credential
        base = self._settings.station_url or self._reached_at(connection)
        uri = f"{base}{GATEWAY_PATH}{gateway_id.hex()}"
        if len(uri) > MAX_URI:
            return discovery_error(gateway_id, "the address is too long"), "too_long"
        # An unregistered station gets the same answer: it is listed, and works from the moment it is registered.
        known = self._seen(gateway_id, self.address_of(connection))
        return discovery_answer(gateway_id, uri), "ok" if known else "unknown_gateway"

    def _reached_at(self, connection: ServerConnection) -> str:
        """Our address as the station knows it, or as the system does where it does not say."""
        hosts = [] if connection.request is None else connection.request.headers.get_all("Host")
        named = hosts[0] if len(hosts) == 1 else ""
        host, _, port = named.rpartition(":") if re.search(r":\d+$", named) else (named, "", "")
        if _HOST.fullmatch(host):
            return f"{self.scheme}://{host}:{port or _DEFAULT_PORTS[self.scheme]}"
        local: Any = connection.local_address
        return f"{self.scheme}://{f'[{local[0]}]' if ':' in local[0] else local[0]}:{local[1]}"


def _gateway_of(path: str) -> GatewayId | None:
    if not path.startswith(GATEWAY_PATH):
        return None
    try:
        return GatewayId(eui_of(path.removeprefix(GATEWAY_PATH)))
    except ValueError:
        return None
