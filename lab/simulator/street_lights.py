"""The lighting part of the demonstration: a few streets are put out for a while, and lit again."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lab.device.device import Device
from lab.device.sensors import Cabinet
from lab.fleet.provision import Provisioner, ProvisioningFailed

CABINETS = 6
LIGHT_POINTS = 4
OFF_FOR = timedelta(minutes=30)
BETWEEN_COMMANDS_S = 1.0
# A light point of class A gets the command within its interval, and answers at once.
READ_BACK_WITHIN_S = 60.0
# The cabinet itself has said so.
PROVED = frozenset({"applied", "confirmed"})
FINAL = PROVED | {"unproven", "failed", "expired", "superseded"}


def ready(devices: Sequence[Device], *, class_c: bool) -> list[Device]:
    """Those with a relay that have joined, and have spoken since: the network knows how to reach them."""
    return [
        device
        for device in devices
        if isinstance(device.application, Cabinet)
        and device.is_class_c is class_c
        and device.session is not None
        and device.session.f_cnt_up > 0
    ]


@dataclass(slots=True)
class LightingAccount:
    """What was asked, and what came of it, by the API's word and by the devices' relays."""

    requested: int = 0
    refused: list[str] = field(default_factory=list[str])
    states: dict[str, int] = field(default_factory=dict[str, int])
    confirmed_class_a: int = 0
    confirmed_class_c: int = 0
    # Commands that are confirmed although the relay is in the other state: this must never be.
    untrue: int = 0
    failures: list[str] = field(default_factory=list[str])
    # Ended without a confirmation, or open for longer than READ_BACK_WITHIN_S.
    unconfirmed_class_a: int = 0
    unconfirmed_class_c: int = 0


@dataclass(slots=True)
class StreetLights:
    """Commands to some cabinets (class C) and light points (class A) of the fleet."""

    api: Provisioner
    devices: Sequence[Device]
    assets: dict[bytes, int]
    account: LightingAccount = field(default_factory=LightingAccount)
    # Their ids, whom they are for, and when they were asked for by the monotonic clock.
    _commands: list[tuple[int, Device, float]] = field(default_factory=list[tuple[int, Device, float]])

    async def put_out(self) -> None:
        """Wait until enough lights have joined, then put them out, one after the other."""
        cabinets, light_points = list[Device](), list[Device]()
        while len(cabinets) < CABINETS or len(light_points) < LIGHT_POINTS:
            await asyncio.sleep(0.5)
            cabinets, light_points = (ready(self.devices, class_c=class_c) for class_c in (True, False))
        chosen = cabinets[:CABINETS] + light_points[:LIGHT_POINTS]
        for device in chosen:
            body = {
                "asset_id": self.assets[device.dev_eui],
                "action": "off",
                "off_until": (datetime.now(UTC) + OFF_FOR).isoformat(),
                "reason": "démonstration : coupure de nuit",
            }
            self.account.requested += 1
            try:
                command = await self.api.post("/v1/lighting/commands", body)
            except ProvisioningFailed as refused:
                self.account.refused.append(str(refused))
            else:
                self._commands.append((command["id"], device, time.monotonic()))
            await asyncio.sleep(BETWEEN_COMMANDS_S)

    async def settle(self) -> None:
        """Ask the API what became of every command."""
        for command_id, device, asked_at in self._commands:
            command = await self.api.get(f"/v1/lighting/commands/{command_id}")
            self._record_command(command, device, time.monotonic() - asked_at)

    def _record_command(self, command: dict[str, Any], device: Device, open_s: float) -> None:
        state = command["state"]
        self.account.states[state] = self.account.states.get(state, 0) + 1
        if state in PROVED:
            self.account.confirmed_class_c += device.is_class_c
            self.account.confirmed_class_a += not device.is_class_c
            application = device.application
            self.account.untrue += isinstance(application, Cabinet) and application.on
        elif state in FINAL:
            self.account.failures.append(f"{device.dev_eui.hex()}: {state} {command.get('failure') or ''}")
        if state not in PROVED and (state in FINAL or open_s > READ_BACK_WITHIN_S):
            self.account.unconfirmed_class_c += device.is_class_c
            self.account.unconfirmed_class_a += not device.is_class_c
