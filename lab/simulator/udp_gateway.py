"""A gateway that speaks Semtech UDP, as a Cisco or an older Kerlink does."""

import asyncio
from dataclasses import dataclass, field

from lab.simulator.gateway import GatewayBase
from lab.simulator.radio import BANDWIDTH, Copy
from lab.simulator.sensors import now_us
from lorawan.gateway.semtech_forwarder import (
    PullAck,
    PullResp,
    PushAck,
    parse_answer,
    pull_data,
    push_data,
    tx_ack,
)
from lorawan.gateway.semtech_rxpk import RxPk
from lorawan.gateway.semtech_stat import Stat
from lorawan.gateway.semtech_udp import MalformedDatagram, TxPk, TxStatus
from lorawan.identifiers import GatewayId
from lorawan.regions.region import Lora

PULL_EVERY_S = 2.0
STAT_EVERY_S = 10.0
TX_STATUS = {
    "NONE": TxStatus.OK,
    "TOO_LATE": TxStatus.TOO_LATE,
    "TOO_EARLY": TxStatus.TOO_EARLY,
    "COLLISION_PACKET": TxStatus.COLLISION_PACKET,
}


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, gateway: "UdpGateway") -> None:
        self._gateway = gateway

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002 - As asyncio calls it.
        self._gateway.on_datagram(data)

    def error_received(self, exc: Exception) -> None:
        """The server's port is closed for a moment: a forwarder does not care."""


@dataclass(slots=True)
class UdpGateway(GatewayBase):
    """One forwarder: PUSH_DATA for what it hears, PULL_DATA to be spoken to, TX_ACK for what it was asked."""

    server: tuple[str, int] = ("127.0.0.1", 1700)
    acknowledged: int = 0
    pushed: int = 0
    _transport: asyncio.DatagramTransport | None = None
    _token: int = field(default=0)

    def _next_token(self) -> bytes:
        self._token = (self._token + 1) & 0xFFFF
        return self._token.to_bytes(2, "big")

    def _send(self, datagram: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(datagram)

    def forward(self, copy: Copy) -> bool:
        """Push the frame; there is no retransmission, as in the real forwarder."""
        if self._transport is None:
            return False
        emission = copy.emission
        rxpk = RxPk(
            phy_payload=emission.phy_payload,
            tmst=self.radio.concentrator.counter(emission.end_us),
            frequency=emission.frequency,
            modulation=Lora(emission.spreading_factor, BANDWIDTH),
            rssi=round(copy.rssi),
            snr=copy.snr,
            coding_rate="4/5",
            time_us=emission.end_us + self.clock_error_us,
            gps_time_us=None,
        )
        self._send(push_data(self._next_token(), GatewayId(self.gateway_id), [rxpk]))
        self.pushed += 1
        return True

    def on_datagram(self, datagram: bytes) -> None:
        """Take an answer or a request of the server."""
        try:
            answer = parse_answer(datagram)
        except MalformedDatagram:
            return  # The real forwarder says nothing either.
        match answer:
            case PushAck():
                self.acknowledged += 1
            case PullAck():
                self.uptime.note()
            case PullResp(token=token, txpk=txpk):
                self._send(tx_ack(token, GatewayId(self.gateway_id), TX_STATUS[self._transmit(txpk)]))

    def _transmit(self, txpk: TxPk) -> str:
        if not isinstance(txpk.modulation, Lora):
            return "TOO_LATE"
        at_us = None if txpk.tmst is None else self.radio.concentrator.instant(txpk.tmst, now_us())
        return self.radio.transmit(txpk.phy_payload, txpk.frequency, txpk.modulation.spreading_factor, at_us=at_us)

    async def run(self) -> None:
        """Open the socket, pull and report, until cancelled."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Socket(self), remote_addr=self.server)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pull(), name=f"pull {self.name}")
                tasks.create_task(self._report(), name=f"stat {self.name}")
        finally:
            self._transport.close()

    async def _pull(self) -> None:
        while True:
            self._send(pull_data(self._next_token(), GatewayId(self.gateway_id)))
            await asyncio.sleep(PULL_EVERY_S)

    async def _report(self) -> None:
        while True:
            ratio = 100.0 if not self.pushed else min(100.0, round(100 * self.acknowledged / self.pushed, 1))
            stat = Stat(
                time_us=now_us(),
                latitude=self.latitude,
                longitude=self.longitude,
                altitude=60,
                rx_received=self.received,
                rx_ok=self.received,
                rx_forwarded=self.pushed,
                ack_ratio=ratio,
                tx_received=self.account.emitted,
                tx_emitted=self.account.emitted,
            )
            self._send(push_data(self._next_token(), GatewayId(self.gateway_id), [], stat))
            await asyncio.sleep(STAT_EVERY_S)
