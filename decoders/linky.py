"""Reads Linky's historique and standard modes into the same readings (docs/decoders-formats.md, "Linky TIC").

Channels of `active_energy_import`, which never change from one frame to the next:

- `""`: the total, BASE or EAST;
- `hc`, `hp`, `ejp_hn`, `ejp_hpm`, `bbr_hcjb` ... `bbr_hpjr`: the historique indexes, by their label;
- `index_1` ... `index_10`: the supplier's indexes EASF01 to EASF10 of the standard mode, whose meaning is
  the contract's. The profile option `tariff` (`hphc`, `ejp` or `tempo`) says it, and EASF01, EASF02 ...
  then land on the historique channels: with `hphc`, EASF01 is `hc` and EASF02 is `hp`;
- `distributor_1` ... `distributor_4`: EASD01 to EASD04.

Currents and voltages are on `phase_a`, `phase_b`, `phase_c`; a single-phase meter is `phase_a`. Apparent
power is `""` for the withdrawn total, `phase_a`... for each phase, `export` for the injected one.
`subscribed_power` of the historique mode is ISOUSC times 0.2 kVA, times the phases: three as soon as the
frame has a label of a three-phase meter, else the profile option `phases` (1 by default).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from math import isfinite
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from decoders.canonical import Decoded, Reading
from decoders.tables import read_table
from lorawan.instants import to_us

THREE_PHASES = 3  # A value of the profile option `phases`.
ISOUSC_KVA_PER_AMPERE = 0.2  # 200 V by convention: 45 A are 9 kVA.

# French legal time, by the season character; lower case marks a degraded clock, a space an unknown one.
# Professional meters give no season: the hour that is twice in October is taken as the first.
_LEGAL_TIME = ZoneInfo("Europe/Paris")
_OFFSETS: dict[str, tzinfo] = {
    "E": timezone(timedelta(hours=2)),
    "H": timezone(timedelta(hours=1)),
    "": _LEGAL_TIME,
}
_SUMMER = timedelta(hours=2)
_METERS_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class MeterDate:
    """An instant as the meter's clock says it: season character, if the meter has one, then year to second."""

    season: str
    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int

    @classmethod
    def of_seconds(cls, seconds: int) -> "MeterDate":
        """The date so many seconds after 2000-01-01T00:00Z, as a meter on the wall shows it."""
        local = (_METERS_EPOCH + timedelta(seconds=seconds)).astimezone(_LEGAL_TIME)
        season = "E" if local.utcoffset() == _SUMMER else "H"
        return cls(season, local.year - 2000, local.month, local.day, local.hour, local.minute, local.second)

    def instant(self) -> datetime | None:
        """The instant; None when the clock is degraded or unknown, or the date does not exist."""
        offset = _OFFSETS.get(self.season)
        if offset is None:
            return None
        try:
            return datetime(
                2000 + self.year, self.month, self.day, self.hour, self.minute, self.second, tzinfo=offset
            )
        except ValueError:
            return None

    def text(self) -> str:
        """ISO 8601 with the offset, or the meter's own digits when they are no certain instant."""
        instant = self.instant()
        if instant is not None:
            return instant.isoformat()
        digits = (self.year, self.month, self.day, self.hour, self.minute, self.second)
        return self.season + "".join(f"{part:02d}" for part in digits)


@dataclass(frozen=True, slots=True)
class Dated:
    """A value of the meter with its own date: the maximum of a day, a point of the load curve, a tariff."""

    date: MeterDate
    value: int | str


@dataclass(frozen=True, slots=True)
class Power:
    """A power in the unit that the meter names: `kW` or `kVA`."""

    value: int
    unit: str


TicValue = int | float | str | MeterDate | Dated | Power | list[dict[str, str]] | None


class Target(NamedTuple):
    """Where the value of a label goes."""

    quantity: str
    channel: str = ""


_TEMPO = ("bbr_hcjb", "bbr_hpjb", "bbr_hcjw", "bbr_hpjw", "bbr_hcjr", "bbr_hpjr")
# Supplier's indexes by tariff, in the order EASF01, EASF02...
TARIFFS = {"hphc": ("hc", "hp"), "ejp": ("ejp_hn", "ejp_hpm"), "tempo": _TEMPO}


def targets(section: str) -> dict[str, Target]:
    """Where the labels of a section of tic_targets.toml go."""
    return {label: Target(*where) for label, where in read_table("tic_targets.toml")[section].items()}


