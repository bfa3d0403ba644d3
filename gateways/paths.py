"""Downlink paths of this replica, and who owns each gateway: one claim, across frontends and replicas."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog

from core.messages import topics
from core.messages.claims import Claim, ClaimReply, decode_claim, decode_claim_reply, encode_claim
from core.messages.downlinks import TransmitReply, TransmitRequest, decode_request, encode_transmit
from core.runtime.bus import BUS_AWAY, Bus, NoResponders
from core.runtime.errors import describe
from gateways.telemetry import DATAGRAMS, GATEWAYS_CONNECTED
from lorawan.identifiers import EUI_LENGTH, GatewayId

QUEUE_GROUP = "gateway_bridge"
EXPIRES_AFTER_S = 75.0
# Of a gateway that said goodbye or whose connection ended: longer than it takes to start anew.
PINNED_AFTER_END_S = 30.0
# The holder is asked again so soon whether it still has a gateway.
ASKED_AGAIN_S = 10.0
# A holder that does not answer so soon is no longer there, whatever the bus still believes.
ANSWERS_WITHIN_S = 2.0
SWEEP_EVERY_S = 5.0
RETRY_S = 1.0
OPENED_AT_ONCE = 16
DRAIN_WITHIN_S = 2.0

log = structlog.get_logger()

Transmit = Callable[[GatewayId, TransmitRequest], Awaitable[TransmitReply]]
Lost = Callable[[GatewayId], None]
Rejected = Callable[[GatewayId, Claim, Claim], None]
NeedsProof = Callable[[GatewayId], bool]


def _never(_gateway_id: GatewayId) -> bool:
    return False


class _Subscription(Protocol):
    async def drain(self) -> None: ...


@dataclass(slots=True)
class _Path:
    claim: Claim
    alive_at: float
    subscription: _Subscription | None = None
    is_opening: bool = False


@dataclass(frozen=True, slots=True)
class _Pin:
    """The owner of a gateway, whose path may be here or at another replica; until then it is known to live."""

    owner: Claim
    until: float


class Paths:
    """Opened by a gateway's sign of life, closed when it falls silent or another replica claims it.

    What speaks in a gateway's name is a claim. While the owner is alive, it is replaced only by a claim that has
    proved to be the gateway's, or that comes from where the owner does (`Claim.may_replace`).
    """

    def __init__(
        self,
        bus: Bus,
        instance: str,
        transmit: Transmit,
        *,
        expires_after_s: float = EXPIRES_AFTER_S,
        silences: Mapping[str, float] | None = None,
        needs_proof: NeedsProof | None = None,
    ) -> None:
        """`silences` has the frontends whose owners are given up sooner than their paths, in seconds.

        `needs_proof` says whether a gateway has shown a credential before: then nothing else is believed.
        """
        self._bus = bus
        self._instance = instance.encode()
        self._transmit = transmit
        self._expires_after_s = expires_after_s
        self._silences = silences or {}
        self._needs_proof = needs_proof or _never
        self._paths: dict[GatewayId, _Path] = {}
        self._pins: dict[GatewayId, _Pin] = {}
        self._answering: dict[GatewayId, _Subscription] = {}
        """Other replicas ask here before they claim."""
        self._to_open: asyncio.Queue[GatewayId] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._on_lost: Lost | None = None
        self._on_rejected: Rejected | None = None

    def frontend_of(self, gateway_id: GatewayId) -> str | None:
        """The name of the frontend through which a gateway can be reached now."""
        path = self._paths.get(gateway_id)
        return None if path is None else path.claim.frontend

    def held(self) -> set[GatewayId]:
        """The gateways whose path is this replica's."""
        return set(self._paths)

    def owner_of(self, gateway_id: GatewayId) -> Claim | None:
        """Who spoke last in the gateway's name and was believed, as far as it is still known."""
        pin = self._pins.get(gateway_id)
        return None if pin is None else pin.owner

    def owner_against(self, gateway_id: GatewayId, claim: Claim) -> Claim | None:
        """The owner for whose sake a claim is rejected; None when it may pass."""
        pin = self._pins.get(gateway_id)
        if not claim.is_proved and self._needs_proof(gateway_id):
            return Claim(claim.frontend, "", is_proved=True) if pin is None else pin.owner
        if pin is None or claim.may_replace(pin.owner) or self._loop.time() >= pin.until:
            return None
        return pin.owner

    def owner_elsewhere(self, gateway_id: GatewayId, frontend: str) -> Claim | None:
        """The owner for whose sake `frontend` is rejected, wherever it is spoken from."""
        pin = self._pins.get(gateway_id)
        is_theirs = pin is not None and pin.owner.frontend == frontend
        return self.owner_against(gateway_id, pin.owner if pin is not None and is_theirs else Claim(frontend, ""))

    def remember(self, owners: Iterable[tuple[GatewayId, Claim]]) -> None:
        """Pin gateways to where they were when the former process of this replica saw them last."""
        now = self._loop.time()
        for gateway_id, owner in owners:
            self._pins.setdefault(gateway_id, _Pin(owner, now + self._silence_s(owner)))

    def alive(self, gateway_id: GatewayId, claim: Claim, *, is_certain: bool = True) -> Claim | None:
        """A sign of life on the downlink path opens it or keeps it open; the owner that forbids it, or None.

        One that is not certain to be new opens a path, takes none over, and pins nothing.
        """
        owner = self.owner_against(gateway_id, claim)
        if owner is not None:
            return owner
        now, path = self._loop.time(), self._paths.get(gateway_id)
        if not is_certain and path is not None:
            return None
        self._pins[gateway_id] = _Pin(claim, now + (self._silence_s(claim) if is_certain else 0.0))
        if path is None:
            self._paths[gateway_id] = _Path(claim, now)
            self._to_open.put_nowait(gateway_id)
            self._count()
        else:  # By another protocol, maybe: the subscription stays.
            is_moved, path.claim, path.alive_at = path.claim.frontend != claim.frontend, claim, now
            if is_moved:
                self._count()
        return None

    def lost_soon(self, gateway_id: GatewayId) -> None:
        """The gateway announced its end: the next sweep closes its path unless it is back by then."""
        path, now = self._paths.get(gateway_id), self._loop.time()
        if path is not None:
            path.alive_at = now - self._expires_after_s
            silence_s = min(PINNED_AFTER_END_S, self._silence_s(path.claim))
            self._pins[gateway_id] = _Pin(path.claim, now + silence_s)

    async def lost(self, gateway_id: GatewayId) -> None:
        """The gateway is gone, or another replica has it: stop answering requests for it."""
        path = self._paths.pop(gateway_id, None)
        if path is None:
            return
        self._count()
        if self._on_lost is not None:
            self._on_lost(gateway_id)
        if path.subscription is not None:
            await self._unsubscribe(path.subscription)

    async def run(self, on_lost: Lost, on_rejected: Rejected) -> None:
        """Open, give up and expire paths until cancelled, then give all up; each loss calls `on_lost`.

        `on_rejected` is called with the gateway, the claim and the owner when another replica holds on to it.
        """
        self._on_lost, self._on_rejected = on_lost, on_rejected
        claims = await self._bus.subscribe(topics.GATEWAY_CLAIMS, self._claimed)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(OPENED_AT_ONCE):  # One holder that does not answer keeps nobody else waiting.
                    tasks.create_task(self._open_all(), name="open downlink paths")
                tasks.create_task(self._expire_all(), name="expire downlink paths")
        finally:
            await self._unsubscribe(claims)
            await asyncio.gather(*map(self.lost, list(self._paths)), *map(self._let_go, list(self._answering)))

    def _silence_s(self, claim: Claim) -> float:
        return self._silences.get(claim.frontend, self._expires_after_s)

    async def _open_all(self) -> None:
        while True:
            gateway_id = await self._to_open.get()
            path = self._paths.get(gateway_id)
            if path is None or path.subscription is not None or path.is_opening:
                continue
            path.is_opening = True
            try:
                await self._open(gateway_id, path)
            except BUS_AWAY as away:
                log.warning("path_not_opened", gw_eui=gateway_id.hex(), error=describe(away))
                self._to_open.put_nowait(gateway_id)
                path.is_opening = False
                await asyncio.sleep(RETRY_S)
            path.is_opening = False

    async def _open(self, gateway_id: GatewayId, path: _Path) -> None:
        refusal = await self._ask_holder(gateway_id, path.claim)
        if self._paths.get(gateway_id) is not path:
            return
        if refusal.owner is not None and not path.claim.may_replace(refusal.owner):
            self._give_way(gateway_id, path.claim, refusal.owner, refusal.alive_for_s)
            return

        async def answer(data: bytes) -> bytes:
            return await self._answer(gateway_id, data)

        async def answer_claim(data: bytes) -> bytes:
            return self._answer_claim(gateway_id, data)

        # Subscribed first, then announced: at no instant is the gateway without an answer.
        subscription = await self._bus.respond(topics.gateway_down(gateway_id), answer, queue=QUEUE_GROUP)
        if self._paths.get(gateway_id) is not path:  # Lost meanwhile: half of its requests would end here.
            await self._unsubscribe(subscription)
            return
        path.subscription = subscription
        if gateway_id not in self._answering:
            self._answering[gateway_id] = await self._bus.respond(topics.gateway_owner(gateway_id), answer_claim)
        await self._bus.nudge(topics.gateway_claim(gateway_id), self._instance)
        log.info("path_opened", gw_eui=gateway_id.hex(), frontend=path.claim.frontend)

    async def _ask_holder(self, gateway_id: GatewayId, claim: Claim) -> ClaimReply:
        if gateway_id in self._answering:  # It is ours already.
            return ClaimReply()
        try:
            return decode_claim_reply(
                await self._bus.request(topics.gateway_owner(gateway_id), encode_claim(claim), ANSWERS_WITHIN_S)
            )
        except NoResponders:
            return ClaimReply()
        except TimeoutError:
            log.warning("path_holder_silent", gw_eui=gateway_id.hex())
            return ClaimReply()
        except msgspec.MsgspecError as malformed:
            log.warning("claim_reply_malformed", gw_eui=gateway_id.hex(), error=str(malformed))
            return ClaimReply()

    def _give_way(self, gateway_id: GatewayId, claim: Claim, owner: Claim, alive_for_s: float) -> None:
        """Another replica holds on to its gateway: what speaks here in its name is a stranger."""
        del self._paths[gateway_id]
        self._pins[gateway_id] = _Pin(owner, self._loop.time() + min(alive_for_s, ASKED_AGAIN_S))
        self._count()
        log.warning("claim_rejected", gw_eui=gateway_id.hex(), frontend=claim.frontend, address=claim.address)
        if self._on_rejected is not None:
            self._on_rejected(gateway_id, claim, owner)

    def _answer_claim(self, gateway_id: GatewayId, data: bytes) -> bytes:
        try:
            claim = decode_claim(data)
        except msgspec.MsgspecError:
            return encode_claim(ClaimReply())
        pin, now = self._pins.get(gateway_id), self._loop.time()
        if pin is None or now >= pin.until or claim.may_replace(pin.owner):
            return encode_claim(ClaimReply())
        return encode_claim(ClaimReply(pin.owner, pin.until - now))

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
        if len(gateway_id) != EUI_LENGTH:
            return
        await self._let_go(gateway_id)
        if gateway_id in self._paths:
            log.info("path_given_up", gw_eui=gateway_id.hex(), holder=holder.decode(errors="replace"))
            await self.lost(gateway_id)

    async def _let_go(self, gateway_id: GatewayId) -> None:
        """Answer no more for the gateway when another replica asks who owns it."""
        answering = self._answering.pop(gateway_id, None)
        if answering is not None:
            await self._unsubscribe(answering)

    async def _expire_all(self) -> None:
        while True:
            await asyncio.sleep(min(SWEEP_EVERY_S, self._expires_after_s))
            now = self._loop.time()
            for gateway_id, path in list(self._paths.items()):
                if path.alive_at <= now - self._expires_after_s:
                    log.warning("gateway_silent", gw_eui=gateway_id.hex(), frontend=path.claim.frontend)
                    await self.lost(gateway_id)
            for gateway_id in [known for known, pin in self._pins.items() if pin.until <= now]:
                if gateway_id not in self._paths:
                    del self._pins[gateway_id]
                    await self._let_go(gateway_id)

    async def _unsubscribe(self, subscription: _Subscription) -> None:
        """Ask the bus for no more; a request that is on its way already still gets its answer."""
        try:
            async with asyncio.timeout(DRAIN_WITHIN_S):
                await subscription.drain()
        except BUS_AWAY as away:
            log.info("not_unsubscribed", error=describe(away))

    def _count(self) -> None:
        names = [path.claim.frontend for path in self._paths.values()]
        for frontend in ("semtech_udp", "chirpstack_mqtt", "basics_station"):
            GATEWAYS_CONNECTED.labels(frontend).set(names.count(frontend))
