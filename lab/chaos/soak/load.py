"""How much a soak carries: so many times the pilot, and what the bus keeps of it."""

from typing import TypedDict

from lab.fleet.pilot import PILOT_DEVICES

TIMES_THE_PILOT = 10.0
# So that in the warm-up every device was seen several times.
DEVICE_EVERY_S = 60.0
# The bus keeps measurements in memory, for an hour as a rule: what fills up for so long is no leak.
KEPT_FOR_S = 60.0


class SoakLoad(TypedDict):
    """How many devices send, and how many uplinks a second."""

    devices: int
    rate: float


def soak_load(times: float = TIMES_THE_PILOT) -> SoakLoad:
    """So many times the pilot, each device once a minute."""
    devices = round(times * PILOT_DEVICES)
    return {"devices": devices, "rate": round(devices / DEVICE_EVERY_S, 1)}
