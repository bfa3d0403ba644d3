"""The frontend for packet forwarders: Semtech UDP v2 on a real socket. The wire format is `lorawan.gateway`'s."""

import asyncio
import itertools
import os
import socket
from dataclasses import dataclass, replace
from typing import Any

import structlog

from core.messages.claims import Claim
from core.messages.frames import GatewayFrame
from core.model.identities import new_trace
from core.runtime.clock import wall_clock_us
from gateways.admission import NOT_OWN, Admission, Limits, SocketLock
from gateways.frontend import INTERNAL_ERROR, NO_ACK, TX_ACK_MARGIN_S, TX_ACK_TIMEOUT_S, ChosenTransmission
from gateways.gateway_activity import Activity
from gateways.gateway_times import RoundTrips, reception_time_us
from gateways.known_gateways import Gateways, LastSeen
from gateways.paths import EXPIRES_AFTER_S, Paths
from gateways.settings import FrontendSettings
from gateways.telemetry import DATAGRAMS, FRAMES, SOCKET_DROPS
from gateways.udp_socket import (
    Address,
    DatagramSocket,
    KeptSocket,
    bound_socket,
    grow_receive_buffer,
)
from lorawan.gateway.semtech_rxpk import RxPk
from lorawan.gateway.semtech_stat import Stat
from lorawan.gateway.semtech_udp import (
    DatagramType,
    MalformedDatagram,
    PullData,
    PushData,
    TxAck,
    TxPk,
    TxStatus,
    acknowledgement,
    datagram_type,
    gateway_id_of,
    parse_datagram,
    pull_resp,
)
from lorawan.identifiers import GatewayId
from lorawan.radiated_power import forwarder_power
from lorawan.regions import Fsk, Lora

NAME = "semtech_udp"
TOKENS = 1 << 16
MAX_ADDRESSES = 10_000
# A TX_ACK that comes after its request was given up still tells how far away its gateway has become.
LATE_TX_ACK_S = 10.0
# Where powers are in use they are at most 4 dB apart in such tables.
POWERS_TRIED = 5
DROPS_EVERY_S = 5.0
# No forwarder asks for downlinks less often, as they are shipped: whoever still sends here has spoken by then.
SILENT_S = 12.0
NOBODY = GatewayId(b"")

