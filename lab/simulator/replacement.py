"""A container's sensor is replaced by one that never speaks, of which somebody is to be notified."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.device.device import Device
from lab.device.sensors import Container
from lab.fleet.provision import JOIN_EUI, Provisioner

NAME = "Sonde neuve"
DEV_EUI = bytes.fromhex("70b3d57050000001")
# It is missed after three times as long, and alerting looks for assignments every ten seconds.
EXPECTED_INTERVAL_S = 10.0
MISSED_WITHIN_S = 3 * EXPECTED_INTERVAL_S + 30.0


@dataclass(slots=True)
class Replacement:
    """The new sensor of a container whose former one goes on talking somewhere else."""

    api: Provisioner
    devices: Sequence[Device]
    assets: Mapping[bytes, int]
    _since: float | None = None

    async def carry_out(self) -> None:
        """Register the new sensor, and assign it to the first container that does not burn."""
        profile = await self.api.post(
            "/v1/device-profiles",
            {
                "name": NAME,
                "vendor": "Milesight",
                "model": "EM310-UDL",
                "codec": "milesight.em310",
                "expected_interval_s": EXPECTED_INTERVAL_S,
            },
        )
        await self.api.post(
            "/v1/devices",
            {
                "dev_eui": DEV_EUI.hex(),
                "join_eui": JOIN_EUI.hex(),
                "name": NAME,
                "device_profile_id": profile["id"],
                "app_key": DEV_EUI.hex() * 2,
            },
        )
        former = next(
            device
            for device in self.devices
            if isinstance(device.application, Container) and not device.application.burns
        )
        await self.api.put(f"/v1/assets/{self.assets[former.dev_eui]}/device", {"dev_eui": DEV_EUI.hex()})
        self._since = time.monotonic()

    @property
    def seconds_ago(self) -> float | None:
        """How long ago that was; None: not yet."""
        return None if self._since is None else time.monotonic() - self._since
