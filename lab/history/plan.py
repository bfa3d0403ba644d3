"""Which assets, devices and datastreams a history has: a syndicat with as many as its measurements need."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from core.model.quantities import QUANTITIES, Kind
from lab.fleet import pilot
from lab.fleet.plan import COMMUNES, CONTAINER, STREETS, Profile, place
from lab.history import sources
from lab.history.rows import Grid
from lab.history.sources import Source
from lorawan.identifiers import DevEui

TEN_MINUTES, QUARTER, HOUR, DAY = 600, 900, 3_600, 86_400
# Devices are not in step; few phases, so that weeks can share their instants.
PHASES = 12
WEEK_S = 7 * DAY
YEAR_S = 31_557_600
# Rows of one transaction; a block is what one transaction writes of one week.
BLOCK_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Channel:
    """One quantity of an asset, how often it is read, and what makes its values."""

    quantity: str
    step_s: int
    make: Callable[[Random], Source]
    seeded_by: str = ""
    """Channels of one asset that are seeded alike agree with each other."""

    @property
    def kind(self) -> Kind:
        """How its values may be aggregated."""
        return QUANTITIES[self.quantity].kind

    @property
    def is_index(self) -> bool:
        """Whether only differences of its values mean something."""
        return self.kind is Kind.COUNTER

    @property
    def unit(self) -> str:
        """UCUM."""
        return QUANTITIES[self.quantity].unit


@dataclass(frozen=True, slots=True)
class Group:
    """Assets of one kind; `share` of them in a history of 100 million measurements in one year."""

    share: int
    profile: Profile
    asset_kind: str
    label: str
    channels: tuple[Channel, ...]


def _room(usage: str) -> tuple[Channel, ...]:
    return (
        Channel("co2", TEN_MINUTES, partial(sources.RoomCo2, usage=usage)),
        Channel("temperature", TEN_MINUTES, partial(sources.RoomTemperature, usage=usage)),
        Channel("relative_humidity", TEN_MINUTES, sources.RoomHumidity),
    )


_BATTERY = Channel("battery_level", DAY, sources.Battery)
GROUPS = (
    Group(270, pilot.ERS_CO2, "room", "Salle de classe", _room("classroom")),
    Group(65, pilot.AM103, "room", "Bureau", _room("office")),
    Group(28, pilot.AM319, "room", "Crèche", _room("creche")),
    Group(
        360,
        pilot.EM400,
        "glass_container",
        "Borne à verre",
        (Channel("fill_level", HOUR, partial(sources.FillLevel, is_glass=True)), _BATTERY),
    ),
    Group(
        850,
        pilot.EM310,
        "waste_container",
        "Conteneur",
        (Channel("fill_level", 2 * HOUR, partial(sources.FillLevel, is_glass=False)), _BATTERY),
    ),
    Group(
        650,
        pilot.WATER,
        "water_meter",
        "Compteur d'eau communal",
        (Channel("water_volume", HOUR, partial(sources.WaterIndex, usage="office")),),
    ),
    Group(
        3_500,
        pilot.WATER,
        "water_meter",
        "Compteur d'eau",
        (Channel("water_volume", 6 * HOUR, partial(sources.WaterIndex, usage="home")),),
    ),
    Group(
        180,
        pilot.LINKY_WATTECO,
        "electricity_meter",
        "Compteur électrique",
        (
            Channel("active_energy_import", QUARTER, partial(sources.Energy, usage="office"), "load"),
            Channel("active_power", QUARTER, partial(sources.Power, usage="office"), "load"),
        ),
    ),
    Group(
        380,
        pilot.PULSE,
        "sub_meter",
        "Sous-compteur de chauffage",
        (Channel("pulse_count", HOUR, partial(sources.Pulses, heats=True)),),
    ),
    Group(
        380,
        pilot.CABINET,
        "lighting_cabinet",
        "Armoire",
        (
            Channel("active_energy_import", HOUR, partial(sources.LampEnergy, watts=3_500), "lamps"),
            Channel("active_power", HOUR, partial(sources.LampPower, watts=3_500), "lamps"),
            Channel("switch_state", 6 * HOUR, partial(sources.LampState, watts=3_500), "lamps"),
        ),
    ),
    Group(
        3_450,
        pilot.LIGHT_POINT,
        "light_point",
        "Point lumineux",
        (Channel("active_power", 12 * HOUR, partial(sources.LampPower, watts=60)),),
    ),
)
FILLER = GROUPS[-1]
GLASS = next(group for group in GROUPS if group.asset_kind == "glass_container")
# A round's worth: what `bench queries` asks for.
GLASS_LEAST = 88


@dataclass(frozen=True, slots=True)
class AssetPlan:
    """An asset and the device that serves it."""

    number: int
    group: Group
    asset_name: str
    dev_eui: DevEui
    app_key: bytes
    commune: str
    street: str
    latitude: float
    longitude: float

    @property
    def profile(self) -> Profile:
        """Of its device."""
        return self.group.profile

    @property
    def asset_kind(self) -> str:
        """Of all of its group."""
        return self.group.asset_kind

    @property
    def attributes(self) -> dict[str, Any]:
        """What the asset's codec needs to know of it."""
        return CONTAINER if "container" in self.group.asset_kind else {}


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """A datastream to be: the asset's number, and which of its group's channels."""

    asset_number: int
    channel: Channel
    grid: Grid
    seed: str

    def source(self) -> Source:
        """A new source, which begins with the first day."""
        return self.channel.make(Random(self.seed))


