"""Who is in a load: devices of eight kinds that report five values on average, and gateways on UDP."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from lab.simulator import sensors
from lab.simulator.device import Application, Message
from lab.simulator.fleet import (
    AM103,
    CENTRE,
    COMMUNES,
    ERS_CO2,
    EXTENT,
    LINKY_ADEUNIS,
    LINKY_WATTECO,
    GatewayPlan,
    Plan,
    Profile,
)
from lab.simulator.payloads import watteco

# Different payloads of one device, prepared once: making them while playing would cost more than the radio.
POOL = 16

TRIPHASO = Profile("Sous-comptage Triphas'O", "Watteco", "Triphas'O", "watteco.triphaso")


@dataclass(slots=True)
class Meter(sensors.Silent):
    """A three-phase sub-meter: energies and powers, without the relay (Watteco Triphas'O)."""

    energy_wh: int
    power_w: int

    def next_message(self, _now_us: int) -> Message:
        """The index, which stays while the pool is made, and the power of this instant."""
        power = round(self.power_w * self.random.uniform(0.9, 1.1))
        payload = watteco.metering_800a(
            3, import_wh=self.energy_wh, active_power_w=power, reactive_power_var=round(power / 10)
        )
        return Message(sensors.WATTECO_PORT, payload)


def _air(model: str) -> Callable[[random.Random, int], Application]:
    return lambda source, _number: sensors.Air(source, model, source.uniform(450, 650), source.random())


def _linky(form: str) -> Callable[[random.Random, int], Application]:
    def make(source: random.Random, number: int) -> Application:
        return sensors.Linky(
            source, form, f"0217{number:08d}", source.uniform(1e5, 9e6), source.randint(300, 5_000)
        )

    return make


def _meter(source: random.Random, _number: int) -> Application:
    return Meter(source, source.randint(10_000, 9_000_000), source.randint(500, 9_000))


# (profile, asset kind, sensor, values per uplink), dealt in turn: five on average.
KINDS: tuple[tuple[Profile, str, Callable[[random.Random, int], Application], int], ...] = (
    (ERS_CO2, "room", _air("ers_co2"), 6),
    (AM103, "room", _air("am103"), 4),
    (LINKY_WATTECO, "electricity_meter", _linky("watteco_standard"), 4),
    (TRIPHASO, "sub_meter", _meter, 6),
    (ERS_CO2, "room", _air("ers_co2"), 6),
    (AM103, "room", _air("am103"), 4),
    (LINKY_ADEUNIS, "electricity_meter", _linky("adeunis"), 7),
    (LINKY_WATTECO, "electricity_meter", _linky("watteco_historique"), 3),
)


def _octets(seed: str, length: int) -> bytes:
    return hashlib.sha256(seed.encode()).digest()[:length]


def _place(source: random.Random) -> tuple[float, float]:
    latitude, longitude = (
        round(middle + source.uniform(-1, 1) * extent / 2, 6)
        for middle, extent in zip(CENTRE, EXTENT, strict=True)
    )
    return latitude, longitude


def plan_load_devices(count: int, name: str) -> list[Plan]:
    """`count` devices; the same `name` always gives the same."""
    plans: list[Plan] = []
    for number in range(count):
        profile, asset_kind, sensor, _ = KINDS[number % len(KINDS)]
        source = random.Random(f"{name} device {number}")
        latitude, longitude = _place(source)
        plans.append(
            Plan(
                dev_eui=b"\x70\xb3\xd5" + _octets(f"{name} dev_eui {number}", 5),
                app_key=_octets(f"{name} app_key {number}", 16),
                profile=profile,
                asset_kind=asset_kind,
                asset_name=f"Charge {number + 1}",
                commune=COMMUNES[number % len(COMMUNES)],
                street="",
                latitude=latitude,
                longitude=longitude,
                attributes={},
                application=sensor(source, number),
            )
        )
    return plans


def plan_load_gateways(count: int, name: str) -> list[GatewayPlan]:
    """`count` gateways, all of them on UDP."""
    source = random.Random(f"{name} gateways")
    return [
        GatewayPlan(
            b"\x00\x80" + _octets(f"{name} gateway {number}", 6),
            f"Passerelle {number + 1}",
            *_place(source),
            speaks_mqtt=False,
        )
        for number in range(count)
    ]


def payload_pool(application: Application, now_us: int) -> tuple[Message, ...]:
    """Payloads that this sensor sends in turn; its indexes do not move, so that they never fall."""
    return tuple(application.next_message(now_us) for _ in range(POOL))
