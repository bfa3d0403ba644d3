"""A gateway of a load: a real UDP socket that is written to and read from, and a concentrator."""

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from lab.load import frames
from lab.load.device import LoadDevice
from lab.simulator.concentrator import Concentrator, RadioAccount
from lab.simulator.device import JOIN_DELAYS_US, JOIN_RX2_SPREADING_FACTOR, RX2_FREQUENCY
from lab.simulator.gateway import Uptime
from lab.simulator.radio import BANDWIDTH
from lab.simulator.sensors import now_us
from lab.simulator.transmission import Emission, Window
from lab.simulator.udp_gateway import TX_STATUS
from lorawan.airtime import lora_airtime_us
from lorawan.gateway.semtech_forwarder import PullResp, parse_answer, pull_data, push_data, tx_ack
from lorawan.gateway.semtech_stat import Stat
from lorawan.gateway.semtech_udp import MalformedDatagram, TxPk
from lorawan.identifiers import GatewayId
from lorawan.regions.region import Lora

PACKETS = 8
"""A forwarder takes at most this many from its concentrator at once."""
LARGEST = 2_048
_PUSH_ACK, _PULL_ACK = 1, 4


@dataclass(slots=True)
class JoinAsked:
    """A join-request that this gateway heard, until its answer or the end of its windows."""

    device: LoadDevice
    dev_nonce: int
    at_us: int
    windows: tuple[Window, Window]


