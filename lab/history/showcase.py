"""Months that the demonstration has behind it, made so that each figure is known before it is asked.

A school that was insulated and a town hall that was not, rooms whose air is good, bad and worse, a week's leak,
bins of one commune, cabinets. What is expected is counted here, from the values that are written, by none of the
code of `indicators`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from core.model.calendar_buckets import moved
from lab.fleet import pilot
from lab.fleet.plan import COMMUNES, Profile
from lab.history import sources
from lab.history.days import Day, make_day
from lab.history.plan import AssetPlan, Channel, Group, SeriesPlan
from lab.history.rows import Grid, make_template
from lab.history.shapes import SLOTS_OF_A_DAY
from lab.history.sources import EVENLY, Source
from lorawan.identifiers import DevEui

SEED = "vitrine"
COMMUNE = "Landerneau"
PLACE = (48.451, -4.249)
HOUR_S, SIX_HOURS_S = 3_600, 21_600
# Rarer than it speaks: a demonstration goes on for hours after what its history has said last.
EXPECTED_S = SIX_HOURS_S
FULL = 75.0
BINS = (2.0, 2.5, 3.0, 1.5, 4.0, 2.2)  # Points in six hours.
SILENT_BIN = len(BINS) - 1
SILENT_DAYS = 3
# So long stands what a sensor has said that is expected every six hours.
HELD = timedelta(hours=12)
QUARTER_S = 900
SAVED = 0.25
LEAK_L_H, LEAK_DAYS = 40, 7
LEAK_FROM_DAY = 8
LITRES_A_DAY = 720
ROOMS = {"Salle des petits": 620.0, "Salle des moyens": 1_240.0, "Salle des grands": 1_960.0}
ICONES = {"Salle des petits": 0.0, "Salle des moyens": 2.5, "Salle des grands": 5.0}
CABINET_W = 3_500
CABINETS = 2
SCHOOL, TOWN_HALL = "École Jules-Ferry", "Mairie"
METERED = {SCHOOL: SAVED, TOWN_HALL: 0.0}
BUILDINGS: dict[str, dict[str, Any]] = {
    SCHOOL: {"surface_m2": 1_850, "occupants": 240},
    TOWN_HALL: {"surface_m2": 920, "occupants": 35},
}
# Months before this one: a year before the works, their month, and fourteen since.
ENERGY_MONTHS, WORKS_MONTHS_AGO = 27, 15
# So that the last month stands beside that of the year before.
OTHER_MONTHS = 13


class Filling:
    """Per cent: so many points at each reading, emptied by the next one after it was nearly full."""

    def __init__(self, _random: Random, points: float) -> None:
        self._points, self._level = points, 5.0

    def day(self, day: Day, slots: slice) -> list[float]:  # noqa: ARG002 - As all sources.
        """Tenths of a per cent."""
        values: list[float] = []
        for _ in range(SLOTS_OF_A_DAY + 8)[slots]:
            values.append(round(self._level, 1))
            self._level = 5.0 if self._level > 97 else min(100.0, self._level + self._points)  # noqa: PLR2004
        return values


class Heating:
    """Watt-hours of a building: so many a day, so many a degree day, and a share less since its works."""

    def __init__(self, source: Random, works_until: date, saved: float) -> None:
        self._random, self._works_until, self._saved = source, works_until, saved
        self._index = 1_000_000.0

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole watt-hours."""
        drawn = (60_000 + 22_000 * max(0.0, 18.0 - day.temperature)) * self._random.uniform(0.9, 1.1)
        if day.date >= self._works_until:
            drawn *= 1 - self._saved
        before = self._index
        self._index += round(drawn)
        return [float(round(before + drawn * passed)) for passed in EVENLY[slots]]


class LeakingTap:
    """Litres of a school: drawn by day, and so many an hour for the days on which it leaks."""

    def __init__(self, source: Random, leak_from: date) -> None:
        self._leaks = range(leak_from.toordinal(), leak_from.toordinal() + LEAK_DAYS)
        self._shape = source.choice(sources.TAPS["work"])
        self._index = 120_000

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole litres."""
        drawn = LITRES_A_DAY if day.is_school else 0
        hours = (day.end_us - day.start_us) / 3.6e9
        leak = LEAK_L_H * hours if day.date.toordinal() in self._leaks else 0.0
        before = self._index
        self._index += drawn + round(leak)
        return [
            float(round(before + drawn * taken + min(leak, LEAK_L_H * slot / 6)))
            for slot, taken in zip(range(len(self._shape))[slots], self._shape[slots], strict=True)
        ]


class ClassAir:
    """ppm: outdoor air at night and on weekends, one level all day long otherwise."""

    def __init__(self, source: Random, ppm: float) -> None:
        self._random, self._ppm = source, ppm

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole ppm, within thirty of the level."""
        is_weekday = day.weekday < 5  # noqa: PLR2004 - Monday to Friday.
        return [
            float(round(self._ppm + self._random.uniform(-30, 30))) if is_weekday and 6 <= slot / 6 < 20 else 430.0  # noqa: PLR2004
            for slot in range(SLOTS_OF_A_DAY + 8)[slots]
        ]


