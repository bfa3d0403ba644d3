"""A LoRaWAN 1.0.x device: joins, sends, and listens exactly when it should."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from lab.device.answers import Answers
from lab.device.application import Application, Group, GroupMember, Message
from lab.device.frames import data_frame
from lab.device.mac_layer import MacLayer
from lab.radio.medium import BEST_SNR_DB, Link, RadioMedium
from lab.radio.transmission import (
    BANDWIDTH,
    CHANNELS,
    DEFAULT_CHANNELS,
    JOIN_DELAYS_US,
    RX2_FREQUENCY,
    SECOND_US,
    SLOWEST_SPREADING_FACTOR,
    WINDOW_TOLERANCE_US,
    Transmission,
    Window,
)
from lorawan.airtime import lora_airtime_us
from lorawan.crypto import Direction, SessionCipher, SessionKeys
from lorawan.frame import DownlinkFrame, MalformedFrame, MType, mtype_of
from lorawan.identifiers import DevAddr, DevEui, JoinEui
from lorawan.join import JoinAccept, JoinRequest, derive_session_keys
from lorawan.regions import REQUIRED_SNR

JOIN_RX2_SPREADING_FACTOR = 12  # Always DR0 for a join, whatever the session has afterwards.
LINK_MARGIN_DB = 5.0
NONCES = 1 << 16
FULL_BATTERY = 254
# Of a group's hundred members not all may answer at once.
GROUP_ANSWER_WITHIN_S = 900.0


@dataclass(slots=True)
class SentUplink:
    """One line of the fleet's own account."""

    dev_eui: bytes
    dev_addr: bytes
    f_cnt: int
    sent_at_us: int
    received_by: list[bytes]
    """The gateways that forwarded it."""


@dataclass(slots=True)
class DeviceSession:
    """An activation, on the device's side."""

    dev_addr: DevAddr
    cipher: SessionCipher
    rx1_delay_us: int = SECOND_US
    rx2_spreading_factor: int = SLOWEST_SPREADING_FACTOR
    f_cnt_up: int = 0
    f_cnt_down: int = 0  # The next one acceptable.


@dataclass(slots=True)
class GroupSession:
    """The multicast session of a group, on a member's side."""

    group: Group
    dev_addr: DevAddr
    cipher: SessionCipher
    f_cnt_down: int  # The next one acceptable.

    @classmethod
    def of(cls, group: Group) -> "GroupSession":
        """The session as it begins."""
        keys = SessionKeys(group.nwk_s_key, group.app_s_key)
        return cls(group, DevAddr(group.address), SessionCipher(keys), group.first_f_cnt)

    def listens_to(self, transmission: Transmission) -> bool:
        """Whether the frame comes where the group is listened to."""
        return (transmission.frequency, transmission.spreading_factor) == (
            self.group.frequency_hz,
            SLOWEST_SPREADING_FACTOR - self.group.data_rate,
        )


def _ignore(*_: object) -> None:
    """For devices of which nobody wants to know."""