_PUSHED = DATAGRAMS.labels("push_data", "ok")
_PULLED = DATAGRAMS.labels("pull_data", "ok")
_NOT_OURS = DATAGRAMS.labels("unknown", "not_a_datagram")
_UNKNOWN_GATEWAY = FRAMES.labels("unknown_gateway")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A PULL_RESP whose TX_ACK is awaited, or was until not long ago."""

    asked_at: float
    answer: asyncio.Future[str]


class SemtechUdp:
    """Acknowledges before it parses: a late acknowledgement looks like a lost one to the forwarder."""

    name = NAME
    answers_at_once = True
    """TX_ACK means that the frame is in the forwarder's queue."""

    def __init__(
        self,
        settings: FrontendSettings,
        activity: Activity,
        gateways: Gateways,
        last_seen: LastSeen,
        paths: Paths,
        round_trips: RoundTrips,
    ) -> None:
        self._round_trips = round_trips
        self._limits = Limits(settings.udp_gateway_rate, settings.udp_address_rate)
        self._locks = SocketLock(settings.udp_address_lock_s)
        self._activity = activity
        self._registered = gateways
        self._sightings = last_seen
        self._paths = paths
        self._socket: DatagramSocket | None = None
        self._drops_counted = 0
        # Only the source of a gateway's newest PULL_DATA is its downlink path.
        self._addresses: dict[GatewayId, tuple[Address, float]] = {}
        self._asked: dict[tuple[GatewayId, bytes], _Asked] = {}
        self._powers: dict[
            tuple[GatewayId, int], int
        ] = {}  # What to ask for in place of a power that was refused.
        self._tokens = itertools.count(int.from_bytes(os.urandom(2)))
        self._loop = asyncio.get_running_loop()
        self._heard_at = -SILENT_S

    @property
    def is_open(self) -> bool:
        """Whether datagrams are received."""
        return self._socket is not None and self._socket.is_open

    async def open(self, host: str, port: int, receive_buffer: int, handed: KeptSocket | None = None) -> int:
        """Read the socket that was handed over, else bind one; returns its port.

        Raises:
            OSError: the port is taken, or the host is not ours.
        """
        bound = await self._bound(host, port) if handed is None else handed.socket
        granted = grow_receive_buffer(bound, receive_buffer)
        if granted < receive_buffer:
            log.warning("receive_buffer_small", wanted=receive_buffer, granted=granted, hint="net.core.rmem_max")
        self._drops_counted = 0 if handed is None else handed.dropped
        self._socket = DatagramSocket(bound, self._received, self._failed, has_waiting=handed is not None)
        bound_port = bound.getsockname()[1]
        log.info("udp_listening", host=host, port=bound_port, receive_buffer=granted, is_handed=handed is not None)
        return bound_port

    async def _bound(self, host: str, port: int) -> socket.socket:
        family, _, _, _, address = (
            await self._loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        )[0]
        return bound_socket(family, address)

    async def read_on(self, at_most_s: float) -> None:
        """Return once no datagram has come for a while."""
        ends_at = self._loop.time() + at_most_s
        while True:
            left_s = min(self._heard_at + SILENT_S, ends_at) - self._loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)

    def close(self) -> None:
        """Receive no more."""
        if self._socket is not None:
            self._socket.close()

    def _failed(self, failed: OSError) -> None:
        """The kernel has no room, or reports what became of an earlier datagram."""
        DATAGRAMS.labels("unknown", "socket_error").inc()
        log.debug("udp_error", error=str(failed))

    def _received(self, data: bytes, addr: Address, waited_us: int) -> None:
        """Whatever comes; nothing that comes may raise. It came when the kernel had it, also by its budget."""
        received_at_us = wall_clock_us() - waited_us
        self._heard_at = came_at = self._loop.time() - waited_us / 1e6
        kind = datagram_type(data)
        gateway_id = NOBODY if kind is None else gateway_id_of(data)
        admission = self._admit(kind, gateway_id, addr, came_at)
        if not self._may_send(kind, gateway_id, addr, admission, came_at):
            return
        answer = acknowledgement(data)
        if answer is not None and self._socket is not None:
            self._socket.send(answer, addr)
        if kind is None:
            _NOT_OURS.inc()
            return
        if admission.holder is not None:
            DATAGRAMS.labels(kind.name.lower(), "address_locked").inc()
            self._sightings.reject_address(gateway_id, NAME, admission.holder, addr[0])
            return
        try:
            datagram = parse_datagram(data)
        except MalformedDatagram as malformed:
            DATAGRAMS.labels(kind.name.lower(), "malformed").inc()
            log.debug("datagram_malformed", error=str(malformed), address=addr[0])
            return
        match datagram:
            case PushData():
                self._pushed(datagram, addr, received_at_us)
            case PullData(gateway_id=gateway_id):
                self._pulled(gateway_id, addr)
            case TxAck():
                self._answered(datagram)

    def _admit(self, kind: DatagramType | None, gateway_id: GatewayId, addr: Address, came_at: float) -> Admission:
        """Whether a registered gateway may speak from this socket; for others the rate alone decides."""
        if kind is None or gateway_id not in self._registered:
            return NOT_OWN
        if kind is DatagramType.PULL_DATA:
            owner = self._paths.owner_against(gateway_id, _claim(addr))
        else:
            owner = self._paths.owner_elsewhere(gateway_id, NAME)
        if owner is not None:
            return Admission(holder=owner.address)
        return self._locks.admit(gateway_id, kind, (addr[0], addr[1]), came_at)

    def _may_send(
        self,
        kind: DatagramType | None,
        gateway_id: GatewayId,
        addr: Address,
        admission: Admission,
        came_at: float,
    ) -> bool:
        """Whether the datagram is within the budget of its gateway, or of a socket that is no gateway's."""
        is_ours, limits = admission.is_own, self._limits
        if limits.of_gateway(gateway_id, came_at) if is_ours else limits.of_address((addr[0], addr[1]), came_at):
            return True
        DATAGRAMS.labels("unknown" if kind is None else kind.name.lower(), "rate_limited").inc()
        if is_ours:
            self._activity.count_activity(gateway_id, limited=1)
        return False

    def _pushed(self, datagram: PushData, addr: Address, received_at_us: int) -> None:
        stats = None if datagram.stat is None else stats_of(datagram.stat)
        # Its two sockets may have an address each; that of its downlink path is shown.
        path = self._addresses.get(datagram.gateway_id)
        known = self._sightings.record_seen(
            datagram.gateway_id, NAME, addr[0] if path is None else path[0][0], stats
        )
        if datagram.rejected or stats:
            self._supervise(datagram)
        for rejected in datagram.rejected:
            FRAMES.labels(f"rejected_{rejected.reason}").inc()
        if not known:
            DATAGRAMS.labels("push_data", "unknown_gateway").inc()
            _UNKNOWN_GATEWAY.inc(len(datagram.rxpks))
            return
        if datagram.damaged:
            DATAGRAMS.labels("push_data", "damaged").inc()
        else:
            _PUSHED.inc()
        round_trip_us = self._round_trips.of(datagram.gateway_id) or 0
        for rxpk in datagram.rxpks:
            for frame in frames_of(rxpk, datagram.gateway_id, received_at_us, round_trip_us):
                self._activity.submit_frame(frame)

    def _supervise(self, datagram: PushData) -> None:
        stat = datagram.stat
        received, received_ok = (None, None) if stat is None else (stat.rx_received, stat.rx_ok)
        self._activity.count_activity(
            datagram.gateway_id,
            rejected=len(datagram.rejected),
            received=received or 0,
            received_ok=(received or 0) if received_ok is None else received_ok,
        )

    def _pulled(self, gateway_id: GatewayId, addr: Address) -> None:
        known = self._sightings.record_seen(gateway_id, NAME, addr[0])
        former = self._addresses.get(gateway_id)
        if former is None and len(self._addresses) >= MAX_ADDRESSES and not known:
            DATAGRAMS.labels("pull_data", "too_many_gateways").inc()
            return
        self._addresses[gateway_id] = (addr, self._loop.time())
        if not known:
            DATAGRAMS.labels("pull_data", "unknown_gateway").inc()
            return
        _PULLED.inc()
        self._paths.alive(gateway_id, _claim(addr))

    def registered(self, gateway_ids: set[bytes]) -> None:
        """Gateways that are ours from now on: their path need not wait for the next PULL_DATA."""
        self._limits.keep_only(gateway_ids)
        self._locks.keep_only(gateway_ids)
        self._round_trips.keep_only(gateway_ids)
        self._powers.clear()  # A gateway may have been set up anew.
        oldest = self._loop.time() - EXPIRES_AFTER_S
        for gateway_id, (addr, pulled_at) in self._addresses.items():
            if gateway_id in gateway_ids and pulled_at > oldest:
                self._paths.alive(gateway_id, _claim(addr))

    def expire(self) -> None:
        """Forget addresses from which no PULL_DATA has come for long."""
        oldest = self._loop.time() - EXPIRES_AFTER_S
        self._addresses = {key: value for key, value in self._addresses.items() if value[1] > oldest}

    def _answered(self, ack: TxAck) -> None:
        asked = self._asked.pop((ack.gateway_id, ack.token), None)
        if asked is None:
            DATAGRAMS.labels("tx_ack", "unexpected").inc()
            return
        if asked.answer.done():
            DATAGRAMS.labels("tx_ack", "late").inc()
            elapsed_s = self._loop.time() - asked.asked_at
            self._round_trips.record_sample(ack.gateway_id, round(elapsed_s * 1e6))
            log.warning("tx_ack_late", gw_eui=ack.gateway_id.hex(), status=ack.status, after_s=round(elapsed_s, 3))
            return
        DATAGRAMS.labels("tx_ack", ack.status.lower()).inc()
        if ack.warning:
            log.warning("gateway_warned", gw_eui=ack.gateway_id.hex(), warning=ack.warning)
        asked.answer.set_result(ack.status.value)

    async def transmit(self, radio_request: ChosenTransmission) -> str:
        """Asks with the highest power that the forwarder has: version 4 refuses one that its table lacks."""
        gateway, key = (
            self._registered.get(radio_request.gateway_id),
            (radio_request.gateway_id, radio_request.power),
        )
        first = radio_request.power
        if gateway is not None:
            first = forwarder_power(first, gateway.antenna_gain, gateway.gain_subtracted_by)
        status = TxStatus.TX_POWER.value
        for power in range(self._powers.get(key, first), first - POWERS_TRIED, -1):
            status = await self._request(replace(radio_request, power=power))
            if status != TxStatus.TX_POWER.value:
                return status
            self._powers[key] = power - 1  # At once: over a slow link the next request may be the next answer.
        del self._powers[key]
        return status

    async def _request(self, radio_request: ChosenTransmission) -> str:
        """PULL_RESP, and the TX_ACK with its token; a forwarder that cannot read it says nothing at all."""
        txpk = txpk_of(radio_request)
        address = self._addresses.get(radio_request.gateway_id)
        if txpk is None or address is None or self._socket is None or not self._socket.is_open:
            return INTERNAL_ERROR
        token = self._free_token(radio_request.gateway_id)
        try:
            datagram = pull_resp(token, txpk)
        except ValueError as unfit:
            log.warning("downlink_not_sent", gw_eui=radio_request.gateway_id.hex(), error=str(unfit))
            return INTERNAL_ERROR
        if not self._socket.send(datagram, address[0]):
            return INTERNAL_ERROR
        key, answer = (radio_request.gateway_id, token), self._loop.create_future()
        asked = self._asked[key] = _Asked(self._loop.time(), answer)
        try:
            async with asyncio.timeout(self._patience_s(radio_request)):
                return await answer
        except TimeoutError:
            self._loop.call_later(LATE_TX_ACK_S, self._forget_asked, key, asked)
            return NO_ACK
        except asyncio.CancelledError:
            self._forget_asked(key, asked)
            raise

    def _patience_s(self, radio_request: ChosenTransmission) -> float:
        """How long a TX_ACK is waited for; less for a gateway that is known to answer, when a window waits."""
        round_trip_us = self._round_trips.of(radio_request.gateway_id)
        if radio_request.transmission.immediate or round_trip_us is None:
            return TX_ACK_TIMEOUT_S
        return min(TX_ACK_TIMEOUT_S, round_trip_us / 1e6 + TX_ACK_MARGIN_S)

    def _forget_asked(self, key: tuple[GatewayId, bytes], asked: _Asked) -> None:
        if self._asked.get(key) is asked:
            del self._asked[key]

    def _free_token(self, gateway_id: GatewayId) -> bytes:
        while True:
            token = (next(self._tokens) % TOKENS).to_bytes(2)
            if (gateway_id, token) not in self._asked:
                return token

    async def watch_drops(self) -> None:
        """Count what the kernel dropped from our socket, until cancelled."""
        while self._socket is not None and self._socket.is_open:
            dropped = self._socket.dropped()
            SOCKET_DROPS.inc(max(0, dropped - self._drops_counted))
            self._drops_counted = dropped
            self.expire()
            await asyncio.sleep(DROPS_EVERY_S)


