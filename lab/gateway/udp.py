"""A gateway that speaks Semtech UDP, as a Cisco or an older Kerlink does."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from lab.gateway import rxpk
from lab.gateway.gateway import Gateway
from lab.radio.clock import now_us
from lab.radio.transmission import Reception
from lorawan.gateway.semtech_forwarder import PullResp, parse_answer, pull_data, push_data, tx_ack
from lorawan.gateway.semtech_stat import Stat
from lorawan.gateway.semtech_udp import DatagramType, MalformedDatagram, TxPk, TxStatus
from lorawan.regions.region import Lora

PULL_EVERY_S = 2.0
REPORT_EVERY_PULLS = 15
# A forwarder takes at most this many packets from its concentrator at once.
PACKETS = 8
LARGEST_DATAGRAM = 2_048
ALTITUDE_M = 60
TX_STATUS = {
    "NONE": TxStatus.OK,
    "TOO_LATE": TxStatus.TOO_LATE,
    "TOO_EARLY": TxStatus.TOO_EARLY,
    "COLLISION_PACKET": TxStatus.COLLISION_PACKET,
}


@dataclass(slots=True)
class UdpGateway(Gateway):
    """One forwarder: PUSH_DATA for what it receives, PULL_DATA to be sent to, TX_ACK for what it was asked.

    `open` it, then either `run` it, or `read` its sockets and call `keep_paths_open`.
    """

    server: tuple[str, int] = ("127.0.0.1", 1700)
    pulls_from: tuple[str, int] | None = None
    """Where PULL_DATA goes when that is another server than `server`: then the gateway has two sockets."""
    pushed: int = 0
    acknowledged: int = 0
    forwarded: int = 0
    downlinks: int = 0
    _token: int = 0
    _clock: rxpk.Clock = field(default_factory=rxpk.Clock)
    _pushing: socket.socket | None = None
    _pulling: socket.socket | None = None

    def open(self) -> None:
        """Open the sockets."""
        self._pushing = self._pulling = _connected(self.server)
        if self.pulls_from is not None:
            self._pulling = _connected(self.pulls_from)

    def close(self) -> None:
        """Close the sockets."""
        for opened in (self._pushing, self._pulling):
            if opened is not None:
                opened.close()
        self._pushing = self._pulling = None

    def filenos(self) -> set[int]:
        """For a selector."""
        return {opened.fileno() for opened in (self._pushing, self._pulling) if opened is not None}

    def turn_to(self, server: tuple[str, int]) -> None:
        """From now on send to this server, as when a load balancer moves a gateway, which does not notice."""
        self.server = server
        if self._pushing is not None:
            self._pushing.connect(server)

    async def run(self) -> None:
        """Open the sockets, pull, report and answer, until cancelled."""
        loop = asyncio.get_running_loop()
        self.open()
        descriptors = self.filenos()
        for descriptor in descriptors:
            loop.add_reader(descriptor, self.read)
        try:
            await keep_paths_open([self])
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
            self.close()

    # --- To the server ------------------------------------------------------------------------------

    def _next_token(self) -> int:
        self._token = token = (self._token + 1) & 0xFFFF
        return token

    def forward(self, reception: Reception) -> bool:
        """Push the frame; there is no retransmission, as in the real forwarder."""
        if self._pushing is None:
            return False
        transmission = reception.transmission
        common = rxpk.common_part(
            self._clock.text(transmission.end_us + self.clock_error_us),
            rxpk.channel(transmission.frequency, transmission.spreading_factor),
            transmission.phy_payload,
        )
        with_signal = rxpk.signal(reception.snr, reception.rssi)
        self.push([rxpk.rxpk(self.counter(transmission.end_us), with_signal, common)])
        return True

    def push(self, rxpks: list[bytes]) -> None:
        """Send what was received, at most eight frames to a datagram."""
        for start in range(0, len(rxpks), PACKETS):
            _send(
                self._pushing, rxpk.push_data(self._next_token(), self.gateway_id, rxpks[start : start + PACKETS])
            )
            self.pushed += 1
        self.forwarded += len(rxpks)

    def pull(self) -> None:
        """Ask to be sent to."""
        _send(self._pulling, pull_data(self._next_token().to_bytes(2), self.gateway_id))

    def report(self, at_us: int) -> None:
        """Send a status."""
        stat = Stat(
            time_us=at_us,
            latitude=self.latitude,
            longitude=self.longitude,
            altitude=ALTITUDE_M,
            rx_received=self.forwarded,
            rx_ok=self.forwarded,
            rx_forwarded=self.forwarded,
            ack_ratio=round(min(100.0, 100 * self.acknowledged / max(1, self.pushed)), 1),
            tx_received=self.downlinks,
            tx_emitted=self.account.emitted,
        )
        _send(self._pushing, push_data(self._next_token().to_bytes(2), self.gateway_id, (), stat))
        self.pushed += 1

    # --- From the server ----------------------------------------------------------------------------

    def read(self) -> None:
        """Take the server's datagrams from the sockets."""
        if self._pushing is not None:
            self._read(self._pushing.recv)
        if self._pulling is not None and self._pulling is not self._pushing:
            self._read(self._pulling.recv)

    def _read(self, receive: Callable[[int], bytes]) -> None:
        while True:
            try:
                datagram = receive(LARGEST_DATAGRAM)
            except ConnectionRefusedError:  # Of an earlier datagram.
                continue
            except BlockingIOError:
                return
            kind = datagram[3] if len(datagram) > 3 else -1  # noqa: PLR2004 - Version, token, type.
            if kind == DatagramType.PUSH_ACK:
                self.acknowledged += 1
            elif kind == DatagramType.PULL_ACK:
                self.uptime.record_answer()
            else:
                self.answer_request(datagram)

    def answer_request(self, datagram: bytes) -> None:
        """A PULL_RESP; a real forwarder ignores what is none, too."""
        try:
            answer = parse_answer(datagram)
        except MalformedDatagram:
            return
        if not isinstance(answer, PullResp):
            return
        self.downlinks += 1
        word = self.transmit_txpk(answer.txpk)
        _send(self._pulling, tx_ack(answer.token, self.gateway_id, TX_STATUS[word]))

    def transmit_txpk(self, txpk: TxPk) -> str:
        """Queue what a PULL_RESP asks for; returns the TX_ACK's word."""
        if not isinstance(txpk.modulation, Lora):
            return "TOO_LATE"
        at_us = None if txpk.tmst is None else self.concentrator.instant(txpk.tmst, now_us())
        return self.transmit(txpk.phy_payload, txpk.frequency, txpk.modulation.spreading_factor, at_us=at_us)


async def keep_paths_open(gateways: Sequence[UdpGateway]) -> None:
    """PULL_DATA from every gateway every two seconds and a status every thirty, until cancelled."""
    pulls = 0
    while True:
        for gateway in gateways:
            gateway.pull()
            if pulls % REPORT_EVERY_PULLS == 0:
                gateway.report(now_us())
        pulls += 1
        await asyncio.sleep(PULL_EVERY_S)


def _connected(server: tuple[str, int]) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.connect(server)
    return opened


def _send(opened: socket.socket | None, datagram: bytes) -> None:
    if opened is None:
        return
    try:
        opened.send(datagram)
    except ConnectionRefusedError:
        # The kernel reports an earlier datagram, and has not sent this one: a forwarder does not care.
        with suppress(OSError):
            opened.send(datagram)
    except BlockingIOError:
        return  # No room in the kernel: lost, as on any network.
