"""Changes of the registry as they reach a running network server."""

from collections.abc import Sequence

from core.runtime.postgres import Pool
from network import store
from network.held_state import DeviceCache, SessionTable
from network.shards import Shards
from registry.changes import Change
from registry.keys import KeyWrap


class RegistryChanges:
    """Updates memory when devices were disabled, moved, replaced or given a session."""

    def __init__(
        self, pool: Pool, keys: KeyWrap, shards: Shards, sessions: SessionTable, devices: DeviceCache
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._shards = shards
        self._sessions = sessions
        self._devices = devices

    async def apply(self, changes: Sequence[Change]) -> None:
        """Read the devices that changed, and their sessions, anew."""
        device_ids = [change.entity_id for change in changes if change.entity == "device"]
        if not device_ids and not any(change.entity == "device_profile" for change in changes):
            return
        sessions, devices = self._sessions, self._devices
        async with sessions.lock:
            slots = self._shards.slots()
            held = (await store.read_sessions(self._pool, slots, self._keys, device_ids)).held
            await devices.refresh(self._pool, slots, device_ids, [session.device_id for session in held])
            for session in held:
                sessions.add_session(session)
            for device_id in device_ids:
                sessions.keep_only(device_id, {s.id for s in held if s.device_id == device_id})
                device = devices.get(device_id)
                if device is not None:
                    sessions.set_skip_f_cnt(device_id, device.skip_f_cnt_check)
