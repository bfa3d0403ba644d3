"""The demonstration's fleet, in the proportions of a French department's pilot network."""

import hashlib
import random
from dataclasses import dataclass
from typing import Any

from lab.simulator import sensors
from lab.simulator.device import Application

GATEWAYS = 24
JOIN_EUI = bytes.fromhex("70b3d57ed0001000")
CENTRE = (48.39, -4.10)  # Between Brest and Landerneau.
EXTENT = (0.18, 0.35)

COMMUNES = (
    "Brest", "Guipavas", "Landerneau", "Le Relecq-Kerhuon", "Plougastel-Daoulas", "Gouesnou", "Bohars", "Guilers",
    "Plouzané", "La Forest-Landerneau", "Saint-Divy", "Dirinon",
)  # fmt: skip
STREETS = (
    "rue de la Mairie", "rue des Écoles", "place du Marché", "rue du Port", "avenue de la Gare", "rue Pasteur",
    "rue de Kerlaurent", "route de Landerneau", "rue Anatole-France", "rue du Vieux-Bourg",
)  # fmt: skip

CONTAINER = {"container": {"empty_distance_mm": sensors.EMPTY_MM, "full_distance_mm": sensors.FULL_MM}}


@dataclass(frozen=True, slots=True)
class Profile:
    """A device profile of the demonstration."""

    name: str
    vendor: str
    model: str
    codec: str
    device_class: str = "A"
    codec_options: tuple[tuple[str, Any], ...] = ()
    capabilities: tuple[str, ...] = ()


EM400 = Profile("Bac à verre EM400", "Milesight", "EM400-UDL", "milesight.em400")
EM310 = Profile("Conteneur EM310", "Milesight", "EM310-UDL", "milesight.em310")
CABINET = Profile(
    "Armoire Triphas'O", "Watteco", "Triphas'O", "watteco.triphaso", device_class="C", capabilities=("switch",)
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

# (how many, device profile, asset kind, asset name)
PILOT = (
    (400, CABINET, "lighting_cabinet", "Armoire"),
    (120, LIGHT_POINT, "light_point", "Point lumineux"),
    (88, EM400, "glass_container", "Borne à verre"),
    (70, EM310, "waste_container", "Conteneur"),
    (25, LINKY_WATTECO, "electricity_meter", "Compteur électrique"),
    (25, LINKY_ADEUNIS, "electricity_meter", "Compteur communal"),
    (240, WATER, "water_meter", "Compteur d'eau"),
    (180, PULSE, "sub_meter", "Sous-compteur"),
    (60, ERS_CO2, "room", "Salle de classe"),
    (50, AM103, "room", "Bureau"),
    (30, AM319, "room", "Crèche"),
)
PILOT_DEVICES = sum(count for count, *_ in PILOT)


@dataclass(frozen=True, slots=True)
class Plan:
    """A device to provision: its keys, its profile, and the asset that it serves."""

    dev_eui: bytes
    app_key: bytes
    profile: Profile
    asset_kind: str
    asset_name: str
    commune: str
    street: str
    latitude: float
    longitude: float
    attributes: dict[str, Any]
    application: Application


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """A gateway to provision; one in four speaks MQTT, the others UDP."""

    gateway_id: bytes
    name: str
    latitude: float
    longitude: float
    speaks_mqtt: bool


def _octets(seed: str, length: int) -> bytes:
    return hashlib.sha256(seed.encode()).digest()[:length]


def _place(source: random.Random) -> tuple[float, float]:
    return (
        round(CENTRE[0] + source.uniform(-1, 1) * EXTENT[0] / 2, 6),
        round(CENTRE[1] + source.uniform(-1, 1) * EXTENT[1] / 2, 6),
    )


def plan_gateways(count: int, name: str) -> list[GatewayPlan]:
    """`count` gateways; the same `name` always gives the same."""
    source = random.Random(f"{name} gateways")
    return [
        GatewayPlan(
            b"\x00\x80" + _octets(f"{name} gateway {number}", 6),
            f"Passerelle {COMMUNES[number % len(COMMUNES)]} {number + 1}",
            *_place(source),
            speaks_mqtt=number % 4 == 3,  # noqa: PLR2004 - One in four.
        )
        for number in range(count)
    ]


def _application(profile: Profile, number: int, source: random.Random) -> Application:
    match profile.codec:
        case "milesight.em400" | "milesight.em310":
            # A few stand just below the threshold, so that the demonstration need not wait for days.
            soon = number % 20 == 0
            fill, rise = (73.5, 3.0) if soon else (source.uniform(5, 60), source.uniform(0.3, 2.5))
            return sensors.Container(source, fill=fill, rise=rise, is_em400=profile.codec == "milesight.em400")
        case "watteco.triphaso":
            return sensors.Cabinet(source, power_w=source.randint(800, 6_000) if profile is CABINET else 90)
        case "watteco.tic" | "adeunis.tic":
            form = (
                "adeunis" if profile is LINKY_ADEUNIS else ("watteco_standard", "watteco_historique")[number % 2]
            )
            serial = f"0217{number:08d}"
            return sensors.Linky(source, form, serial, source.uniform(1e5, 9e6), source.randint(300, 5_000))
        case "axioma.w1":
            return sensors.WaterMeter(source, source.randint(10_000, 900_000), source.randint(5, 60))
        case "watteco.pulse":
            return sensors.PulseMeter(source, source.randint(0, 100_000))
        case _:
            model = profile.codec.split(".")[1]
            return sensors.Air(source, model, source.uniform(500, 750), source.random())


def plan_devices(count: int, name: str) -> list[Plan]:
    """`count` devices in the pilot's proportions; the same `name` always gives the same."""
    plans: list[Plan] = []
    kinds = [(profile, kind, label) for many, profile, kind, label in PILOT for _ in range(many)]
    if count != PILOT_DEVICES:
        shuffled = random.Random(name)
        kinds = [shuffled.choice(kinds) for _ in range(count)]
    for number, (profile, kind, label) in enumerate(kinds):
        source = random.Random(f"{name} device {number}")
        commune, street = source.choice(COMMUNES), source.choice(STREETS)
        latitude, longitude = _place(source)
        plans.append(
            Plan(
                dev_eui=b"\x70\xb3\xd5" + _octets(f"{name} dev_eui {number}", 5),
                app_key=_octets(f"{name} app_key {number}", 16),
                profile=profile,
                asset_kind=kind,
                asset_name=f"{label} {number + 1}",
                commune=commune,
                street=f"{source.randint(1, 60)} {street}",
                latitude=latitude,
                longitude=longitude,
                attributes=CONTAINER if "container" in kind else {},
                application=_application(profile, number, source),
            )
        )
    return plans