@dataclass(frozen=True, slots=True)
class Member:
    """An asset with the device that serves it; `parent`: the building to which it belongs."""

    plan: AssetPlan
    series: tuple[SeriesPlan, ...]
    parent: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    silent_from: date | None = None


@dataclass(frozen=True, slots=True)
class Showcase:
    """All of it, as it is on one day: `month` is the first day of the last whole month, `after` of this one."""

    zone: ZoneInfo
    today: date
    members: tuple[Member, ...]

    @property
    def after(self) -> date:
        """The first day of this month."""
        return self.today.replace(day=1)

    @property
    def month(self) -> date:
        """The first day of the month that is asked about."""
        return moved(self.after, "month", -1)

    @property
    def works(self) -> date:
        """The first day of the month of the works."""
        return moved(self.after, "month", -WORKS_MONTHS_AGO)

    def since(self, member: Member) -> date:
        """From when on it has said something."""
        is_long = member.plan.asset_kind == "electricity_meter"
        return moved(self.after, "month", -(ENERGY_MONTHS if is_long else OTHER_MONTHS))

    def spans(self, member: Member) -> list[tuple[date, date]]:
        """The days of which there are readings."""
        since, silent = self.since(member), member.silent_from
        if silent is None:
            return [(since, self.today)]
        return [(since, silent), (silent + timedelta(days=SILENT_DAYS), self.today)]

    def readings(self, member: Member, quantity: str) -> Iterator[tuple[datetime, float]]:
        """What is written of a quantity, in order: as the loader makes it, day by day."""
        [plan] = [one for one in member.series if one.channel.quantity == quantity]
        for since, until in self.spans(member):
            source: Source = plan.source()
            for number in range((until - since).days):
                day = make_day(since + timedelta(days=number), self.zone)
                template = make_template(plan.grid, [day])
                first = plan.grid.first_from(day.start_us)
                for place, value in enumerate(source.day(day, template.slots[0])):
                    at = (first + place) * plan.grid.step_s + plan.grid.phase_s
                    yield datetime.fromtimestamp(at, UTC), value

    def full_days(self) -> tuple[float, float]:
        """Days of all bins in the month at 75 % or above, and those of which nobody knows."""
        above = unknown = 0.0
        for one in self.members:
            if one.plan.asset_kind != "glass_container":
                continue
            for (at, value), (following, _) in pairwise(self.readings(one, "fill_level")):
                known_until = min(following, at + HELD)
                above += self._days_of_month(at, known_until) if value >= FULL else 0.0
                unknown += self._days_of_month(known_until, following)
        return above, unknown

    def emptyings(self) -> int:
        """How often one of them fell from nearly full in the month."""
        begin, end = self._edges
        return sum(
            before - after > FULL - 5.0 and begin <= at < end
            for one in self.members
            if one.plan.asset_kind == "glass_container"
            for (_, before), (at, after) in pairwise(self.readings(one, "fill_level"))
        )

    @property
    def _edges(self) -> tuple[datetime, datetime]:
        begin, end = (
            datetime.combine(day, datetime.min.time(), self.zone).astimezone(UTC)
            for day in (self.month, self.after)
        )
        return begin, end

    def _days_of_month(self, since: datetime, until: datetime) -> float:
        """Local days of the month between two instants, by quarters of an hour: a day in October has 25 hours."""
        days = 0.0
        for quarter in range(round((until - since).total_seconds() / QUARTER_S)):
            day = datetime.fromtimestamp(since.timestamp() + QUARTER_S * quarter, self.zone).date()
            if self.month <= day < self.after:
                days += QUARTER_S / self._length_s(day)
        return days

    def _length_s(self, day: date) -> float:
        begin, end = (
            datetime.combine(one, datetime.min.time(), self.zone) for one in (day, day + timedelta(days=1))
        )
        return end.timestamp() - begin.timestamp()

    def lighting_kwh(self) -> float:
        """Of all cabinets in the month: the index at its end less that at its beginning."""
        total = 0.0
        for one in self.members:
            if one.plan.asset_kind == "lighting_cabinet":
                index = {at: value for at, value in self.readings(one, "active_energy_import")}  # noqa: C416
                begin, end = (
                    datetime.combine(day, datetime.min.time(), self.zone) for day in (self.month, self.after)
                )
                total += (index[end] - index[begin]) / 1_000
        return total

    @property
    def leaked_litres(self) -> int:
        """Of the week's leak."""
        return LEAK_L_H * 24 * LEAK_DAYS


