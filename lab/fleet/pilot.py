"""The pilot fleet: Finistere Connect's proportions and the glass-bin trial's."""

import random
from collections.abc import Callable, Sequence

from lab.device import sensors
from lab.device.application import Application
from lab.device.lamp_clock import LampClock
from lab.fleet.plan import FleetPlan, Kind, Profile, plan_fleet

GATEWAYS = 24
# One gateway in so many speaks MQTT, the others Basics Station, each with its token.
MQTT_EVERY = 4

GLASS_CONTAINERS = 88
BREST = (48.39, -4.49)
BURNING = 7  # One of the pilot's glass containers.

EM400 = Profile("Bac à verre EM400", "Milesight", "EM400-UDL", "milesight.em400")
EM310 = Profile("Conteneur EM310", "Milesight", "EM310-UDL", "milesight.em310")
CABINET = Profile(
    "Armoire Triphas'O", "Watteco", "Triphas'O", "watteco.triphaso", device_class="C", capabilities=("switch",)
)
CLOCK = Profile(
    "Armoire à horloge",
    "Territoire",
    "Profil ouvert d'horloge",
    "territoire.clock",
    device_class="C",
    capabilities=("switch", "dim", "program"),
)
LIGHT_POINT = Profile(
    "Point lumineux Triphas'O", "Watteco", "Triphas'O", "watteco.triphaso", capabilities=("switch",)
)
LINKY_WATTECO = Profile("Linky TICs'O", "Watteco", "TICs'O", "watteco.tic")
LINKY_ADEUNIS = Profile("Linky TIC Adeunis", "Adeunis", "TIC CBE/LINKY MONO", "adeunis.tic")
WATER = Profile("Compteur W1", "Axioma", "Qalcosonic W1", "axioma.w1")
PULSE = Profile(
    "Sous-compteur Pulse Sens'O",
    "Watteco",
    "Pulse Sens'O",
    "watteco.pulse",
    codec_options=(("litres_per_pulse", 1),),
)
ERS_CO2 = Profile("ERS CO2", "Elsys", "ERS-CO2", "elsys.ers_co2")
AM103 = Profile("AM103", "Milesight", "AM103", "milesight.am103")
AM319 = Profile("AM319", "Milesight", "AM319", "milesight.am319")


def _container(*, is_em400: bool) -> Callable[[random.Random, int], Application]:
    def make(source: random.Random, number: int) -> Application:
        # A few stand just below the threshold, so that the demonstration need not wait for days.
        fill, rise = (73.5, 3.0) if number % 20 == 0 else (source.uniform(5, 60), source.uniform(0.3, 2.5))
        burns = is_em400 and number % GLASS_CONTAINERS == BURNING
        return sensors.Container(source, fill=fill, rise=rise, is_em400=is_em400, burns=burns)

    return make


def _cabinet(source: random.Random, _number: int) -> Application:
    return sensors.Cabinet(source, power_w=source.randint(800, 6_000))


def _clock(source: random.Random, _number: int) -> Application:
    # Placed by a technician who has set where it stands, to the town; nobody has sent it a program yet.
    return LampClock((source.randint(800, 6_000),), own_position=BREST, error_s=source.uniform(-5, 5))


def _light_point(source: random.Random, _number: int) -> Application:
    return sensors.Cabinet(source, power_w=90)


def linky(*forms: str) -> Callable[[random.Random, int], Application]:
    """Linkys behind transmitters of these forms in turn."""

    def make(source: random.Random, number: int) -> Application:
        form, serial = forms[number % len(forms)], f"0217{number:08d}"
        return sensors.Linky(source, form, serial, source.uniform(1e5, 9e6), source.randint(300, 5_000))

    return make


def _water_meter(source: random.Random, _number: int) -> Application:
    return sensors.WaterMeter(source, source.randint(10_000, 900_000), source.randint(5, 60))


def _pulse_meter(source: random.Random, _number: int) -> Application:
    return sensors.PulseMeter(source, source.randint(0, 100_000))


def _room(model: str) -> Callable[[random.Random, int], Application]:
    return lambda source, _number: sensors.RoomAir(source, model, source.uniform(500, 750), source.random())


# (how many, of which kind)
PILOT = (
    (388, Kind(CABINET, "lighting_cabinet", "Armoire", _cabinet)),
    (12, Kind(CLOCK, "lighting_cabinet", "Armoire à horloge", _clock)),
    (120, Kind(LIGHT_POINT, "light_point", "Point lumineux", _light_point)),
    (GLASS_CONTAINERS, Kind(EM400, "glass_container", "Borne à verre", _container(is_em400=True))),
    (70, Kind(EM310, "waste_container", "Conteneur", _container(is_em400=False))),
    (
        25,
        Kind(
            LINKY_WATTECO,
            "electricity_meter",
            "Compteur électrique",
            linky("watteco_standard", "watteco_historique"),
        ),
    ),
    (25, Kind(LINKY_ADEUNIS, "electricity_meter", "Compteur communal", linky("adeunis"))),
    (240, Kind(WATER, "water_meter", "Compteur d'eau", _water_meter)),
    (180, Kind(PULSE, "sub_meter", "Sous-compteur", _pulse_meter)),
    (60, Kind(ERS_CO2, "room", "Salle de classe", _room("ers_co2"))),
    (50, Kind(AM103, "room", "Bureau", _room("am103"))),
    (30, Kind(AM319, "room", "Crèche", _room("am319"))),
)
PILOT_DEVICES = sum(count for count, _ in PILOT)


def pilot_kinds(count: int, name: str) -> Sequence[Kind]:
    """`count` kinds in the pilot's proportions."""
    kinds = [kind for many, kind in PILOT for _ in range(many)]
    if count == PILOT_DEVICES:
        return kinds
    shuffled = random.Random(name)
    return [shuffled.choice(kinds) for _ in range(count)]


def plan_pilot(name: str, devices: int = PILOT_DEVICES, gateways: int = GATEWAYS) -> FleetPlan:
    """A fleet of the pilot's proportions."""
    return plan_fleet(name, pilot_kinds(devices, name), gateways, mqtt_every=MQTT_EVERY)
