"""Downlink paths of this replica: one subscription per gateway, claimed from any former holder."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog

from core.messages import topics
from core.messages.downlinks import TransmitReply, TransmitRequest, decode_request, encode_transmit
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.errors import describe
from gateways.telemetry import DATAGRAMS, GATEWAYS_CONNECTED
from lorawan.identifiers import EUI_LENGTH, GatewayId

QUEUE_GROUP = "gateway_bridge"
EXPIRES_AFTER_S = 75.0
SWEEP_EVERY_S = 5.0
RETRY_S = 1.0
DRAIN_WITHIN_S = 2.0

log = structlog.get_logger()

Transmit = Callable[[GatewayId, TransmitRequest], Awaitable[TransmitReply]]


class _Subscription(Protocol):
    async def drain(self) -> None: ...


@dataclass(slots=True)
class _Path:
    frontend: str
    alive_at: float
    subscription: _Subscription | None = None


class Paths:
    """Opened by a gateway's sign of life, closed when it falls silent or another replica claims it."""

    def __init__(
        self, bus: Bus, instance: str, transmit: Transmit, *, expires_after_s: float = EXPIRES_AFTER_S
    ) -> None:
        self._bus = bus
        self._instance = instance.encode()
        self._transmit = transmit
        self._expires_after_s = expires_after_s
        self._paths: dict[GatewayId, _Path] = {}
        self._to_open: asyncio.Queue[GatewayId] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._on_lost: Callable[[GatewayId], None] = lambda _: None

    def frontend_of(self, gateway_id: GatewayId) -> str | None:
        """The name of the frontend through which a gateway can be reached now."""
        path = self._paths.get(gateway_id)
        return None if path is None else path.frontend

    def held(self) -> set[GatewayId]:
        """The gateways whose path is this replica's."""
        return set(self._paths)

    def alive(self, gateway_id: GatewayId, frontend: str) -> bool:
        """A sign of life on the downlink path: keeps it open; whether the path is new."""
        path = self._paths.get(gateway_id)
        if path is not None and path.frontend == frontend:
            path.alive_at = self._loop.time()
            return False
        if path is not None:  # It uses another protocol now: the subscription stays.
            path.frontend, path.alive_at = frontend, self._loop.time()
        else:
            self._paths[gateway_id] = _Path(frontend, self._loop.time())
            self._to_open.put_nowait(gateway_id)
        self._count()
        return True

    def lost_soon(self, gateway_id: GatewayId) -> None:
        """The gateway announced its end: the next sweep closes its path unless it is back by then."""
        path = self._paths.get(gateway_id)
        if path is not None:
            path.alive_at = self._loop.time() - self._expires_after_s

    async def lost(self, gateway_id: GatewayId) -> None:
        """The gateway is gone, or another replica has it: stop answering requests for it."""
        path = self._paths.pop(gateway_id, None)
        if path is None:
            return
        self._count()
        self._on_lost(gateway_id)
        if path.subscription is not None:
            await self._unsubscribe(path.subscription)

    async def run(self, on_lost: Callable[[GatewayId], None]) -> None:
        """Open, give up and expire paths until cancelled, then give all up; each loss calls `on_lost`."""
        self._on_lost = on_lost
        claims = await self._bus.subscribe(topics.GATEWAY_CLAIMS, self._claimed)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._open_all(), name="open downlink paths")
                tasks.create_task(self._expire_all(), name="expire downlink paths")
        finally:
            await self._unsubscribe(claims)
            await asyncio.gather(*map(self.lost, list(self._paths)))

    async def _open_all(self) -> None:
        while True:
            gateway_id = await self._to_open.get()
            try:
                await self._open(gateway_id)
            except BUS_AWAY as away:
                log.warning("path_not_opened", gw_eui=gateway_id.hex(), error=describe(away))
                self._to_open.put_nowait(gateway_id)
                await asyncio.sleep(RETRY_S)

    async def _open(self, gateway_id: GatewayId) -> None:
        path = self._paths.get(gateway_id)
        if path is None or path.subscription is not None:
            return

        async def answer(data: bytes) -> bytes:
            return await self._answer(gateway_id, data)

        # Subscribed first, then announced: at no instant is the gateway without an answer.
        subscription = await self._bus.respond(topics.gateway_down(gateway_id), answer, queue=QUEUE_GROUP)
        if self._paths.get(gateway_id) is not path:  # Lost meanwhile: half of its requests would end here.
            await self._unsubscribe(subscription)
            return
        path.subscription = subscription
        await self._bus.nudge(topics.gateway_claim(gateway_id), self._instance)
        log.info("path_opened", gw_eui=gateway_id.hex(), frontend=path.frontend)

    async def _answer(self, gateway_id: GatewayId, data: bytes) -> bytes:
        try:
            request = decode_request(data)
        except msgspec.MsgspecError as malformed:
            DATAGRAMS.labels("transmit_request", "malformed").inc()
            log.warning("transmit_request_malformed", gw_eui=gateway_id.hex(), error=str(malformed))
            return encode_transmit(TransmitReply("INTERNAL_ERROR", -1, 0, 0))
        return encode_transmit(await self._transmit(gateway_id, request))

    async def _claimed(self, subject: str, holder: bytes) -> None:
        if holder == self._instance:
            return
        try:
            gateway_id = GatewayId(bytes.fromhex(subject.split(".")[2]))
        except (IndexError, ValueError):
            return
        if len(gateway_id) == EUI_LENGTH and gateway_id in self._paths:
            log.info("path_given_up", gw_eui=gateway_id.hex(), holder=holder.decode(errors="replace"))
            await self.lost(gateway_id)

    async def _expire_all(self) -> None:
        while True:
            await asyncio.sleep(min(SWEEP_EVERY_S, self._expires_after_s))
            oldest = self._loop.time() - self._expires_after_s
            for gateway_id, path in list(self._paths.items()):
                if path.alive_at <= oldest:
                    log.warning("gateway_silent", gw_eui=gateway_id.hex(), frontend=path.frontend)
                    await self.lost(gateway_id)

    async def _unsubscribe(self, subscription: _Subscription) -> None:
        """Ask the bus for no more; a request that is on its way already still gets its answer."""
        try:
            async with asyncio.timeout(DRAIN_WITHIN_S):
                await subscription.drain()
        except BUS_AWAY as away:
            log.info("not_unsubscribed", error=describe(away))

    def _count(self) -> None:
        names = [path.frontend for path in self._paths.values()]
        for frontend in ("semtech_udp", "chirpstack_mqtt", "basics_station"):
            GATEWAYS_CONNECTED.labels(frontend).set(names.count(frontend))