_TARGETS = targets("linky")
_THREE_PHASE_LABELS = {f"{label}{digit}" for label in ("IINST", "IMAX", "ADIR") for digit in "123"} | {"PMAX"}
_TEXTS = {
    "meter_id": ("ADCO", "ADSC"),
    "delivery_point": ("PRM",),
    "tariff_period": ("PTEC", "LTARF"),
    "tariff_option": ("OPTARIF", "NGTF"),
}


def normalise(fields: Mapping[str, TicValue], time_us: int, options: Mapping[str, Any], decoded: Decoded) -> None:
    """Add to `decoded` what the labels of a frame say, whichever the mode.

    None is a label that the meter does not have. A dated value whose date is uncertain, or more than
    400 days before or a day after `time_us`, gives a warning and no reading. Everything is in
    `data["tic"]` by label, and the texts that a reader wants under names common to both modes.
    """
    _add_data(fields, decoded)
    for label, value in fields.items():
        if (target := _target(label, options)) is None:
            continue
        if isinstance(value, int):
            decoded.readings.append(Reading(time_us, target.channel, target.quantity, float(value)))
        elif isinstance(value, Dated) and isinstance(value.value, int):
            add_dated(label, value.date, value.value, target, time_us, decoded)
    if isinstance(amperes := fields.get("ISOUSC"), int):
        kva = round(amperes * ISOUSC_KVA_PER_AMPERE * _phases(fields, options), 1)
        decoded.readings.append(Reading(time_us, "", "subscribed_power", kva))


def _add_data(fields: Mapping[str, TicValue], decoded: Decoded) -> None:
    decoded.data["tic"] = {label: json_of(value) for label, value in fields.items()}
    for name, labels in _TEXTS.items():
        for label in labels:
            if isinstance(text := fields.get(label), str) and (shown := text.strip(" .")):
                decoded.data[name] = shown
    if isinstance(status := fields.get("STGE"), int):
        decoded.data["status"] = read_status(status)


def _target(label: str, options: Mapping[str, Any]) -> Target | None:
    """Where the label's value goes; the option `tariff` names the supplier's indexes."""
    if label.startswith("EASF"):
        rank = int(label.removeprefix("EASF")) - 1
        channels = TARIFFS.get(str(options.get("tariff")), ())
        if rank < len(channels):
            return Target("active_energy_import", channels[rank])
    return _TARGETS.get(label)


def _phases(fields: Mapping[str, TicValue], options: Mapping[str, Any]) -> int:
    three = options.get("phases") == THREE_PHASES or not _THREE_PHASE_LABELS.isdisjoint(fields)
    return THREE_PHASES if three else 1


def add_dated(label: str, date: MeterDate, value: float, target: Target, time_us: int, decoded: Decoded) -> None:
    """Add a reading at the meter's own date, or a warning when that is uncertain or implausible."""
    instant = date.instant()
    if instant is None:
        decoded.warnings.append(f"{label} : date du compteur incertaine ({date.text()})")
        return
    at_us = to_us(instant)
    if not time_us - 400 * _DAY_US <= at_us <= time_us + _DAY_US:
        decoded.warnings.append(f"{label} : date du compteur invraisemblable ({date.text()})")
        return
    decoded.readings.append(Reading(at_us, target.channel, target.quantity, float(value)))


def json_of(value: TicValue) -> Any:
    """The value of a label as JSON."""
    match value:
        case MeterDate():
            return value.text()
        case Dated(date=date, value=number):
            return {"date": date.text(), "value": number}
        case Power(value=number, unit=unit):
            return {"value": number, "unit": unit}
        case float() if not isfinite(value):
            return None
        case _:
            return value


_BREAKER = (
    *("closed", "over_power", "over_voltage", "load_shedding", "ordered_open"),
    *("overheat_over_maximum", "overheat_under_maximum", "reserved"),
)
_COLOURS = ("", "bleu", "blanc", "rouge")


def read_status(status: int) -> dict[str, Any]:
    """The parts of STGE, the status word of the standard mode, that a reader can use."""
    return {
        "dry_contact_open": bool(status & 1),
        "breaker": _BREAKER[status >> 1 & 7],
        "cover_open": bool(status >> 4 & 1),
        "over_voltage": bool(status >> 6 & 1),
        "over_subscribed_power": bool(status >> 7 & 1),
        "producer": bool(status >> 8 & 1),
        "supplier_index": (status >> 10 & 15) + 1,
        "distributor_index": (status >> 14 & 3) + 1,
        "clock_degraded": bool(status >> 16 & 1),
        "colour_today": _COLOURS[status >> 24 & 3],
        "colour_tomorrow": _COLOURS[status >> 26 & 3],
        "mobile_peak_notice": status >> 28 & 3,
        "mobile_peak": status >> 30 & 3,
    }
