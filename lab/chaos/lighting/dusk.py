"""Dusk without the network server: clocks light by themselves, and who will stay dark is named before."""

import asyncio
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from lab.chaos.case import Act
from lab.chaos.lighting.cabinets import Street, open_street, place_with_dusk_at
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.lighting.real import RealTime
from lorawan.instants import to_us

# The hour in which unlit circuits are named has begun; dusk itself is looked at by the clocks' own time.
DUSK_IN, AFTER_DUSK = timedelta(minutes=20), timedelta(minutes=2)
# The network server is away for two minutes before anybody is named; then a sweep, and the alert.
NAMED_WITHIN_S, LOOKED_AT_EVERY_S = 240.0, 2.0
RULE = "relight_failed"
MOST = 100


def dusk_without_network(cabinets: int) -> Act:
    """The network server dies before dusk and stays away; half of so many cabinets have a clock."""

    async def act(scene: Scene) -> None:
        dusk = datetime.now(UTC) + DUSK_IN
        async with open_street(scene, cabinets, place_with_dusk_at(dusk)) as street:
            await street.report()
            await scene.lead()
            scene.processes.hold("network")
            try:
                scene.strike("network", signal.SIGKILL)
                for relay in street.relays.values():
                    relay.on = False  # As by day: nobody can light it any more.
                await street.assign({})
                named = await _until_named(street)
                before_dusk = datetime.now(UTC) < dusk
            finally:
                scene.processes.let_go("network")
                scene.recover_from_now()
            found = [] if before_dusk else ["nommées après le coucher du soleil"]
            found += [f"relais {number} : pas nommé" for number in street.relays if number not in named]
            found += [f"horloge {number} : nommée" for number in street.clocks if number in named]
            for number, clock in street.clocks.items():
                by_day, by_night = clock.levels(RealTime().now_us), clock.levels(to_us(dusk + AFTER_DUSK))
                if by_day != [0] or by_night != [100]:
                    found.append(f"horloge {number} : {by_day} % avant le coucher du soleil, {by_night} % après")
            scene.notes.append(f"{len(named)} relais nommés, {len(street.clocks)} horloges allumées")
            if found:
                raise CaseFailed("; ".join(found[:10]))

    return act


async def _until_named(street: Street) -> dict[int, dict[str, Any]]:
    """The alerts that name somebody, by asset, once as many are named as there are relays."""
    deadline = time.monotonic() + NAMED_WITHIN_S
    while True:
        page = await street.real.api.get("/v1/alerts", limit=MOST)
        named = {one["asset_id"]: one for one in page["items"] if one["rule"] == RULE}
        if len(named) >= len(street.relays) or time.monotonic() > deadline:
            return named
        await asyncio.sleep(LOOKED_AT_EVERY_S)
