"""CUPS for LoRa Basics Stations: `POST /update-info`, on a port beside the one for their connections."""

import asyncio
from asyncio import BaseTransport
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import structlog

from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.errors import describe
from core.runtime.health import serve_http
from core.runtime.http.head_deadline import HeadDeadlineProtocol
from core.runtime.http.origin import client_address
from core.runtime.postgres import DATABASE_AWAY, Pool
from gateways.known_gateways import Gateways
from gateways.settings import FrontendSettings
from gateways.station_credentials import Credential, StationCredentials
from gateways.station_tls import RENEWED_EVERY_S, certified_gateway, has_certificate, station_context
from gateways.telemetry import DATAGRAMS
from lorawan.gateway.basics_station import MalformedMessage
from lorawan.gateway.cups import UpdateInfo, parse_update_info
from lorawan.identifiers import GatewayId
from registry.station_updates import fetch_for

PATH = "/update-info"
MAX_BODY = 16 * 1024
BODY_WITHIN_S = 10.0
# A program over a mobile network; so many at once are in memory.
ANSWER_WITHIN_S = 600.0
ANSWERED_AT_ONCE = 8
PIECE = 64 * 1024
STOP_WITHIN_S = 2

log = structlog.get_logger()

TurnedAway = Callable[[GatewayId, str], None]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class CupsProtocol(HeadDeadlineProtocol):
    """The application finds the transport, which has the station's certificate, in its scope's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Keep the transport."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Rejected(Exception):
    """The request is answered with this status."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class CupsServer:
    """An ASGI application of one route. Who cannot prove to be a registered gateway is given nothing."""

    def __init__(
        self,
        settings: FrontendSettings,
        pool: Pool,
        bus: Bus,
        gateways: Gateways,
        turned_away: TurnedAway,
    ) -> None:
        """`turned_away` is called with the gateway and the address of who could not prove to be it."""
        self._settings = settings
        self._credentials = StationCredentials(settings, gateways)
        self._pool = pool
        self._bus = bus
        self._gateways = gateways
        self._on_turned_away = turned_away
        self._answering = asyncio.Semaphore(ANSWERED_AT_ONCE)
        self.is_open = False

    async def run(self, port: int) -> None:
        """Answer until cancelled, and read the certificates again when they change."""
        context = station_context(self._settings)
        async with serve_http(
            self,
            self._settings.station_host,
            port,
            shutdown_timeout_s=STOP_WITHIN_S,
            tls=None if context is None else context.outer,
            proxies=self._settings.station_proxy_protocol,
            protocol=CupsProtocol,
        ):
            self.is_open = True
            log.info("station_updates_served", port=port)
            while True:
                await asyncio.sleep(RENEWED_EVERY_S)
                if context is not None:
                    context.renew()

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        """As ASGI says."""
        if scope["type"] != "http":
            return
        try:
            info, credential = await self._question(scope, receive)
            async with self._answering:  # By stations that have proved who they are: others keep nobody waiting.
                answer = await self._answer(info, credential)
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    await _send(send, HTTPStatus.OK, answer)
        except _Rejected as rejected:
            DATAGRAMS.labels("station_update", str(rejected)).inc()
            await _send(send, rejected.status, f"{rejected.status.phrase}\n".encode())
        except TimeoutError:
            DATAGRAMS.labels("station_update", "silent").inc()
            transport: asyncio.Transport = scope["state"]["transport"]
            transport.abort()

    async def _question(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]]
    ) -> tuple[UpdateInfo, Credential]:
        if scope["path"] != PATH:
            raise _Rejected(HTTPStatus.NOT_FOUND, "path")
        if scope["method"] != "POST":
            raise _Rejected(HTTPStatus.METHOD_NOT_ALLOWED, "method")
        async with asyncio.timeout(BODY_WITHIN_S):
            body = await _body(receive)
        try:
            info = parse_update_info(body)
        except MalformedMessage as malformed:
            log.debug("station_message_malformed", error=str(malformed))
            raise _Rejected(HTTPStatus.BAD_REQUEST, "malformed") from None
        return info, self._check(scope, info.gateway_id)

    async def _answer(self, info: UpdateInfo, credential: Credential) -> bytes:
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                fetched = await fetch_for(connection, info, credential.token)
        except DATABASE_AWAY as away:
            log.warning("station_update_not_read", error=describe(away))
            raise _Rejected(HTTPStatus.SERVICE_UNAVAILABLE, "database") from None
        if fetched is None:
            raise _Rejected(HTTPStatus.NOT_FOUND, "unknown_gateway")
        if fetched.token is not None:  # It connects with it at once, here or at another replica.
            self._gateways.record_fetched(fetched.token)
            await self._nudge()
        DATAGRAMS.labels("station_update", "ok").inc()
        self._log(info, fetched.answer.sent())
        return fetched.answer.to_bytes()

    def _check(self, scope: dict[str, Any], gateway_id: GatewayId) -> Credential:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        shown = [value for name, value in headers if name == "authorization"]
        transport: BaseTransport = scope["state"]["transport"]
        credential = self._credentials.check(
            gateway_id,
            certified_gateway(transport),
            has_certificate(transport),
            shown[0] if len(shown) == 1 else "",
        )
        if isinstance(credential, Credential) and credential.is_proved:
            return credential
        forwarded = [value for name, value in headers if name == "x-forwarded-for"]
        peer = scope["client"][0] if scope["client"] else ""
        address = client_address(peer, forwarded, self._settings.station_proxies)
        self._on_turned_away(gateway_id, address)
        reason = credential if isinstance(credential, str) else "no_credential"
        log.warning("station_turned_away", gw_eui=gateway_id.hex(), address=address, reason=reason)
        raise _Rejected(HTTPStatus.FORBIDDEN if reason == "certificate" else HTTPStatus.UNAUTHORIZED, reason)

    async def _nudge(self) -> None:
        try:
            await self._bus.nudge(topics.REGISTRY_CHANGED)
        except BUS_AWAY as away:  # The others find it within seconds.
            log.warning("registry_not_nudged", error=describe(away))

    def _log(self, info: UpdateInfo, sent: list[str]) -> None:
        log.info(
            "station_asked_for_updates",
            gw_eui=info.gateway_id.hex(),
            station=info.station,
            package=info.package,
            sent=sent,
        )


async def _body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    body, is_complete = b"", False
    while not is_complete:
        message = await receive()
        if message["type"] != "http.request":
            raise _Rejected(HTTPStatus.BAD_REQUEST, "gone")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise _Rejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large")
        is_complete = not message.get("more_body", False)
    return body


async def _send(send: Send, status: HTTPStatus, body: bytes) -> None:
    """A station reads no body without a length, and none in chunks."""
    kind = b"application/octet-stream" if status is HTTPStatus.OK else b"text/plain"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    for at in range(0, len(body), PIECE):
        await send({"type": "http.response.body", "body": body[at : at + PIECE], "more_body": True})
    await send({"type": "http.response.body", "body": b""})
