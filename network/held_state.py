"""What the network server holds of the owned shards: their open sessions, and their devices with the profiles."""

import asyncio
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from core.model.entities import Device, DeviceProfile
from core.runtime.postgres import Connection, Pool
from lorawan.adr import NO_BOUNDS
from lorawan.commands.rx_param_setup import RxParamSetupReq
from lorawan.identifiers import SLOTS, DevAddr
from lorawan.mac_state import MacPolicy
from lorawan.regions import EU868
from network.sessions import HeldSession, Progress
from registry.devices import each_device, read_devices, read_profiles

ALL_SLOTS = range(SLOTS)
DEFAULT_POLICY = MacPolicy(EU868)


class DeviceCache:
    """Devices and profiles in memory, so that the data path needs no query."""

    def __init__(self, policy: MacPolicy = DEFAULT_POLICY) -> None:
        """`policy`: what is wanted of devices whose profile says nothing else."""
        self._policy = policy
        self._devices: dict[int, Device] = {}
        self._profiles: dict[int, DeviceProfile] = {}
        self._policies: dict[int, MacPolicy] = {}

    async def load(self, connection: Connection, slots: Sequence[int], session_devices: Sequence[int]) -> None:
        """Read every device of these slots, those of their sessions, and all profiles; in a transaction.

        A session's device may still be in another slot: its own becomes the device's at the first uplink.
        """
        await self._read_profiles(connection)
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
        """Read these devices again, and all profiles; removes a device that left the slots or the registry."""
        await self._read_profiles(connection)
        found = await read_devices(connection, slots, device_ids)
        found += await read_devices(connection, ALL_SLOTS, session_devices)
        for device_id in device_ids:
            self._devices.pop(device_id, None)
        self._devices.update({device.id: device for device in found})

    async def _read_profiles(self, connection: Connection | Pool) -> None:
        self._profiles = await read_profiles(connection)
        self._policies = {
            profile.id: policy_of_profile(self._policy, profile) for profile in self._profiles.values()
        }

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

    def policy_of(self, device_id: int) -> MacPolicy:
        """What is wanted of the device's MAC layer."""
        device = self._devices.get(device_id)
        return self._policy if device is None else self._policies.get(device.device_profile_id, self._policy)

    def is_class_c(self, device_id: int) -> bool:
        """Whether the device listens all the time."""
        device = self._devices.get(device_id)
        profile = None if device is None else self._profiles.get(device.device_profile_id)
        return profile is not None and profile.device_class == "C"

    def get(self, device_id: int) -> Device | None:
        """The device, if it is one of ours."""
        return self._devices.get(device_id)


def policy_of_profile(policy: MacPolicy, profile: DeviceProfile) -> MacPolicy:
    """The network server's, but for what a profile says of its devices' radio."""
    said = {
        "min_data_rate": profile.adr_min_data_rate,
        "max_data_rate": profile.adr_max_data_rate,
        "min_tx_power": profile.adr_min_tx_power,
        "max_tx_power": profile.adr_max_tx_power,
    }
    return replace(
        policy,
        rx1_delay=policy.rx1_delay if profile.rx1_delay is None else profile.rx1_delay,
        rx_params=policy.rx_params
        if profile.rx2_data_rate is None
        else RxParamSetupReq(0, profile.rx2_data_rate, policy.region.rx2_frequency),
        adr=policy.adr if profile.adr is None else profile.adr,
        adr_bounds=replace(NO_BOUNDS, **{name: bound for name, bound in said.items() if bound is not None}),
    )


class SessionTable:
    """Open sessions by id, by DevAddr (several devices may share one) and by device."""

    def __init__(self) -> None:
        # Held while sessions are saved and memory is updated, so that no reader sees the one without the other.
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
        return next((held for held in reversed(self.of_device(device_id)) if held.progress.state.started), None)

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
        """Take over committed progress; a session that was removed in the meantime is left alone.

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
