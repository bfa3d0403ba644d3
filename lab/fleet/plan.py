"""A fleet to be: its gateways and devices, their keys, places and sensors; the same name always gives the same."""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lab.device import sensors
from lab.device.application import Application
from lorawan.identifiers import DevEui, GatewayId, JoinEui

JOIN_EUI = JoinEui(bytes.fromhex("70b3d57ed0001000"))
CENTRE = (48.39, -4.10)  # Between Brest and Landerneau.
EXTENT = (0.18, 0.35)

COMMUNES = (
    "Brest", "Guipavas", "Landerneau", "Le Relecq-Kerhuon", "Plougastel-Daoulas", "Gouesnou", "Bohars", "Guilers",
    "Plouzané", "La Forest-Landerneau", "Saint-Divy", "Dirinon",
)  # fmt: skip
# The territory in rows and columns, from its south-west: a commune each (`lab.fleet.communes` draws them).
GRID = (3, 4)
STREETS = (
    "rue de la Mairie", "rue des Écoles", "place du Marché", "rue du Port", "avenue de la Gare", "rue Pasteur",
    "rue de Kerlaurent", "route de Landerneau", "rue Anatole-France", "rue du Vieux-Bourg",
)  # fmt: skip

CONTAINER = {"container": {"empty_distance_mm": sensors.EMPTY_MM, "full_distance_mm": sensors.FULL_MM}}


@dataclass(frozen=True, slots=True)
class Profile:
    """A device profile."""

    name: str
    vendor: str
    model: str
    codec: str
    device_class: str = "A"
    codec_options: tuple[tuple[str, Any], ...] = ()
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """Devices that are alike; `application(source, number)` makes the sensor of one."""

    profile: Profile
    asset_kind: str
    label: str
    application: Callable[[random.Random, int], Application]
    values: int = 0
    """In one uplink, where a benchmark counts on it."""


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """A device to provision: its keys, its profile, and the asset that it serves."""

    number: int
    dev_eui: DevEui
    app_key: bytes
    profile: Profile
    asset_kind: str
    asset_name: str
    commune: str
    street: str
    latitude: float
    longitude: float
    application: Application

    @property
    def attributes(self) -> dict[str, Any]:
        """What the asset's codec needs to know of it."""
        return CONTAINER if "container" in self.asset_kind else {}


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """A gateway to provision: Semtech UDP, ChirpStack's contract by MQTT, or Basics Station with a token."""

    gateway_id: GatewayId
    name: str
    latitude: float
    longitude: float
    speaks: Literal["udp", "mqtt", "station"] = "udp"


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """Everything that a demonstration, a load or a storm is made of."""

    name: str
    gateways: list[GatewayPlan] = field(default_factory=list[GatewayPlan])
    devices: list[DevicePlan] = field(default_factory=list[DevicePlan])


def plan_fleet(name: str, kinds: Sequence[Kind], gateways: int, *, mqtt_every: int = 0) -> FleetPlan:
    """A device of each of these kinds, and so many gateways (`plan_gateways`)."""
    return FleetPlan(
        name,
        plan_gateways(gateways, name, mqtt_every=mqtt_every),
        [plan_device(kind, number, name) for number, kind in enumerate(kinds)],
    )


def plan_gateways(count: int, name: str, *, mqtt_every: int = 0) -> list[GatewayPlan]:
    """`count` gateways on UDP; with `mqtt_every` each of that number speaks MQTT, and the others have tokens."""
    source = random.Random(f"{name} gateways")
    return [
        GatewayPlan(
            GatewayId(b"\x00\x80" + _octets(f"{name} gateway {number}", 6)),
            f"Passerelle {COMMUNES[number % len(COMMUNES)]} {number + 1}",
            *place(source),
            speaks=_protocol(number, mqtt_every),
        )
        for number in range(count)
    ]


def _protocol(number: int, mqtt_every: int) -> Literal["udp", "mqtt", "station"]:
    if not mqtt_every:
        return "udp"
    return "mqtt" if number % mqtt_every == mqtt_every - 1 else "station"


def plan_device(kind: Kind, number: int, name: str) -> DevicePlan:
    """The device of this number in the fleet of this name."""
    source = random.Random(f"{name} device {number}")
    source.choice(COMMUNES)  # Whatever else is drawn stays what it was before places said the commune.
    street = source.choice(STREETS)
    latitude, longitude = place(source)
    return DevicePlan(
        number=number,
        dev_eui=DevEui(b"\x70\xb3\xd5" + _octets(f"{name} dev_eui {number}", 5)),
        app_key=_octets(f"{name} app_key {number}", 16),
        profile=kind.profile,
        asset_kind=kind.asset_kind,
        asset_name=f"{kind.label} {number + 1}",
        commune=commune_at(latitude, longitude),
        street=f"{source.randint(1, 60)} {street}",
        latitude=latitude,
        longitude=longitude,
        application=kind.application(source, number),
    )


def commune_at(latitude: float, longitude: float) -> str:
    """In which commune of the fleet a place is."""
    rows, columns = GRID
    row = int((latitude - (CENTRE[0] - EXTENT[0] / 2)) / EXTENT[0] * rows)
    column = int((longitude - (CENTRE[1] - EXTENT[1] / 2)) / EXTENT[1] * columns)
    return COMMUNES[max(0, min(rows - 1, row)) * columns + max(0, min(columns - 1, column))]


def _octets(seed: str, length: int) -> bytes:
    return hashlib.sha256(seed.encode()).digest()[:length]


def place(source: random.Random) -> tuple[float, float]:
    """Latitude and longitude of something in the fleet's territory."""
    return (
        round(CENTRE[0] + source.uniform(-1, 1) * EXTENT[0] / 2, 6),
        round(CENTRE[1] + source.uniform(-1, 1) * EXTENT[1] / 2, 6),
    )
