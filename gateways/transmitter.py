"""Answers requests to transmit: finds the gateway's frontend and its radio."""

import asyncio
import contextlib
from collections.abc import Mapping

import structlog

from core.messages.downlinks import TransmitReply, TransmitRequest
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY
from gateways import gateway_metrics
from gateways.frontend import INTERNAL_ERROR, NO_ACK, Frontend
from gateways.gateway_activity import Activity
from gateways.known_gateways import Gateways
from gateways.paths import Paths
from gateways.radio import Radios
from gateways.telemetry import DOWNLINKS
from lorawan.identifiers import GatewayId

log = structlog.get_logger()


class Transmitter:
    """Answers for every gateway whose path this replica holds."""

    def __init__(self, gateways: Gateways, radios: Radios, activity: Activity) -> None:
        self._gateways = gateways
        self._activity = activity
        self._radios = radios
        self._frontends: Mapping[str, Frontend] = {}
        self._paths: Paths | None = None
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def attach(self, paths: Paths, frontends: Mapping[str, Frontend]) -> None:
        """Name the paths and the frontends, which know the transmitter first."""
        self._paths = paths
        self._frontends = frontends

    async def transmit(self, gateway_id: GatewayId, request: TransmitRequest) -> TransmitReply:
        """Transmit a frame through a gateway, or return why not."""
        self._running += 1
        self._idle.clear()
        try:
            reply = await self._transmit(gateway_id, request)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()
        DOWNLINKS.labels(reply.status).inc()
        if gateway_id in self._gateways:
            gateway_metrics.DOWNLINKS.labels(gateway_id.hex(), reply.status).inc()
        log.info(
            "transmit_answered",
            gw_eui=gateway_id.hex(),
            downlink_id=request.downlink_id,
            status=reply.status,
            index=reply.index,
        )
        return reply

    async def finish(self, within_s: float) -> None:
        """Return when every request has its answer, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()

    async def _transmit(self, gateway_id: GatewayId, request: TransmitRequest) -> TransmitReply:
        gateway = self._gateways.get(gateway_id)
        name = None if self._paths is None else self._paths.frontend_of(gateway_id)
        if gateway is None or name is None:
            return TransmitReply(NO_ACK, -1, 0, 0)
        try:
            radio = await self._radios.of(gateway)
        except DATABASE_AWAY as away:
            log.warning("ledger_not_read", gw_eui=gateway_id.hex(), error=describe(away))
            return TransmitReply(INTERNAL_ERROR, -1, 0, 0)
        reply = await radio.transmit(self._frontends[name], request)
        if radio.measured_us is not None:
            self._activity.measured(gateway_id, radio.measured_us / 1000)
        return reply
