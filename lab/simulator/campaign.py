"""A lighting campaign of the demonstration: some cabinets first, and the others once those have proved it."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from core.model.lighting import LampPlace, dusks_around
from lab.device.device import Device
from lab.device.sensors import Cabinet
from lab.fleet.plan import CENTRE
from lab.fleet.provision import Provisioner
from lab.simulator.street_lights import PROVED, ready
from lighting.campaigns import out_before

PATH = "/v1/lighting-campaigns"
CABINETS = 10
OFF_FOR = timedelta(minutes=30)
# The first cabinets are sent their commands one after the other, and are asked what became of them.
PROVED_WITHIN_S = 90.0


@dataclass(slots=True)
class CampaignAccount:
    """What the API says of the campaign, and what the cabinets' relays do."""

    state: str = ""
    first: int = 0
    first_proved: int = 0
    others_proved: int = 0
    waits_for_dusk: bool = False
    untrue: int = 0
    """Proved although the relay is in the other state: this must never be."""
    approved_s_ago: float | None = None


@dataclass(slots=True)
class Campaign:
    """Prepared by one key and approved by another."""

    api: Provisioner
    approver: Provisioner
    devices: Sequence[Device]
    """Those of which it takes the first that have spoken."""
    assets: Mapping[bytes, int]
    account: CampaignAccount = field(default_factory=CampaignAccount)
    _chosen: dict[int, Device] = field(default_factory=dict[int, Device])
    _id: int | None = None
    _approved_at: float = 0.0

    async def carry_out(self) -> None:
        """Prepare it and approve it, as soon as there are enough cabinets."""
        while len(ready(self.devices, class_c=True)) < CABINETS:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        self._chosen = {self.assets[one.dev_eui]: one for one in ready(self.devices, class_c=True)[:CABINETS]}
        made = await self.api.post(
            PATH,
            {
                "name": "Feu d'artifice (démonstration)",
                "action": "off",
                "off_until": (datetime.now(UTC) + OFF_FOR).isoformat(),
                "reason": "démonstration : feu d'artifice",
                "targets": {"asset_ids": sorted(self._chosen)},
            },
        )
        await self.approver.post(f"{PATH}/{made['id']}/approval", {})
        self._id, self._approved_at = made["id"], time.monotonic()

    async def settle(self) -> None:
        """Ask the API what became of it."""
        if self._id is None:
            return
        now = datetime.now(UTC)
        found = await self.api.get(f"{PATH}/{self._id}")
        targets = await self.api.get(f"{PATH}/{self._id}/targets", limit=CABINETS)
        self.account = CampaignAccount(
            state=found["state"],
            first=sum(found["canary"].values()),
            first_proved=found["canary"]["proved"],
            others_proved=found["others"]["proved"],
            waits_for_dusk=out_before(now, dusks_around(LampPlace(*CENTRE), now)) is None,
            untrue=sum(self._is_untrue(one["asset_id"], one["state"]) for one in targets["items"]),
            approved_s_ago=time.monotonic() - self._approved_at,
        )

    def _is_untrue(self, asset_id: int, state: str | None) -> bool:
        application = self._chosen[asset_id].application
        return state in PROVED and isinstance(application, Cabinet) and application.on
