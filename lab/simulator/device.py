"""A LoRaWAN 1.0.x device: joins, sends, and listens exactly when it should."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lab.simulator.mac_layer import MacLayer
from lab.simulator.radio import BANDWIDTH, CHANNELS, DEFAULT_CHANNELS, Air, Link
from lab.simulator.transmission import WINDOW_TOLERANCE_US, Emission, Window
from lorawan.airtime import lora_airtime_us
from lorawan.crypto import Direction, SessionCipher
from lorawan.frame import DownlinkFrame, MalformedFrame, MType, UplinkFCtrl, mtype_of
from lorawan.join import JoinAccept, JoinRequest, derive_session_keys
from lorawan.regions import REQUIRED_SNR
from lorawan.session import build_uplink

JOIN_DELAYS_US = (5_000_000, 6_000_000)
RX2_FREQUENCY = 869_525_000
JOIN_RX2_SPREADING_FACTOR = 12  # Always DR0 for a join, whatever the session has afterwards.
SLOWEST_SPREADING_FACTOR = 12
LINK_MARGIN_DB = 5.0
SECOND_US = 1_000_000
FULL_BATTERY = 254


@dataclass(frozen=True, slots=True)
class Message:
    """What an application sends or receives."""

    f_port: int
    payload: bytes


class Application(Protocol):
    """The sensor behind the radio."""

    def next_message(self, now_us: int, /) -> Message:
        """What to send at the next interval."""
        ...

    def on_downlink(self, message: Message, now_us: int, /) -> Message | None:
        """Act on a downlink; what to answer at once, if anything."""
        ...


@dataclass(slots=True)
class SentUplink:
    """One line of the fleet's own account."""

    dev_eui: bytes
    dev_addr: bytes
    f_cnt: int
    sent_at_us: int
    heard_by: list[bytes]


@dataclass(slots=True)
class Session:
    """An activation, on the device's side."""

    dev_addr: bytes
    cipher: SessionCipher
    rx1_delay_s: int
    rx2_spreading_factor: int
    f_cnt_up: int = 0
    f_cnt_down: int = 0  # The next one acceptable.


