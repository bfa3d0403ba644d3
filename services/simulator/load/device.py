"""A device of a load: it joins for real, then fills in frames; nothing else of it is simulated."""

import random
from dataclasses import dataclass, field

from lorawan.crypto import SessionCipher
from lorawan.frame import MalformedFrame
from lorawan.identifiers import DevAddr, DevEui, JoinEui
from lorawan.join import JoinAccept, JoinRequest, derive_session_keys
from services.simulator.device import Message
from services.simulator.load.frames import data_frame

NONCES = 1 << 16


@dataclass(slots=True)
class LoadDevice:
    """Keys, counters and prepared payloads."""

    number: int
    dev_eui: bytes
    join_eui: bytes
    app_key: bytes
    payloads: tuple[Message, ...]
    random: random.Random
    dev_addr: DevAddr | None = None
    cipher: SessionCipher | None = None
    f_cnt: int = 0
    dev_nonce: int | None = None
    _used_nonces: set[int] = field(default_factory=set[int])

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
        self.f_cnt, self.dev_nonce = 0, None
        return True

    def next_frame(self) -> bytes:
        """The next uplink of a device that has joined."""
        f_cnt = self.f_cnt
        self.f_cnt = f_cnt + 1
        message = self.payloads[f_cnt % len(self.payloads)]
        assert self.dev_addr is not None and self.cipher is not None  # noqa: S101, PT018 - The caller asks joined ones.
        return data_frame(self.dev_addr, self.cipher, f_cnt, message.f_port, message.payload)
