"""The value information field: what a record measures and in which unit (EN 13757-3, tables 10 to 15)."""

from typing import NamedTuple

# Orthogonal VIFE: the record is a compact profile of the one with the same place.
INVERSE_PROFILE, PROFILE_WITH_REGISTERS, PROFILE = 0x13, 0x1E, 0x1F
FORWARD, BACKWARD = 0x3B, 0x3C
_PROFILES = (INVERSE_PROFILE, PROFILE_WITH_REGISTERS, PROFILE)
_MANUFACTURER = 0x7F
_TIMES_1000, _SECOND_TABLE = 0x7D, 0xFC
_PHASES = {1: "phase_a", 2: "phase_b", 3: "phase_c"}  # Behind FC.
J_PER_WH = 3_600


class Meaning(NamedTuple):
    """What a VIF says: `value = number * multiplier / divisor`, in `unit` (UCUM).

    `modifiers` are extensions that nobody here knows; with one, the value is kept and makes no reading.
    """

    what: str
    unit: str = ""
    multiplier: int = 1
    divisor: int = 1
    profile: int = 0
    direction: str = ""
    phase: str = ""
    modifiers: bytes = b""
    is_digits: bool = False

    def scaled(self, number: float) -> float:
        """The value of this number."""
        return number * self.multiplier / self.divisor if self.divisor != 1 else number * self.multiplier

    def times(self, exponent: int) -> "Meaning":
        """The same, ten to this power more."""
        if exponent >= 0:
            return self._replace(multiplier=self.multiplier * 10**exponent)
        return self._replace(divisor=self.divisor * 10**-exponent)


class _Range(NamedTuple):
    """Codes `first` to `last`, whose unit goes up by ten from `10 ** exponent`."""

    first: int
    last: int
    meaning: Meaning
    exponent: int


def _steps(
    first: int, last: int, what: str, unit: str, exponent: int, multiplier: int = 1, divisor: int = 1
) -> _Range:
    return _Range(first, last, Meaning(what, unit, multiplier, divisor), exponent)


