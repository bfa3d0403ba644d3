"""The meters' labels as Enedis and Watteco describe them, read from `tests/vectors/tic_labels.txt`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoders.canonical import Reading

FILE = Path(__file__).parents[1] / "vectors/tic_labels.txt"
NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
METER_S = 1_795_595_400  # Half past nine in Paris, on that day: half an hour before.
METER_DATE = "2026-11-25T09:30:00+01:00"
_SEASON_DATE = "481a0b19091e00"  # H, then YY MM DD hh mm ss.
_INSTANT = "32995908"  # Seconds since 2000.
NAMES = ("meter_id", "delivery_point", "tariff_period", "tariff_option")

# A value of each form: the octets of a Watteco module, what is shown of it as JSON, and its number if it has one.
FORMS: dict[str, tuple[str, Any, float | None]] = {
    "u8": ("2a", 42, 42),
    "u16": ("012c", 300, 300),
    "u24": ("0186a1", 100_001, 100_001),
    "u32": ("075bcd15", 123_456_789, 123_456_789),
    "i16": ("ff9c", -100, -100),
    "single": ("3f000000", 0.5, None),
    "character": ("41", "A", None),
    "text": ("4142433100", "ABC1", None),
    "code": ("83414243", "ABC", None),  # Written out: it is in none of the module's tables.
    "identifier": ("03a1b2c3", "a1b2c3", None),
    "nothing": ("", None, None),
    "date": (_SEASON_DATE, METER_DATE, None),
    "dated_u8": (_SEASON_DATE + "2a", {"date": METER_DATE, "value": 42}, 42),
    "dated_u16": (_SEASON_DATE + "012c", {"date": METER_DATE, "value": 300}, 300),
    "dated_u24": (_SEASON_DATE + "0186a1", {"date": METER_DATE, "value": 100_001}, 100_001),
    "local_date": ("190b1a091e00", METER_DATE, None),
    "instant": (_INSTANT, METER_DATE, None),
    "instant_and_period": (_INSTANT + "83414243", {"date": METER_DATE, "value": "ABC"}, None),
    "hour_and_day": ("091e190b", "25/11 09:30", None),
    "day_and_hour": ("190b09", "25/11 09:00", None),
    "hour": ("091e", "09:30", None),
    "power": ("000042836b5641", {"value": 66, "unit": "kVA"}, 66),
    "day_profile": ("06000001" + "ff" * 10, [{"from": "06:00", "action": "0001"}], None),
}


@dataclass(frozen=True, slots=True)
class Label:
    """One label of one kind of meter, and what is made of its value in `FORMS`."""

    mode: str
    cluster: int
    attribute: int
    index: int
    name: str
    form: str
    makes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.mode}/{self.attribute}/{self.name}"

    @property
    def octets(self) -> bytes:
        """Its value, as a module writes it."""
        return bytes.fromhex(FORMS[self.form][0])

    @property
    def shown(self) -> Any:
        """Its value, as data show it."""
        return FORMS[self.form][1]

    def readings(self) -> list[Reading]:
        """What it measures, at the meter's instant when the value has one."""
        time_us = METER_S * 1_000_000 if self.form.startswith("dated_") else NOW
        readings: list[Reading] = []
        for made in self.makes:
            if made.startswith("="):
                continue
            where, _, factor = made.partition("*")
            quantity, _, channel = where.partition("/")
            value = round((FORMS[self.form][2] or 0) * float(factor or 1), 1)
            readings.append(Reading(time_us, channel, quantity, value))
        return readings

    def named(self) -> dict[str, Any]:
        """The names under which data have its text, too."""
        return {made[1:]: self.shown for made in self.makes if made.startswith("=")}


def read_labels() -> list[Label]:
    """Every label of every kind of meter."""
    labels: list[Label] = []
    mode, cluster, attribute, index = "", 0, 0, 0
    for line in FILE.read_text("utf-8").splitlines():
        if line.startswith("["):
            mode, in_hexadecimal, period = line.strip("[]").split()
            cluster, attribute, index = int(in_hexadecimal, 16), int(period), 0
        elif line and not line.startswith("#"):
            name, form, *makes = line.split()
            labels.append(Label(mode, cluster, attribute, index, name, form, tuple(makes)))
            index += 1
    return labels