@dataclass(slots=True)
class Device:
    """One device. The shell calls `join` and `send` and puts what they return on the air."""

    dev_eui: bytes
    join_eui: bytes
    app_key: bytes
    is_class_c: bool
    application: Application
    links: list[Link]
    air: Air
    random: random.Random
    record: Callable[[SentUplink], None]
    answer_soon: Callable[["Device", Message], None]
    confirmed: bool = False
    session: Session | None = None
    windows: tuple[Window, ...] = ()
    downlinks: int = 0
    acknowledgements: int = 0
    # Class C frames that came while the device was busy with its class A windows: the network's fault.
    disturbed: int = 0
    sent_until_us: int = 0  # The end of its last transmission.
    joined_us: int = 0  # The end of the accept that it took.
    _dev_nonce: int | None = None
    _used_nonces: set[int] = field(default_factory=set[int])
    _acknowledge: bool = False
    _mac: MacLayer = field(default_factory=lambda: MacLayer(FULL_BATTERY))

    @property
    def spreading_factor(self) -> int:
        """The fastest that the best gateway hears with a margin, as ADR would settle on."""
        best = max(link.snr for link in self.links)
        for spreading_factor, required in REQUIRED_SNR.items():
            if best - LINK_MARGIN_DB >= required:
                return spreading_factor
        return max(REQUIRED_SNR)

    def _emit(
        self,
        phy_payload: bytes,
        channels: tuple[int, ...],
        delays_us: tuple[int, int],
        rx2_spreading_factor: int,
        now_us: int,
    ) -> list[bytes]:
        airtime = lora_airtime_us(len(phy_payload), self.spreading_factor, BANDWIDTH, crc=True)
        start_us = now_us if self.air.is_crowded else now_us - airtime
        emission = Emission(phy_payload, self.random.choice(channels), self.spreading_factor, start_us, airtime)
        self.windows = (
            Window(emission.end_us + delays_us[0], emission.frequency, emission.spreading_factor),
            Window(emission.end_us + delays_us[1], RX2_FREQUENCY, rx2_spreading_factor),
        )
        self.sent_until_us = emission.end_us
        return self.air.uplink(emission, self.links)

    def join(self, now_us: int) -> list[bytes]:
        """Send a join-request with a DevNonce never used before; returns who heard it."""
        nonce = self.random.randrange(1 << 16)
        while nonce in self._used_nonces:
            nonce = self.random.randrange(1 << 16)
        self._used_nonces.add(nonce)
        self._dev_nonce = nonce
        request = JoinRequest.signed(self.app_key, self.join_eui, self.dev_eui, nonce)  # pyright: ignore[reportArgumentType]
        return self._emit(request.to_bytes(), DEFAULT_CHANNELS, JOIN_DELAYS_US, JOIN_RX2_SPREADING_FACTOR, now_us)

    def send(self, message: Message, now_us: int) -> None:
        """Send an uplink and note in the account who heard it."""
        session = self.session
        assert session is not None
        f_cnt = session.f_cnt_up
        session.f_cnt_up += 1
        phy_payload = build_uplink(
            session.dev_addr,  # pyright: ignore[reportArgumentType]
            session.cipher,
            f_cnt,
            f_port=message.f_port,
            payload=message.payload,
            confirmed=self.confirmed,
            f_ctrl=UplinkFCtrl(ack=self._acknowledge),
            f_opts=self._mac.f_opts(),
        )
        self._acknowledge = False
        delay = session.rx1_delay_s * SECOND_US
        delays = (delay, delay + SECOND_US)
        heard = self._emit(phy_payload, CHANNELS, delays, session.rx2_spreading_factor, now_us)
        self.record(SentUplink(self.dev_eui, session.dev_addr, f_cnt, self.sent_until_us, heard))

    def hear(self, emission: Emission) -> None:
        """A gateway's emission reaches the antenna; most are for others."""
        kind = mtype_of(emission.phy_payload)
        if kind is MType.JOIN_ACCEPT:
            if self._dev_nonce is not None and any(window.catches(emission) for window in self.windows):
                self._accept_join(emission)
        elif self.session is not None and self._is_mine(emission.phy_payload):
            self._receive(emission)

    def _is_mine(self, phy_payload: bytes) -> bool:
        assert self.session is not None
        return phy_payload[1:5] == self.session.dev_addr[::-1]

    def _accept_join(self, emission: Emission) -> None:
        try:
            accept = JoinAccept.from_bytes(emission.phy_payload, self.app_key)
        except MalformedFrame:
            return  # Another device's.
        assert self._dev_nonce is not None
        keys = derive_session_keys(self.app_key, accept.join_nonce, accept.net_id, self._dev_nonce)
        self.session = Session(
            accept.dev_addr, SessionCipher(keys), accept.rx1_delay, SLOWEST_SPREADING_FACTOR - accept.rx2_dr
        )
        self.joined_us = emission.end_us
        self._dev_nonce = None
        self.windows = ()

    def _in_class_a_windows(self, emission: Emission) -> bool:
        """From the end of the uplink to the end of RX2 the radio belongs to class A."""
        if not self.windows:
            return False
        session = self.session
        assert session is not None
        uplink_end = self.windows[0].opens_us - session.rx1_delay_s * SECOND_US
        return uplink_end <= emission.start_us <= self.windows[1].opens_us + WINDOW_TOLERANCE_US

    def _receive(self, emission: Emission) -> None:
        session = self.session
        assert session is not None
        if any(window.catches(emission) for window in self.windows):
            self._open(emission)
        elif (
            self.is_class_c
            and emission.frequency == RX2_FREQUENCY
            and emission.spreading_factor == session.rx2_spreading_factor
        ):
            if self._in_class_a_windows(emission):
                self.disturbed += 1
            else:
                self._open(emission)

    def _open(self, emission: Emission) -> None:
        session = self.session
        assert session is not None
        try:
            frame = DownlinkFrame.from_bytes(emission.phy_payload)
        except MalformedFrame:
            return
        f_cnt = session.f_cnt_down + ((frame.f_cnt - session.f_cnt_down) & 0xFFFF)
        if not session.cipher.verify_downlink(emission.phy_payload, frame.dev_addr, f_cnt):
            return
        session.f_cnt_down = f_cnt + 1
        self.downlinks += 1
        self.acknowledgements += frame.f_ctrl.ack
        self._acknowledge = frame.confirmed
        payload = session.cipher.crypt(Direction.DOWN, frame.dev_addr, f_cnt, frame.f_port or 0, frame.frm_payload)
        delay = self._mac.hear(frame.f_opts or (b"" if frame.f_port else payload), self.links[0].snr)
        if delay is not None:
            session.rx1_delay_s = delay  # From the next uplink on; this one's windows are over.
        if frame.f_port:
            answer = self.application.on_downlink(Message(frame.f_port, payload), emission.end_us)
            if answer is not None:
                self.answer_soon(self, answer)
