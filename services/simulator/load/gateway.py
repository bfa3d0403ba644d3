"""A gateway of a load: a real UDP socket that is written to and read from, and a counter."""

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from lorawan.frame import MType, mtype_of
from lorawan.gateway.semtech_forwarder import PullResp, parse_answer, pull_data, push_data, tx_ack
from lorawan.gateway.semtech_stat import Stat
from lorawan.gateway.semtech_udp import MalformedDatagram
from lorawan.identifiers import GatewayId
from services.simulator.gateway import Uptime
from services.simulator.load import frames
from services.simulator.load.device import LoadDevice

PACKETS = 8
"""A forwarder takes at most this many from its concentrator at once."""
JOIN_DELAYS_US = (5_000_000, 6_000_000)
LARGEST = 2_048
_PUSH_ACK, _PULL_ACK = 1, 4


@dataclass(slots=True)
class JoinAsked:
    """A join-request that this gateway heard, until its answer or the end of its windows."""

    device: LoadDevice
    dev_nonce: int
    at_us: int


@dataclass(slots=True)
class LoadGateway:
    """One forwarder; `answered(asked, phy_payload, at_us)` is told of a join-accept and when it is on the air."""

    gateway_id: GatewayId
    server: tuple[str, int]
    counter_offset: int
    answered: Callable[[JoinAsked, bytes, int], None]
    signals: tuple[bytes, ...]
    uptime: Uptime = field(default_factory=Uptime)
    joins: deque[LoadDevice] = field(default_factory=deque[LoadDevice])
    asked: dict[int, JoinAsked] = field(default_factory=dict[int, JoinAsked])
    """By the counter's value at the end of the request."""
    waiting: list[LoadDevice] = field(default_factory=list[LoadDevice])
    """Devices whose uplink is in the concentrator at the next poll."""
    copies: list[bytes] = field(default_factory=list[bytes])
    """What `frames.heard` wrote of uplinks that another gateway heard first."""
    pushed: int = 0
    acknowledged: int = 0
    downlinks: int = 0
    forwarded: int = 0
    _token: int = 0
    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(self.server)

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def counter(self, at_us: int) -> int:
        """The concentrator's 32-bit microsecond counter at an instant."""
        return (at_us + self.counter_offset) & frames.COUNTER_MASK

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except ConnectionRefusedError:
            # The kernel reports an earlier datagram, and has not sent this one: a forwarder does not care.
            with suppress(OSError):
                self._socket.send(datagram)
        except BlockingIOError:
            return  # No room in the kernel: lost, as on any network.

    def _next_token(self) -> int:
        self._token += 1
        return self._token

    def push(self, rxpks: list[bytes]) -> None:
        """Send what was heard, at most eight frames to a datagram."""
        for start in range(0, len(rxpks), PACKETS):
            self._send(frames.push_data(self._next_token(), self.gateway_id, rxpks[start : start + PACKETS]))
            self.pushed += 1
        self.forwarded += len(rxpks)

    def pull(self) -> None:
        """Ask to be spoken to."""
        self._send(pull_data((self._next_token() & 0xFFFF).to_bytes(2), self.gateway_id))

    def report(self, now_us: int) -> None:
        """Send a status."""
        stat = Stat(
            time_us=now_us,
            rx_received=self.forwarded,
            rx_ok=self.forwarded,
            rx_forwarded=self.forwarded,
            ack_ratio=round(min(100.0, 100 * self.acknowledged / max(1, self.pushed)), 1),
            tx_received=self.downlinks,
            tx_emitted=self.downlinks,
        )
        self._send(push_data((self._next_token() & 0xFFFF).to_bytes(2), self.gateway_id, (), stat))
        self.pushed += 1

    def ask_to_join(self, device: LoadDevice, at_us: int, said: Callable[[bytes], bytes]) -> None:
        """Hear a device's join-request; `said(phy_payload)` is what `frames.heard` writes of it."""
        phy_payload = device.join_request()
        assert device.dev_nonce is not None  # noqa: S101 - join_request has just set it.
        counter = self.counter(at_us)
        self.asked = {
            key: asked for key, asked in self.asked.items() if asked.at_us > at_us - 2 * JOIN_DELAYS_US[1]
        }
        while counter in self.asked:
            counter = (counter + 1) & frames.COUNTER_MASK
        self.asked[counter] = JoinAsked(device, device.dev_nonce, at_us)
        self.push([frames.rxpk(counter, self.signals[device.number % len(self.signals)], said(phy_payload))])

    def read(self) -> None:
        """Take the server's answers from the socket."""
        receive = self._socket.recv
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
        self._send(tx_ack(answer.token, self.gateway_id))
        phy_payload, tmst = answer.txpk.phy_payload, answer.txpk.tmst
        if tmst is None or mtype_of(phy_payload) is not MType.JOIN_ACCEPT:
            return
        for delay_us in JOIN_DELAYS_US:
            asked = self.asked.get((tmst - delay_us) & frames.COUNTER_MASK)
            if asked is not None:
                self.answered(asked, phy_payload, asked.at_us + delay_us)
