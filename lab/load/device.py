"""A device of a load: it joins for real, fills in frames, and hears what meets its windows."""

import random
from dataclasses import dataclass, field

from lab.load.answers import Answers
from lab.load.frames import SPREADING_FACTOR, data_frame
from lab.simulator.device import FULL_BATTERY, RX2_FREQUENCY, SLOWEST_SPREADING_FACTOR, Message
from lab.simulator.mac_layer import MacLayer
from lab.simulator.transmission import Emission, Window
from lorawan.crypto import Direction, SessionCipher
from lorawan.frame import DownlinkFrame, MalformedFrame
from lorawan.identifiers import DevAddr, DevEui, JoinEui
from lorawan.join import JoinAccept, JoinRequest, derive_session_keys

NONCES = 1 << 16
SECOND_US = 1_000_000
_SNR = 5.0  # Of what it hears, for DevStatusAns.


@dataclass(slots=True)
class LoadDevice:
    """Keys, counters and prepared payloads. `confirmed_share`: of its uplinks, drawn one by one."""

    number: int
    dev_eui: bytes
    join_eui: bytes
    app_key: bytes
    payloads: tuple[Message, ...]
    random: random.Random
    confirmed_share: float = 0.0
    dev_addr: DevAddr | None = None
    cipher: SessionCipher | None = None
    f_cnt: int = 0
    dev_nonce: int | None = None
    sent_until_us: int = 0
    """The end of its last uplink."""
    frequency: int = 0
    """Of its last uplink."""
    awaits_ack: bool = False
    _rx1_delay_us: int = SECOND_US
    _rx2_spreading_factor: int = SLOWEST_SPREADING_FACTOR
    _f_cnt_down: int = 0
    _used_nonces: set[int] = field(default_factory=set[int])
    _mac: MacLayer = field(default_factory=lambda: MacLayer(FULL_BATTERY))
    _has_answers: bool = False

    def join_request(self) -> bytes:
        """A join-request with a DevNonce never used before."""
        nonce = self.random.randrange(NONCES)
        while nonce in self._used_nonces:
            nonce = self.random.randrange(NONCES)
        self._used_nonces.add(nonce)
        self.dev_nonce = nonce
        request = JoinRequest.signed(self.app_key, JoinEui(self.join_eui), DevEui(self.dev_eui), nonce)
        return request.to_bytes()

    def accept(self, phy_payload: bytes, dev_nonce: int) -> bool:
        """Take a join-accept for the request with this DevNonce; whether a session began with it."""
        if dev_nonce != self.dev_nonce:
            return False  # Answered already, or another request was sent since.
        try:
            accept = JoinAccept.from_bytes(phy_payload, self.app_key)
        except MalformedFrame:
            return False
        keys = derive_session_keys(self.app_key, accept.join_nonce, accept.net_id, dev_nonce)
        self.dev_addr, self.cipher = accept.dev_addr, SessionCipher(keys)
        self._rx1_delay_us = max(1, accept.rx1_delay) * SECOND_US
        self._rx2_spreading_factor = SLOWEST_SPREADING_FACTOR - accept.rx2_dr
        self.f_cnt, self._f_cnt_down, self.dev_nonce = 0, 0, None
        return True

    def next_frame(self) -> bytes:
        """The next uplink of a device that has joined."""
        f_cnt = self.f_cnt
        self.f_cnt = f_cnt + 1
        message = self.payloads[f_cnt % len(self.payloads)]
        assert self.dev_addr is not None and self.cipher is not None  # noqa: PT018 - The caller asks joined ones.
        share = self.confirmed_share
        self.awaits_ack = confirmed = share > 0 and self.random.random() < share
        f_opts = b""
        if self._has_answers:
            f_opts, self._has_answers = self._mac.f_opts(), False
        return data_frame(
            self.dev_addr, self.cipher, f_cnt, message.f_port, message.payload, confirmed=confirmed, f_opts=f_opts
        )

    def _windows(self) -> tuple[Window, Window]:
        opens_us = self.sent_until_us + self._rx1_delay_us
        return (
            Window(opens_us, self.frequency, SPREADING_FACTOR),
            Window(opens_us + SECOND_US, RX2_FREQUENCY, self._rx2_spreading_factor),
        )

    def hear(self, emission: Emission, answers: Answers) -> None:
        """A data frame reaches the antenna: taken in a window and with the right MIC, as any device does."""
        rx1, rx2 = self._windows()
        in_rx1 = rx1.catches(emission)
        if not in_rx1 and not rx2.catches(emission):
            answers.outside += 1
            return
        try:
            frame = DownlinkFrame.from_bytes(emission.phy_payload)
        except MalformedFrame:
            return
        f_cnt = self._f_cnt_down + ((frame.f_cnt - self._f_cnt_down) & 0xFFFF)
        cipher = self.cipher
        if cipher is None or not cipher.verify_downlink(emission.phy_payload, frame.dev_addr, f_cnt):
            return
        self._f_cnt_down = f_cnt + 1
        if self.awaits_ack and frame.f_ctrl.ack:
            self.awaits_ack = False
            answers.note(in_rx1=in_rx1)
        commands = frame.f_opts
        if frame.f_port == 0:
            commands = cipher.crypt(Direction.DOWN, frame.dev_addr, f_cnt, 0, frame.frm_payload)
        if commands:
            self._mac.hear(commands, _SNR)
            self._has_answers = True
