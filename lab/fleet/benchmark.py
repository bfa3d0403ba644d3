"""The fleet of loads and storms: devices of eight kinds that report five values on average, gateways on UDP."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from lab.device import sensors
from lab.device.application import Application, Message
from lab.device.payloads import watteco
from lab.fleet.pilot import AM103, ERS_CO2, LINKY_ADEUNIS, LINKY_WATTECO, linky
from lab.fleet.plan import FleetPlan, Kind, Profile, plan_fleet

LABEL = "Charge"
TRIPHASO = Profile("Sous-comptage Triphas'O", "Watteco", "Triphas'O", "watteco.triphaso")


@dataclass(slots=True)
class Meter(sensors.Silent):
    """A three-phase sub-meter: energies and powers, without the relay (Watteco Triphas'O)."""

    energy_wh: int
    power_w: int

    def next_message(self, _now_us: int) -> Message:
        """The index, which stays while payloads are prepared, and the power of this instant."""
        power = round(self.power_w * self.random.uniform(0.9, 1.1))
        payload = watteco.metering_800a(
            3, import_wh=self.energy_wh, active_power_w=power, reactive_power_var=round(power / 10)
        )
        return Message(sensors.WATTECO_PORT, payload)


def _meter(source: random.Random, _number: int) -> Application:
    return Meter(source, source.randint(10_000, 9_000_000), source.randint(500, 9_000))


def _room(model: str) -> Callable[[random.Random, int], Application]:
    # Below what alerts anybody.
    return lambda source, _number: sensors.RoomAir(source, model, source.uniform(450, 650), source.random())


# Dealt in turn: five values on average.
KINDS = (
    Kind(ERS_CO2, "room", LABEL, _room("ers_co2"), values=6),
    Kind(AM103, "room", LABEL, _room("am103"), values=4),
    Kind(LINKY_WATTECO, "electricity_meter", LABEL, linky("watteco_standard"), values=4),
    Kind(TRIPHASO, "sub_meter", LABEL, _meter, values=6),
    Kind(ERS_CO2, "room", LABEL, _room("ers_co2"), values=6),
    Kind(AM103, "room", LABEL, _room("am103"), values=4),
    Kind(LINKY_ADEUNIS, "electricity_meter", LABEL, linky("adeunis"), values=7),
    Kind(LINKY_WATTECO, "electricity_meter", LABEL, linky("watteco_historique"), values=3),
)


def plan_benchmark(name: str, devices: int, gateways: int) -> FleetPlan:
    """A fleet whose devices are of these kinds in turn."""
    return plan_fleet(name, [KINDS[number % len(KINDS)] for number in range(devices)], gateways)
