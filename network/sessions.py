"""The sessions of the owned shards in memory: keys unwrapped once, state as it was last committed. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from lorawan.crypto import SessionCipher
from lorawan.identifiers import DevAddr, slot_of_dev_addr
from lorawan.mac_state import MacState
from lorawan.session import Session


class HeardCopy(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where an uplink was heard: what it takes to answer through that gateway (session.last_heard_by)."""

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
    heard_by: tuple[HeardCopy, ...] = ()

    @property
    def started(self) -> bool:
        """Whether the device has used the session: before, nothing is sent (docs/protocols.md, row 23)."""
        return self.state.last_uplink is not None


@dataclass(slots=True)
class HeldSession:
    """One open session. `progress` equals the committed row; it is replaced after a commit, never before."""

    id: int
    device_id: int
    cipher: SessionCipher
    progress: Progress

    @property
    def dev_addr(self) -> DevAddr:
        """The address under which the device speaks."""
        return self.progress.state.dev_addr

    @property
    def slot(self) -> int:
        """The slot by which its frames are routed."""
        return slot_of_dev_addr(self.dev_addr)


class SessionTable:
    """Open sessions by id, by DevAddr (several devices may share one) and by device."""

    def __init__(self) -> None:
        self._by_id: dict[int, HeldSession] = {}
        self._by_dev_addr: dict[DevAddr, list[HeldSession]] = {}
        self._by_device: dict[int, list[HeldSession]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, session_id: int) -> bool:
        return session_id in self._by_id

    def of_dev_addr(self, dev_addr: DevAddr) -> Sequence[HeldSession]:
        """Every session whose MIC has to be tried for a frame from this address."""
        return self._by_dev_addr.get(dev_addr, ())

    def of_device(self, device_id: int) -> Sequence[HeldSession]:
        """The device's open sessions, oldest first."""
        return self._by_device.get(device_id, ())

    def current_of(self, device_id: int) -> HeldSession | None:
        """The newest session that the device has used."""
        return next((held for held in reversed(self.of_device(device_id)) if held.progress.started), None)

    def add(self, held: HeldSession) -> None:
        """Hold one more session; one that is held already stays as it is."""
        if held.id in self._by_id:
            return
        self._by_id[held.id] = held
        self._by_dev_addr.setdefault(held.dev_addr, []).append(held)
        of_device = self._by_device.setdefault(held.device_id, [])
        of_device.append(held)
        of_device.sort(key=lambda session: session.id)

    def remove(self, session_id: int) -> None:
        """Let go of a session that was closed, or whose shard has another owner."""
        held = self._by_id.pop(session_id, None)
        if held is None:
            return
        for index, key in ((self._by_dev_addr, held.dev_addr), (self._by_device, held.device_id)):
            of_key = index[key]  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
            of_key.remove(held)
            if not of_key:
                del index[key]  # pyright: ignore[reportArgumentType]

    def advance(self, session_id: int, progress: Progress) -> None:
        """Follow the commit of this progress; a session that was let go in the meantime is left alone.

        The device's setting may have changed while the progress was made: it stays as it is now.
        """
        held = self._by_id.get(session_id)
        if held is not None:
            skip = held.progress.state.skip_f_cnt
            if progress.state.skip_f_cnt != skip:
                progress = replace(progress, state=replace(progress.state, skip_f_cnt=skip))
            held.progress = progress

    def close_older(self, device_id: int, session_id: int) -> None:
        """The device has used `session_id`: those before it are closed."""
        for held in list(self.of_device(device_id)):
            if held.id < session_id:
                self.remove(held.id)

    def forget_slots(self, slots: Iterable[int]) -> None:
        """Let go of every session of these slots."""
        lost = set(slots)
        for held in [held for held in self._by_id.values() if held.slot in lost]:
            self.remove(held.id)

    def keep_only(self, device_id: int, session_ids: set[int]) -> None:
        """Let go of the sessions of a device that are no longer open in the database."""
        for held in list(self.of_device(device_id)):
            if held.id not in session_ids:
                self.remove(held.id)

    def set_skip_f_cnt(self, device_id: int, skip: bool) -> None:
        """Follow a change of the device's setting."""
        for held in self.of_device(device_id):
            held.progress = replace(held.progress, state=replace(held.progress.state, skip_f_cnt=skip))