def _claim(addr: Address) -> Claim:
    """Who pulls from this socket; Semtech UDP proves nothing."""
    return Claim(NAME, addr[0], port=addr[1])


TMST_RANGE = 1 << 32
TMST_LENGTH = 4


def frames_of(
    rxpk: RxPk, gateway_id: GatewayId, received_at_us: int, round_trip_us: int = 0
) -> list[GatewayFrame]:
    """The receptions in one rxpk: one, or one per antenna."""
    modulation = rxpk.modulation
    tmst = rxpk.tmst
    context = b"" if tmst is None else tmst.to_bytes(TMST_LENGTH, "big")
    time_us = reception_time_us(received_at_us, gps_time_us=rxpk.gps_time_us, gateway_time_us=rxpk.time_us)
    lora = modulation if isinstance(modulation, Lora) else Lora(0, 0)
    trace_id = new_trace()
    return [
        GatewayFrame(
            phy_payload=rxpk.phy_payload,
            gateway_id=gateway_id,
            time_us=time_us,
            received_at_us=received_at_us,
            context=context,
            frequency=rxpk.frequency,
            spreading_factor=lora.spreading_factor,
            bandwidth=lora.bandwidth,
            bit_rate=modulation.bit_rate if isinstance(modulation, Fsk) else 0,
            rssi=antenna.rssi,
            snr=antenna.snr,
            channel=antenna.channel,
            antenna=antenna.antenna,
            round_trip_us=round_trip_us,
            trace_id=trace_id,
        )
        for antenna in rxpk.antennas or (rxpk,)
    ]


def stats_of(stat: Stat) -> dict[str, Any]:
    """A status as `gateway_state.stats` keeps it, under the protocol's own names."""
    stats = {
        "rxnb": stat.rx_received,
        "rxok": stat.rx_ok,
        "rxfw": stat.rx_forwarded,
        "ackr": stat.ack_ratio,
        "dwnb": stat.tx_received,
        "txnb": stat.tx_emitted,
        "temp": stat.temperature,
        "latitude": stat.latitude,
        "longitude": stat.longitude,
    }
    return {name: value for name, value in stats.items() if value is not None}


def txpk_of(radio_request: ChosenTransmission) -> TxPk | None:
    """What a forwarder is asked for; None when there is no counter to be on time by."""
    transmission = radio_request.transmission
    if transmission.immediate:
        tmst = None
    elif len(radio_request.context) == TMST_LENGTH:
        tmst = (int.from_bytes(radio_request.context) + transmission.delay_us) % TMST_RANGE
    else:
        return None
    modulation = Lora(transmission.spreading_factor, transmission.bandwidth)
    return TxPk(transmission.phy_payload, transmission.frequency, modulation, radio_request.power, tmst)
