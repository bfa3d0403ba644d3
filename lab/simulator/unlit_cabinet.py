"""A cabinet of the demonstration whose controller is taken away while it is off: nothing can light it again."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from lab.device.device import Device
from lab.fleet.provision import Provisioner, ProvisioningFailed
from lab.simulator.street_lights import FINAL, ready

OFF_FOR = timedelta(seconds=30)
# Lighting sweeps every second, alerting takes requests and sends webhooks as often.
ORDERED_WITHIN_S = 30.0
POLL_S = 1.0


@dataclass(slots=True)
class UnlitCabinet:
    """At the end of its "off" people are asked to go there."""

    api: Provisioner
    devices: Sequence[Device]
    """Those of which it is the first that has spoken."""
    assets: Mapping[bytes, int]
    name: str = ""
    _due_at: float | None = None

    async def carry_out(self) -> None:
        """Put it out, and take its controller away once it says that it is off."""
        while not ready(self.devices, class_c=True):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        asset_id = self.assets[ready(self.devices, class_c=True)[0].dev_eui]
        asset = await self.api.get(f"/v1/assets/{asset_id}")
        body = {
            "asset_id": asset_id,
            "action": "off",
            "off_until": (datetime.now(UTC) + OFF_FOR).isoformat(),
            "reason": "démonstration : réparation",
        }
        command = await self.api.post("/v1/lighting/commands", body)
        due_at = time.monotonic() + OFF_FOR.total_seconds()
        state = ""
        while state not in FINAL and time.monotonic() < due_at - 2 * POLL_S:
            await asyncio.sleep(POLL_S)
            with suppress(ProvisioningFailed, httpx.HTTPError):
                state = (await self.api.get(f"/v1/lighting/commands/{command['id']}"))["state"]
        await self.api.delete(f"/v1/assets/{asset_id}/device")
        self.name, self._due_at = asset["name"], due_at

    @property
    def due_s_ago(self) -> float | None:
        """Since when it should be lit again; None: not yet."""
        return None if self._due_at is None else max(0.0, time.monotonic() - self._due_at)
