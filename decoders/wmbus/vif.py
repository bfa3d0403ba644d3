"""The value information field: what a record measures and in which unit (EN 13757-3, tables 10 to 15)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from decoders.tables import read_table

# Orthogonal VIFE: the record is a compact profile of the one with the same place.
INVERSE_PROFILE, PROFILE_WITH_REGISTERS, PROFILE = 0x13, 0x1E, 0x1F
FORWARD, BACKWARD = 0x3B, 0x3C
_PROFILES = (INVERSE_PROFILE, PROFILE_WITH_REGISTERS, PROFILE)
_MANUFACTURER = 0x7F
_TIMES_1000, _SECOND_TABLE = 0x7D, 0xFC
_PHASES = {1: "phase_a", 2: "phase_b", 3: "phase_c"}  # Behind FC.


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


def _table(described: Mapping[str, Any]) -> tuple[tuple[_Range, ...], dict[int, Meaning]]:
    ranges = tuple(
        _Range(step["first"], step["last"], Meaning(**step["meaning"]), step["exponent"])
        for step in described["steps"]
    )
    return ranges, {int(code, 16): Meaning(**meaning) for code, meaning in described.get("single", {}).items()}


_DESCRIBED = read_table("wmbus/vif.toml")
_PRIMARY = _table(_DESCRIBED["primary"])
# By the octet before.
_EXTENSIONS = {extension: _table(_DESCRIBED[f"{extension:02X}"]) for extension in (0xFD, 0xFB)}


def meaning_of(vib: bytes) -> Meaning:
    """What these octets, VIF and VIFE, say. What nobody here knows is `unknown` with its octets."""
    table, rest = _EXTENSIONS.get(vib[0]), vib[1:]
    if table is not None:
        code, rest = rest[0] & 0x7F, rest[1:]
    else:
        code = vib[0] & 0x7F
    ranges, singles = table or _PRIMARY
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
