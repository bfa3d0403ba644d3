"""The programs of the demonstration's lamps: from dusk to dawn everywhere, and a night cut for one commune."""

import asyncio
from collections.abc import Collection, Sequence

import httpx

from lab.fleet.provision import Provisioner, ProvisioningFailed

PATH = "/v1/lighting-programs"
SHADOWS = "/v1/lighting/shadows"
# Reports are compared once a minute.
LOOKED_AT_EVERY_S = 90.0
CUT_COMMUNE = "Landerneau"
# On Fridays and Saturdays lamps burn all night.
CUT = {
    "default": {"night_cut": ["23:30", "05:00"], "dimming": [["22:00", 60], ["06:00", 100]]},
    "rules": [{"schedule": {"dimming": [["22:00", 60], ["06:00", 100]]}, "weekdays": [5, 6]}],
}


async def assign_programs(api: Provisioner, cabinets: Sequence[int]) -> None:
    """Give every cabinet a program; where there are none of that commune, all have the first."""
    all_night = await api.post(PATH, {"name": "Du coucher au lever du soleil", "program": {}})
    cut = await api.post(PATH, {"name": f"Coupure de nuit de {CUT_COMMUNE}", "program": CUT})
    if cabinets:
        await api.post(f"{PATH}/assignments", {"program_id": all_night["id"], "asset_ids": list(cabinets)})
        await api.post(f"{PATH}/assignments", {"program_id": cut["id"], "commune": CUT_COMMUNE})


async def send_programs(
    api: Provisioner, clocks: Collection[int], every_s: float = LOOKED_AT_EVERY_S, most: int = 100
) -> None:
    """Send every clock but one its program, once it says that it holds another; that one shows what a drift is.

    What is still amiss at the next look was lost on the air, or is not reported yet: it is sent again.
    """
    sent: set[int] = set()
    waiting = set(sorted(clocks)[1:])
    while waiting:
        await asyncio.sleep(every_s)
        try:
            found = await api.get(SHADOWS, drifts=True, limit=most)
            drifting = {item["asset_id"] for item in found["items"]}
            waiting -= sent - drifting
            for asset_id in sorted(waiting & drifting):
                await api.post(f"{SHADOWS}/{asset_id}/program", {})
                sent.add(asset_id)
        except (ProvisioningFailed, httpx.HTTPError):
            continue  # It says that it holds it meanwhile, or the API is away for a moment.
