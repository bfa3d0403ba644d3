"""Cache of the devices of the owned slots and their profiles, kept in step with the registry."""

from collections.abc import Iterable, Sequence

from core.model.entities import Device, DeviceProfile
from core.runtime.postgres import Connection, Pool
from lorawan.identifiers import SLOTS
from registry.devices import each_device, read_devices, read_profiles

ALL_SLOTS = range(SLOTS)


class DeviceCache:
    """What the data path asks about a device without asking the database."""

    def __init__(self) -> None:
        self._devices: dict[int, Device] = {}
        self._profiles: dict[int, DeviceProfile] = {}

    async def load(self, connection: Connection, slots: Sequence[int], session_devices: Sequence[int]) -> None:
        """Read every device of these slots, those of their sessions, and all profiles; in a transaction.

        A session's device may still be in another slot: its own becomes the device's at the first uplink.
        """
        self._profiles = await read_profiles(connection)
        known: set[int] = set()
        async for device in each_device(connection, slots):
            self._devices[device.id] = device
            known.add(device.id)
        others = [device_id for device_id in session_devices if device_id not in known]
        for device in await read_devices(connection, ALL_SLOTS, others):
            self._devices[device.id] = device

    async def refresh(
        self,
        connection: Connection | Pool,
        slots: Sequence[int],
        device_ids: Sequence[int],
        session_devices: Sequence[int],
    ) -> None:
        """Read these devices again, and all profiles; a device that left the slots or the registry goes."""
        self._profiles = await read_profiles(connection)
        found = await read_devices(connection, slots, device_ids)
        found += await read_devices(connection, ALL_SLOTS, session_devices)
        for device_id in device_ids:
            self._devices.pop(device_id, None)
        self._devices.update({device.id: device for device in found})

    def add_device(self, device: Device) -> None:
        """Hold a device that was just read for its join."""
        self._devices[device.id] = device

    def forget_slots(self, slots: Iterable[int]) -> None:
        """Let go of every device of these slots."""
        lost = set(slots)
        self._devices = {key: device for key, device in self._devices.items() if device.slot not in lost}

    def is_enabled(self, device_id: int) -> bool:
        """Whether frames of this device are accepted; a device that is not in the registry is not."""
        device = self._devices.get(device_id)
        return device is not None and device.enabled

    def is_class_c(self, device_id: int) -> bool:
        """Whether the device listens all the time."""
        device = self._devices.get(device_id)
        profile = None if device is None else self._profiles.get(device.device_profile_id)
        return profile is not None and profile.device_class == "C"

    def get(self, device_id: int) -> Device | None:
        """The device, if it is one of ours."""
        return self._devices.get(device_id)