def plan_showcase(today: date, zone: ZoneInfo) -> Showcase:
    """The same on the same day."""
    month = moved(today.replace(day=1), "month", -1)
    works_until = moved(today.replace(day=1), "month", 1 - WORKS_MONTHS_AGO)
    members: list[Member] = []

    def append_member(
        name: str, profile: Profile, kind: str, channels: Sequence[Channel], step_s: int, **more: Any
    ) -> None:
        plan = _asset(len(members), name, Group(0, profile, kind, name, tuple(channels)))
        series = tuple(
            SeriesPlan(plan.number, one, Grid(step_s, 0, one.is_index), f"{SEED} {name} {one.seeded_by}")
            for one in channels
        )
        members.append(Member(plan, series, **more))

    for number, points in enumerate(BINS):
        levels = Channel("fill_level", SIX_HOURS_S, partial(Filling, points=points))
        silent = month + timedelta(days=9) if number == SILENT_BIN else None
        append_member(
            f"Borne à verre, place {number + 1}",
            EM400,
            "glass_container",
            [levels],
            SIX_HOURS_S,
            silent_from=silent,
        )
    for name, saved in METERED.items():
        index = Channel("active_energy_import", HOUR_S, partial(Heating, works_until=works_until, saved=saved))
        append_member(f"{name}, compteur électrique", LINKY, "electricity_meter", [index], HOUR_S, parent=name)
    leak_from = month.replace(day=LEAK_FROM_DAY)
    litres = Channel("water_volume", HOUR_S, partial(LeakingTap, leak_from=leak_from))
    append_member(f"{SCHOOL}, compteur d'eau", WATER, "water_meter", [litres], HOUR_S, parent=SCHOOL)
    for name, ppm in ROOMS.items():
        channels = [
            Channel("co2", HOUR_S, partial(ClassAir, ppm=ppm)),
            Channel("temperature", HOUR_S, partial(sources.RoomTemperature, usage="classroom"), "temperature"),
            Channel("relative_humidity", HOUR_S, sources.RoomHumidity, "humidity"),
        ]
        append_member(name, ERS_CO2, "room", channels, HOUR_S, parent=SCHOOL)
    for number in range(CABINETS):
        channels = [
            Channel("active_energy_import", HOUR_S, partial(sources.LampEnergy, watts=CABINET_W), "lamps"),
            Channel("switch_state", HOUR_S, partial(sources.LampState, watts=CABINET_W), "lamps"),
        ]
        append_member(
            f"Armoire du centre {number + 1}", CABINET, "lighting_cabinet", channels, HOUR_S,
            attributes={"rated_power_w": CABINET_W},
        )  # fmt: skip
    return Showcase(zone, today, tuple(members))


def _named(profile: Profile) -> Profile:
    """A profile of its own: what it expects is not what the fleet on the air does."""
    return Profile(
        f"{profile.name} (historique)", profile.vendor, profile.model, profile.codec, profile.device_class,
        profile.codec_options, profile.capabilities,
    )  # fmt: skip


EM400, LINKY, WATER, ERS_CO2, CABINET = (
    _named(one) for one in (pilot.EM400, pilot.LINKY_WATTECO, pilot.WATER, pilot.ERS_CO2, pilot.CABINET)
)


def _asset(number: int, name: str, group: Group) -> AssetPlan:
    source = Random(f"{SEED} {number}")
    assert COMMUNE in COMMUNES
    return AssetPlan(
        number=number,
        group=group,
        asset_name=name,
        dev_eui=DevEui(b"\x70\xb3\xd5\x70\x60\x00" + number.to_bytes(2, "big")),
        app_key=source.randbytes(16),
        commune=COMMUNE,
        street=f"{number + 1} rue de la Mairie",
        latitude=PLACE[0] + source.uniform(-0.008, 0.008),
        longitude=PLACE[1] + source.uniform(-0.012, 0.012),
    )
