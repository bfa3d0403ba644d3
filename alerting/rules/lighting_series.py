"""What a cabinet's meter says against what its lamps should take: pure, one value at a time.

`power_ratio`: of a power (W), percent of what the lamps take when they burn; unknown around a step of dimming.
`missing_lamps`: of a power, how many lamps' worth it lacks while the program wants light.
`contract_ratio`: of an apparent power (VA), percent of what was contracted.
`phase_voltage`: of one phase of three, percent of 230 V. `phase_current`: percent of what this phase took before,
at the same light.

What nobody can say has no value: it opens no alert, and ends none. So is what is measured around a switching, on
one phase of a power that is asked for as a whole, or of lamps whose power nobody has written down.
"""

import struct
from datetime import datetime
from typing import NamedTuple

from alerting.rules.model import Observation, Place
from core.model.lighting import dimmed_to, expected

FULL = 100.0
NOMINAL_V = 230.0
THREE = 3
PHASE = "phase_"
# Below this share of what they should take lamps are dark, and not a few of them broken.
DARK_BELOW = 0.2
# A rule that fires at 0.8 of a lamp does so at 3 % of the power, or at 10 % where no lamp's power is known: mains
# voltage and meters move a power by less.
LEAST_LAMP_SHARE = 0.0375
UNKNOWN_LAMP_SHARE = 0.125
# Currents below are those of standby and of meters that count whole amperes.
LEAST_USUAL_A = 0.5
LOST_BELOW = 0.5
LEARNS = 0.1
_USUAL = struct.Struct("<4sd")
_MARK = b"amps"


class Burning(NamedTuple):
    """Lamps that should burn: what they take at full light, and what they take now."""

    rated_w: float
    watts: float


class Said(NamedTuple):
    """A value as people read it: what was measured, what should have been, and their unit (UCUM)."""

    measured: float
    expected: float
    unit: str


def step(series: str, memo: bytes, observation: Observation, place: Place) -> tuple[bytes, Observation | None]:
    """What to remember after `observation`, and the value of the series, if there is one."""
    at, value = observation.at, observation.value
    found: float | None = None
    match series:
        case "power_ratio":
            found = None if _is_phase(place) else _percent(value, expected_power_w(place, at))
        case "missing_lamps":
            found = _missing(place, at, value)
        case "contract_ratio":
            found = _percent(value, _contract_va(place))
        case "phase_voltage":
            found = _percent(value, NOMINAL_V) if _is_one_of_three(place) else None
        case _:
            memo, found = _against_usual(memo, observation, place)
    return memo, None if found is None else Observation(at, found)


def said(series: str | None, place: Place, at: datetime, value: float | None) -> Said | None:
    """What a value of a series means; None where it says all itself."""
    if value is None:
        return None
    whole: float | None = None
    match series:
        case "power_ratio":
            whole, unit = expected_power_w(place, at), "W"
        case "contract_ratio":
            contract = _contract_va(place)
            whole, unit = None if contract is None else contract / 1000, "kV.A"
        case "phase_voltage":
            whole, unit = NOMINAL_V, "V"
        case "missing_lamps":
            lit = burning(place, at)
            if lit is None:
                return None
            return Said(round(lit.watts - value * _lamp_w(place, lit)), round(lit.watts), "W")
        case _:
            return None
    if not whole:
        return None
    measured = whole * value / FULL
    return Said(round(measured, 1) if unit == "kV.A" else round(measured), round(whole, 1), unit)


def expected_power_w(place: Place, at: datetime) -> float | None:
    """What the lamps of a cabinet take if they burn, by their programs; None where nobody can say.

    Where circuits go by programs of their own, those alone that should burn now, unless none should.
    """
    of_all: list[float] = []
    of_lit: list[float] = []
    for lamps in place.lamps:
        level = dimmed_to(lamps.program, place.lamp_place, at)
        if lamps.rated_power_w is None or level is None:
            return None
        watts = lamps.rated_power_w * lamps.program.coefficient * level / FULL
        of_all.append(watts)
        if place.circuits and (wanted := expected(lamps.program, place.lamp_place, at)) and wanted.on:
            of_lit.append(watts)
    return sum(of_lit or of_all)


def burning(place: Place, at: datetime) -> Burning | None:
    """The lamps that should burn now; None where nobody can say, and where none should."""
    rated = watts = 0.0
    for lamps in place.lamps:
        wanted = expected(lamps.program, place.lamp_place, at)
        power = lamps.rated_power_w
        if power is None and not place.circuits and place.cabinet is not None:
            power = place.cabinet.lamps_w
        if wanted is None or power is None:
            return None
        if wanted.on:
            rated += power
            watts += power * wanted.power_ratio
    return Burning(rated, watts) if watts else None


def _percent(value: float, whole: float | None) -> float | None:
    return FULL * value / whole if whole else None


def _is_phase(place: Place) -> bool:
    return place.cabinet is not None and place.cabinet.channel.startswith(PHASE)


def _is_one_of_three(place: Place) -> bool:
    return place.cabinet is not None and place.cabinet.phases == THREE and _is_phase(place)


def _contract_va(place: Place) -> float | None:
    """Of what the whole cabinet takes, and of nothing else."""
    cabinet = place.cabinet
    if cabinet is None or cabinet.channel or cabinet.contract_power_kva is None:
        return None
    return cabinet.contract_power_kva * 1000


def _missing(place: Place, at: datetime, value: float) -> float | None:
    lit = burning(place, at)
    if place.cabinet is None or place.cabinet.channel or lit is None or value < DARK_BELOW * lit.watts:
        return None
    return (lit.watts - value) / _lamp_w(place, lit)


def _lamp_w(place: Place, lit: Burning) -> float:
    """What one lamp takes at this light: the least that differs from what the mains does."""
    lamp = None if place.cabinet is None else place.cabinet.lamp_w
    if not lamp:
        return lit.watts * UNKNOWN_LAMP_SHARE
    return max(lamp * lit.watts / lit.rated_w, lit.watts * LEAST_LAMP_SHARE)


def _against_usual(memo: bytes, observation: Observation, place: Place) -> tuple[bytes, float | None]:
    """A phase that never took anything is not lost: what it took before is what it is measured against."""
    light = _light(place, observation.at)
    if light is None or not _is_one_of_three(place):
        return memo, None
    at_full = observation.value / light
    usual = _usual(memo)
    if usual is None or usual < LEAST_USUAL_A:
        return _USUAL.pack(_MARK, max(at_full, usual or 0.0)), None
    ratio = at_full / usual
    if ratio >= LOST_BELOW:
        usual += LEARNS * (at_full - usual)
    return _USUAL.pack(_MARK, usual), FULL * ratio


def _usual(memo: bytes) -> float | None:
    """What another kind of rule has left there is nothing."""
    if len(memo) != _USUAL.size or not memo.startswith(_MARK):
        return None
    return _USUAL.unpack(memo)[1]


def _light(place: Place, at: datetime) -> float | None:
    """The share of full power that all lamps should draw; None while they should be off, or differ."""
    shares: set[float] = set()
    for lamps in place.lamps:
        wanted = expected(lamps.program, place.lamp_place, at)
        if wanted is None:
            return None
        shares.add(wanted.power_ratio)
    share = shares.pop() if len(shares) == 1 else 0.0
    return share or None