@dataclass(slots=True)
class Device:
    """One device, which sends by its radio medium (`join`, `send`), or whose frames are carried by a load's pacer.

    `confirmed_share`: of its uplinks, drawn one by one.
    """

    number: int
    """Its place in the fleet."""
    dev_eui: DevEui
    join_eui: JoinEui
    app_key: bytes
    application: Application
    links: Sequence[Link]
    medium: RadioMedium
    random: random.Random
    is_class_c: bool = False
    confirmed_share: float = 0.0
    answers: Answers = field(default_factory=Answers)
    """Many devices may share one."""
    record: Callable[[SentUplink], None] = _ignore
    answer_soon: Callable[["Device", Message], None] = _ignore
    answer_later: Callable[["Device", Message, float], None] = _ignore
    """After so many seconds."""
    session: DeviceSession | None = None
    group_session: GroupSession | None = None
    dev_nonce: int | None = None
    """Of the join-request that is not answered yet."""
    awaits_ack: bool = False
    disturbed: int = 0
    """Class C frames that came while the device was busy with its class A windows: the network's fault."""
    sent_until_us: int = 0
    """The end of its last transmission."""
    frequency: int = 0
    """Of its last transmission; 0 when no window follows it any more."""
    joined_us: int = 0
    """The end of the accept that it took."""
    spreading_factor: int = field(init=False)
    _snr: float = field(init=False)
    _rx1_delay_us: int = SECOND_US
    _rx2_spreading_factor: int = SLOWEST_SPREADING_FACTOR
    _used_nonces: set[int] = field(default_factory=set[int])
    _acknowledge: bool = False
    _mac: MacLayer = field(default_factory=lambda: MacLayer(FULL_BATTERY))

    def __post_init__(self) -> None:
        self.spreading_factor = fastest_spreading_factor(self.links)
        self._snr = self.links[0].snr if self.links else BEST_SNR_DB

    @property
    def windows(self) -> tuple[Window, ...]:
        """RX1 and RX2 of its last transmission; none once a join has been accepted."""
        if not self.frequency:
            return ()
        rx1_us = self.sent_until_us + self._rx1_delay_us
        return (
            Window(rx1_us, self.frequency, self.spreading_factor),
            Window(rx1_us + SECOND_US, RX2_FREQUENCY, self._rx2_spreading_factor),
        )

    # --- Sending ------------------------------------------------------------------------------------

    def join(self, now_us: int) -> list[bytes]:
        """Send a join-request with a DevNonce never used before; returns the gateways that forwarded it."""
        return self._transmit(self.next_join_request(), DEFAULT_CHANNELS, now_us)

    def send(self, message: Message, now_us: int) -> None:
        """Send an uplink and record in the account which gateways forwarded it."""
        session = self.session
        assert session is not None
        f_cnt = session.f_cnt_up
        received_by = self._transmit(self.next_frame(message), CHANNELS, now_us)
        self.record(SentUplink(self.dev_eui, session.dev_addr, f_cnt, self.sent_until_us, received_by))

    def _transmit(self, octets: bytes, channels: tuple[int, ...], now_us: int) -> list[bytes]:
        airtime_us = lora_airtime_us(len(octets), self.spreading_factor, BANDWIDTH, crc=True)
        start_us = now_us if self.medium.has_collisions else now_us - airtime_us
        self.frequency = self.random.choice(channels)
        transmission = Transmission(octets, self.frequency, self.spreading_factor, start_us, airtime_us)
        self.sent_until_us = transmission.end_us
        return self.medium.uplink(transmission, self.links)

    def next_join_request(self) -> bytes:
        """The PHYPayload of a join-request with a DevNonce never used before."""
        nonce = self.random.randrange(NONCES)
        while nonce in self._used_nonces:
            nonce = self.random.randrange(NONCES)
        self._used_nonces.add(nonce)
        self.dev_nonce = nonce
        self._rx1_delay_us, self._rx2_spreading_factor = JOIN_DELAYS_US[0], JOIN_RX2_SPREADING_FACTOR
        return JoinRequest.signed(self.app_key, self.join_eui, self.dev_eui, nonce).to_bytes()

    def next_frame(self, message: Message) -> bytes:
        """The PHYPayload of the next uplink of a device that has a session."""
        session = self.session
        assert session is not None
        f_cnt = session.f_cnt_up
        session.f_cnt_up = f_cnt + 1
        share, ack = self.confirmed_share, self._acknowledge
        self.awaits_ack = confirmed = share > 0 and self.random.random() < share
        self._acknowledge = False
        f_opts = b""
        if self._mac.has_answers:
            f_opts = self._mac.f_opts()
            self._rx1_delay_us = session.rx1_delay_us  # Which the network may just have asked for.
        return data_frame(
            session.dev_addr,
            session.cipher,
            f_cnt,
            message.f_port,
            message.payload,
            confirmed=confirmed,
            ack=ack,
            f_opts=f_opts,
        )

    # --- Receiving ----------------------------------------------------------------------------------

    def lock_on(self, transmission: Transmission) -> Callable[[], object] | None:
        """A gateway's transmission begins; most are for others, or not in a window."""
        octets, session = transmission.phy_payload, self.session
        if mtype_of(octets) is MType.JOIN_ACCEPT:
            nonce = self.dev_nonce
            if nonce is None or not any(window.catches(transmission) for window in self.windows):
                return None
            return partial(self.accept, octets, nonce, transmission.end_us)
        group = self.group_session
        if group is not None and octets[1:5] == group.dev_addr[::-1]:
            return self._lock_on_group(transmission, group)
        if session is None or octets[1:5] != session.dev_addr[::-1]:
            return None
        return self._lock_on_own(transmission, session)

    def _lock_on_own(self, transmission: Transmission, session: DeviceSession) -> Callable[[], object] | None:
        for place, window in enumerate(self.windows):
            if window.catches(transmission):
                return partial(self._receive, transmission, in_rx1=place == 0)
        if (
            self.is_class_c
            and transmission.frequency == RX2_FREQUENCY
            and transmission.spreading_factor == session.rx2_spreading_factor
        ):
            if not self._is_in_class_a_windows(transmission):
                return partial(self._receive, transmission, in_rx1=False)
            self.disturbed += 1
        self.answers.outside += 1
        return None

    def _lock_on_group(self, transmission: Transmission, group: GroupSession) -> Callable[[], object] | None:
        if not self.is_class_c or not group.listens_to(transmission):
            return None
        if self._is_in_class_a_windows(transmission):
            self.disturbed += 1
            return None
        return partial(self._receive_of_group, transmission, group)

    def _receive_of_group(self, transmission: Transmission, group: GroupSession) -> None:
        """A frame to the group: never confirmed, without commands, and a repetition of it is ignored."""
        octets = transmission.phy_payload
        try:
            frame = DownlinkFrame.from_bytes(octets)
        except MalformedFrame:
            return
        f_cnt = group.f_cnt_down + ((frame.f_cnt - group.f_cnt_down) & 0xFFFF)
        if frame.confirmed or not group.cipher.verify_downlink(octets, frame.dev_addr, f_cnt):
            return
        group.f_cnt_down = f_cnt + 1
        if frame.f_port and isinstance(self.application, GroupMember):
            payload = group.cipher.crypt(Direction.DOWN, frame.dev_addr, f_cnt, frame.f_port, frame.frm_payload)
            answer = self.application.on_group_message(Message(frame.f_port, payload), transmission.end_us)
            if answer is not None:
                self.answer_later(self, answer, self.random.uniform(0, GROUP_ANSWER_WITHIN_S))

    def _is_in_class_a_windows(self, transmission: Transmission) -> bool:
        """From the end of the uplink to the end of RX2 the radio belongs to class A."""
        rx2_us = self.sent_until_us + self._rx1_delay_us + SECOND_US
        return bool(self.frequency) and (
            self.sent_until_us <= transmission.start_us <= rx2_us + WINDOW_TOLERANCE_US
        )

    def accept(self, octets: bytes, dev_nonce: int, ended_us: int) -> bool:
        """Take a join-accept for the request with this DevNonce; whether a session began with it."""
        if dev_nonce != self.dev_nonce:
            return False  # Answered already, or another request was sent since.
        try:
            accept = JoinAccept.from_bytes(octets, self.app_key)
        except MalformedFrame:
            return False  # Another device's.
        keys = derive_session_keys(self.app_key, accept.join_nonce, accept.net_id, dev_nonce)
        self._rx1_delay_us = max(1, accept.rx1_delay) * SECOND_US
        self._rx2_spreading_factor = SLOWEST_SPREADING_FACTOR - accept.rx2_dr
        self.session = DeviceSession(
            accept.dev_addr, SessionCipher(keys), self._rx1_delay_us, self._rx2_spreading_factor
        )
        self.dev_nonce, self.joined_us, self.frequency = None, ended_us, 0
        return True

    def _receive(self, transmission: Transmission, *, in_rx1: bool) -> None:
        session, octets = self.session, transmission.phy_payload
        assert session is not None
        try:
            frame = DownlinkFrame.from_bytes(octets)
        except MalformedFrame:
            return
        f_cnt = session.f_cnt_down + ((frame.f_cnt - session.f_cnt_down) & 0xFFFF)
        if not session.cipher.verify_downlink(octets, frame.dev_addr, f_cnt):
            return
        session.f_cnt_down = f_cnt + 1
        if self.awaits_ack and frame.f_ctrl.ack:
            self.awaits_ack = False
            self.answers.record_acknowledgement(in_rx1=in_rx1)
        self._acknowledge = frame.confirmed
        payload = session.cipher.crypt(Direction.DOWN, frame.dev_addr, f_cnt, frame.f_port or 0, frame.frm_payload)
        commands = frame.f_opts or (b"" if frame.f_port else payload)
        delay_s = self._mac.take_commands(commands, self._snr)
        if delay_s is not None:
            session.rx1_delay_us = delay_s * SECOND_US  # From the next uplink on; this one's windows are over.
        if frame.f_port:
            answer = self.application.on_downlink(Message(frame.f_port, payload), transmission.end_us)
            self._follow_group()
            if answer is not None:
                self.answer_soon(self, answer)

    def _follow_group(self) -> None:
        """Open the session of the group that the application was given; one that it holds already goes on."""
        application, held = self.application, self.group_session
        group = application.group if isinstance(application, GroupMember) else None
        if group is not None and (held is None or held.group != group):
            self.group_session = GroupSession.of(group)


def fastest_spreading_factor(links: Sequence[Link]) -> int:
    """The fastest that the best gateway receives with a margin, as ADR would settle on."""
    best = max((link.snr for link in links), default=BEST_SNR_DB)
    for spreading_factor, required in REQUIRED_SNR.items():
        if best - LINK_MARGIN_DB >= required:
            return spreading_factor
    return max(REQUIRED_SNR)
