"""A session as the network server holds it: its keys unwrapped once, its state as last committed. Pure."""

from dataclasses import dataclass

import msgspec

from lorawan.crypto import SessionCipher
from lorawan.identifiers import DevAddr, slot_of_dev_addr
from lorawan.mac_state import MacState
from lorawan.session import Session


class SessionReception(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How one gateway received an uplink, as far as an answer through it needs it (session.last_heard_by)."""

    gateway_id: bytes
    context: bytes
    received_at_us: int
    frequency: int  # Hz
    spreading_factor: int
    bandwidth: int  # Hz
    rssi: float  # dBm
    snr: float  # dB
    round_trip_us: int = 0  # To the gateway and back; 0: not known.


class Progress(msgspec.Struct, frozen=True, gc=False):
    """How far a session has come: what each uplink changes. `uplink_id` empty: no uplink yet."""

    state: Session
    mac: MacState
    uplink_id: bytes = b""
    receptions: tuple[SessionReception, ...] = ()


@dataclass(slots=True)
class HeldSession:
    """One open session. `progress` equals the committed row; it is replaced after a commit, never before."""

    id: int
    device_id: int
    cipher: SessionCipher
    progress: Progress

    @property
    def dev_addr(self) -> DevAddr:
        """The DevAddr that the device uses."""
        return self.progress.state.dev_addr

    @property
    def slot(self) -> int:
        """The slot by which its frames are routed."""
        return slot_of_dev_addr(self.dev_addr)
