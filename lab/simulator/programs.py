"""The programs of the demonstration's lamps: from dusk to dawn everywhere, and a night cut for one commune."""

from collections.abc import Sequence

from lab.fleet.provision import Provisioner

PATH = "/v1/lighting-programs"
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