_PRIMARY = (
    _steps(0x00, 0x07, "energy", "W.h", -3),
    _steps(0x08, 0x0F, "energy", "W.h", 0, divisor=J_PER_WH),
    _steps(0x10, 0x17, "volume", "L", -3),
    _steps(0x18, 0x1F, "mass", "kg", -3),
    _steps(0x28, 0x2F, "power", "W", -3),
    _steps(0x30, 0x37, "power", "W", 0, divisor=J_PER_WH),
    _steps(0x38, 0x3F, "volume_flow", "L/h", -3),
    _steps(0x40, 0x47, "volume_flow", "L/h", -4, multiplier=60),
    _steps(0x48, 0x4F, "volume_flow", "L/h", -6, multiplier=3_600),
    _steps(0x58, 0x5B, "flow_temperature", "Cel", -3),
    _steps(0x5C, 0x5F, "return_temperature", "Cel", -3),
    _steps(0x60, 0x63, "temperature_difference", "K", -3),
    _steps(0x64, 0x67, "external_temperature", "Cel", -3),
    _steps(0x68, 0x6B, "pressure", "hPa", 0),
)
_DURATIONS = ((0x20, "on_time"), (0x24, "operating_time"), (0x70, "averaging_time"), (0x74, "reading_age"))
_DURATION_SECONDS = (1, 60, 3_600, 86_400)
_PRIMARY_SINGLE = {
    0x6C: Meaning("date"),
    0x6D: Meaning("datetime"),
    0x6E: Meaning("heat_cost_units", "1"),
    0x78: Meaning("fabrication_number", is_digits=True),
    0x79: Meaning("meter_address", is_digits=True),
    0x7A: Meaning("bus_address", is_digits=True),
    **{
        first + index: Meaning(what, "s", seconds)
        for first, what in _DURATIONS
        for index, seconds in enumerate(_DURATION_SECONDS)
    },
}
# Behind FD.
_FIRST_EXTENSION = (
    _steps(0x40, 0x4F, "voltage", "V", -9),
    _steps(0x50, 0x5F, "current", "A", -12),
)
_FIRST_EXTENSION_SINGLE = {
    0x08: Meaning("access_number"),
    0x09: Meaning("medium"),
    0x0A: Meaning("manufacturer", is_digits=True),
    0x0B: Meaning("parameter_set", is_digits=True),
    0x0C: Meaning("model_version", is_digits=True),
    0x0D: Meaning("hardware_version", is_digits=True),
    0x0E: Meaning("firmware_version", is_digits=True),
    0x0F: Meaning("software_version", is_digits=True),
    0x10: Meaning("customer_location", is_digits=True),
    0x11: Meaning("customer", is_digits=True),
    0x17: Meaning("error_flags"),
    0x1A: Meaning("digital_output"),
    0x1B: Meaning("digital_input"),
    0x3A: Meaning("dimensionless", "1"),
    0x60: Meaning("reset_count"),
    0x61: Meaning("cumulation_count"),
    0x74: Meaning("remaining_battery", "d"),
}
# Behind FB.
_SECOND_EXTENSION = (
    _steps(0x00, 0x01, "energy", "W.h", 5),
    _steps(0x08, 0x09, "energy", "W.h", 8, divisor=J_PER_WH),
    _steps(0x10, 0x11, "volume", "L", 5),
    _steps(0x1A, 0x1B, "relative_humidity", "%", -1),
    _steps(0x28, 0x29, "power", "W", 5),
    _steps(0x2C, 0x2F, "frequency", "Hz", -3),
)
_TABLES = {0xFD: (_FIRST_EXTENSION, _FIRST_EXTENSION_SINGLE), 0xFB: (_SECOND_EXTENSION, dict[int, Meaning]())}


def meaning_of(vib: bytes) -> Meaning:
    """What these octets, VIF and VIFE, say. What nobody here knows is `unknown` with its octets."""
    table, rest = _TABLES.get(vib[0]), vib[1:]
    if table is not None:
        code, rest = rest[0] & 0x7F, rest[1:]
        ranges, singles = table
    else:
        code, ranges, singles = vib[0] & 0x7F, _PRIMARY, _PRIMARY_SINGLE
    if table is None and code == _MANUFACTURER:
        return Meaning("manufacturer_specific", rest.hex())
    meaning = singles.get(code) or _in_ranges(code, ranges)
    return _modified(meaning, rest) if meaning is not None else Meaning("unknown", vib.hex())


def _in_ranges(code: int, ranges: tuple[_Range, ...]) -> Meaning | None:
    for first, last, meaning, exponent in ranges:
        if first <= code <= last:
            return meaning.times(exponent + code - first)
    return None


def _modified(meaning: Meaning, extensions: bytes) -> Meaning:
    """With what the VIFE add: a profile, a direction, a power of ten."""
    behind = iter(extensions)
    for octet in behind:
        code = octet & 0x7F
        if code in _PROFILES:
            meaning = meaning._replace(profile=code)
        elif code in (FORWARD, BACKWARD):
            meaning = meaning._replace(direction="forward" if code == FORWARD else "backward")
        elif 0x70 <= code <= 0x77:  # noqa: PLR2004 - Times 10 to the power of code - 6.
            meaning = meaning.times((code & 7) - 6)
        elif code == _TIMES_1000:
            meaning = meaning.times(3)
        elif octet == _SECOND_TABLE:
            second = next(behind, 0)
            phase = _PHASES.get(second & 0x7F)
            meaning = (
                meaning._replace(phase=phase)
                if phase
                else meaning._replace(modifiers=meaning.modifiers + bytes((second,)))
            )
        else:
            meaning = meaning._replace(modifiers=meaning.modifiers + bytes((octet,)))
    return meaning