@dataclass(slots=True)
class LoadGateway:
    """One forwarder; `emitted(gateway, emission)`, when set, is told of what it is going to have on the air."""

    gateway_id: GatewayId
    server: tuple[str, int]
    counter_offset: int
    signals: tuple[bytes, ...]
    emitted: Callable[["LoadGateway", Emission], None] | None = None
    uptime: Uptime = field(default_factory=Uptime)
    asked: list[JoinAsked] = field(default_factory=list[JoinAsked])
    waiting: list[LoadDevice] = field(default_factory=list[LoadDevice])
    """Devices whose uplink is in the concentrator at the next poll."""
    copies: list[tuple[bytes, int]] = field(default_factory=list[tuple[bytes, int]])
    """What `frames.heard` wrote of uplinks that are another gateway's to look after, and when they ended."""
    pushed: int = 0
    acknowledged: int = 0
    downlinks: int = 0
    forwarded: int = 0
    account: RadioAccount = field(default_factory=RadioAccount)
    pulls_from: tuple[str, int] | None = None
    """Where PULL_DATA goes when that is another server than `server`: then the gateway has two sockets."""
    _token: int = 0
    _transmits_until_us: int = 0
    _concentrator: Concentrator = field(init=False)
    _socket: socket.socket = field(init=False)
    _pulling: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._concentrator = Concentrator(self.account, self.counter_offset)
        self._socket = self._pulling = _connected(self.server)
        if self.pulls_from is not None:
            self._pulling = _connected(self.pulls_from)

    def filenos(self) -> set[int]:
        """For a selector."""
        return {self._socket.fileno(), self._pulling.fileno()}

    def turn_to(self, server: tuple[str, int]) -> None:
        """What is in front of the servers sends this gateway, which notices nothing, to this one from now on."""
        self.server = server
        self._socket.connect(server)

    def close(self) -> None:
        """Close the sockets."""
        self._socket.close()
        self._pulling.close()

    def counter(self, at_us: int) -> int:
        """The concentrator's 32-bit microsecond counter at an instant."""
        return (at_us + self.counter_offset) & frames.COUNTER_MASK

    def hears(self, start_us: int, end_us: int) -> bool:
        """Whether the radio listens all the time that an uplink is on the air."""
        if start_us >= self._transmits_until_us or not self._concentrator.is_transmitting(start_us, end_us):
            return True
        self.account.deaf += 1
        return False

    def _next_token(self) -> int:
        self._token += 1
        return self._token

    def push(self, rxpks: list[bytes]) -> None:
        """Send what was heard, at most eight frames to a datagram."""
        for start in range(0, len(rxpks), PACKETS):
            _send(
                self._socket, frames.push_data(self._next_token(), self.gateway_id, rxpks[start : start + PACKETS])
            )
            self.pushed += 1
        self.forwarded += len(rxpks)

    def pull(self) -> None:
        """Ask to be spoken to."""
        _send(self._pulling, pull_data((self._next_token() & 0xFFFF).to_bytes(2), self.gateway_id))

    def report(self, at_us: int) -> None:
        """Send a status."""
        stat = Stat(
            time_us=at_us,
            rx_received=self.forwarded,
            rx_ok=self.forwarded,
            rx_forwarded=self.forwarded,
            ack_ratio=round(min(100.0, 100 * self.acknowledged / max(1, self.pushed)), 1),
            tx_received=self.downlinks,
            tx_emitted=self.account.emitted,
        )
        _send(self._socket, push_data((self._next_token() & 0xFFFF).to_bytes(2), self.gateway_id, (), stat))
        self.pushed += 1

    def ask_to_join(self, device: LoadDevice, at_us: int, frequency: int, said: Callable[[bytes], bytes]) -> None:
        """A join-request ends; `said(phy_payload)` is what `frames.heard` writes of it."""
        phy_payload = device.join_request()
        if not self.hears(at_us - frames.airtime_us(len(phy_payload)), at_us):
            return
        assert device.dev_nonce is not None
        rx1_us, rx2_us = (at_us + delay_us for delay_us in JOIN_DELAYS_US)
        windows = (
            Window(rx1_us, frequency, frames.SPREADING_FACTOR),
            Window(rx2_us, RX2_FREQUENCY, JOIN_RX2_SPREADING_FACTOR),
        )
        self.asked = [asked for asked in self.asked if asked.at_us > at_us - 2 * JOIN_DELAYS_US[1]]
        self.asked.append(JoinAsked(device, device.dev_nonce, at_us, windows))
        signal = self.signals[device.number % len(self.signals)]
        self.push([frames.rxpk(self.counter(at_us), signal, said(phy_payload))])

    def read(self) -> None:
        """Take the server's answers from the sockets."""
        self._read(self._socket.recv)
        if self._pulling is not self._socket:
            self._read(self._pulling.recv)

    def _read(self, receive: Callable[[int], bytes]) -> None:
        while True:
            try:
                datagram = receive(LARGEST)
            except ConnectionRefusedError:  # Of an earlier datagram.
                continue
            except BlockingIOError:
                return
            kind = datagram[3] if len(datagram) > 3 else -1  # noqa: PLR2004 - Version, token, type.
            if kind == _PUSH_ACK:
                self.acknowledged += 1
            elif kind == _PULL_ACK:
                self.uptime.note()
            else:
                self._asked_to_transmit(datagram)

    def _asked_to_transmit(self, datagram: bytes) -> None:
        try:
            answer = parse_answer(datagram)
        except MalformedDatagram:
            return  # The real forwarder says nothing either.
        if not isinstance(answer, PullResp):
            return
        self.downlinks += 1
        word = self._transmit(answer.txpk, now_us())
        _send(self._pulling, tx_ack(answer.token, self.gateway_id, TX_STATUS[word]))

    def _transmit(self, txpk: TxPk, at_us: int) -> str:
        """The TX_ACK's word."""
        if txpk.tmst is None or not isinstance(txpk.modulation, Lora):
            return "TOO_LATE"  # Nobody in a load is of class C.
        spreading_factor, phy_payload = txpk.modulation.spreading_factor, txpk.phy_payload
        emission = Emission(
            phy_payload,
            txpk.frequency,
            spreading_factor,
            self._concentrator.instant(txpk.tmst, at_us),
            lora_airtime_us(len(phy_payload), spreading_factor, BANDWIDTH, crc=False),
        )
        word = self._concentrator.take(emission, at_us)
        if word == "NONE":
            self._transmits_until_us = max(self._transmits_until_us, emission.end_us)
            if self.emitted is not None:
                self.emitted(self, emission)
        return word


def _connected(server: tuple[str, int]) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.connect(server)
    return opened


def _send(opened: socket.socket, datagram: bytes) -> None:
    try:
        opened.send(datagram)
    except ConnectionRefusedError:
        # The kernel reports an earlier datagram, and has not sent this one: a forwarder does not care.
        with suppress(OSError):
            opened.send(datagram)
    except BlockingIOError:
        return  # No room in the kernel: lost, as on any network.