def rows_per_second(group: Group) -> float:
    """Of one asset of this group."""
    return sum(1 / channel.step_s for channel in group.channels)


def plan_assets(measurements: int, years: int, seed: str, at_least: int = 0) -> list[AssetPlan]:
    """The fleet that reports at least this many measurements in these years; the same for the same seed.

    With `at_least` so many assets, 88 of them glass containers; light points, which report little, fill the rest.
    """
    # A year may be a quarter of a day shorter than YEAR_S.
    wanted = measurements / (years * YEAR_S) * 1.001
    scale = wanted / sum(group.share * rows_per_second(group) for group in GROUPS)
    missing = at_least - scale * sum(group.share for group in GROUPS)
    if missing > 0:
        scale = max(0.0, _scale_with_filler(wanted, at_least))
    counts = {group: max(1, math.ceil(group.share * scale)) for group in GROUPS}
    if at_least:
        counts[GLASS] = max(counts[GLASS], GLASS_LEAST)
    counts[FILLER] += max(0, at_least - sum(counts.values()))
    groups = [group for group, count in counts.items() for _ in range(count)]
    return [_plan_asset(number, group, seed) for number, group in enumerate(groups)]


def _scale_with_filler(wanted: float, assets: int) -> float:
    """Of all groups, when the filler makes up for what is missing of the assets: rows and assets both come out."""
    shares = sum(group.share for group in GROUPS)
    rates = sum(group.share * rows_per_second(group) for group in GROUPS)
    rate = rows_per_second(FILLER)
    return (wanted - assets * rate) / (rates - shares * rate)


def _plan_asset(number: int, group: Group, seed: str) -> AssetPlan:
    source = Random(f"{seed} asset {number}")
    key = hashlib.sha256(f"{seed} device {number}".encode()).digest()
    commune, street = source.choice(COMMUNES), f"{source.randint(1, 60)} {source.choice(STREETS)}"
    latitude, longitude = place(source)
    return AssetPlan(
        number=number,
        group=group,
        asset_name=f"{group.label} {number + 1}",
        dev_eui=DevEui(b"\x70\xb3\xd5" + key[:5]),
        app_key=key[16:],
        commune=commune,
        street=street,
        latitude=latitude,
        longitude=longitude,
    )


def plan_series(assets: Sequence[AssetPlan], seed: str) -> list[SeriesPlan]:
    """Every datastream, those of one group's channel together: their blocks then have one rhythm."""
    return [
        SeriesPlan(
            asset.number,
            channel,
            Grid(channel.step_s, _phase(channel, asset.number), channel.is_index),
            f"{seed} {asset.number} {channel.seeded_by or channel.quantity}",
        )
        for group in GROUPS
        for channel in group.channels
        for asset in assets
        if asset.group is group
    ]


def _phase(channel: Channel, number: int) -> int:
    # Water meters log at the full hour, which ends the hour before.
    if channel.quantity == "water_volume":
        return 0
    return number * 7 % PHASES * channel.step_s // PHASES


def plan_blocks(series: Sequence[SeriesPlan]) -> list[range]:
    """Runs of series that make about BLOCK_ROWS in a week; indexes, states and others never share one."""
    blocks: list[range] = []
    first, rows = 0, 0
    for number, one in enumerate(series):
        is_other = _rolled_up_as(one) != _rolled_up_as(series[first])
        if is_other or rows >= BLOCK_ROWS:
            blocks.append(range(first, number))
            first, rows = number, 0
        rows += WEEK_S // one.grid.step_s
    if series:
        blocks.append(range(first, len(series)))
    return blocks


def _rolled_up_as(series: SeriesPlan) -> Kind | None:
    return series.channel.kind if series.channel.kind in (Kind.COUNTER, Kind.BOOLEAN) else None
