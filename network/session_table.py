"""The sessions of the owned shards in memory."""

import asyncio
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from lorawan.identifiers import DevAddr
from network.sessions import HeldSession, Progress


class SessionTable:
    """Open sessions by id, by DevAddr (several devices may share one) and by device."""

    def __init__(self) -> None:
        # Held while sessions are written and memory follows, so that nobody reads the one without the other.
        self.lock = asyncio.Lock()
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

    def add_session(self, held: HeldSession) -> None:
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
