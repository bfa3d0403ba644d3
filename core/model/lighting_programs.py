"""Programs of lamps as they are stored and sent, in JSON; pure. What is wrong with one is said in French."""

from collections.abc import Mapping
from datetime import date
from typing import Any, cast, get_args

from core.model.hours import MINUTES, MalformedHours, Span, minute_of
from core.model.lighting import (
    FROM_DUSK_TO_DAWN,
    FULL,
    UNLIT,
    CalendarRule,
    Holidays,
    Lamps,
    MonthDay,
    Program,
    Schedule,
    SunEvent,
    Switching,
)

LONGEST_OFFSET = 240
MOST_POWER_W = 1_000_000
# Minutes of the day, wherever in France and whatever the season.
EARLIEST_SUNSET, LATEST_SUNRISE = 16 * 60, 9 * 60 + 30


class MalformedProgram(ValueError):
    """This is no program; the message says why, in French."""


def read_program(document: object) -> Program:
    """A program as it is stored and sent, in JSON:

    `{"default": SCHEDULE, "rules": [{"schedule": SCHEDULE, "from": "12-20", "to": "01-05", "weekdays": [5, 6],
    "holidays": "public", "dates": ["2026-07-14"]}], "coefficient": 0.9}`, with a condition at least in each rule.
    SCHEDULE is `{"on": SWITCHING, "off": SWITCHING, "night_cut": ["23:30", "05:00"], "dimming": [["22:00", 50]]}`,
    each optional, or `{"lit": false}`; SWITCHING is `"18:30"`, or `{"event": "sunset", "offset": -10}` in minutes.

    Raises:
        MalformedProgram: it is no such document.
    """
    given = _members(document, "le programme", {"default", "rules", "coefficient"})
    coefficient = given.get("coefficient", 1.0)
    if not _is_number(coefficient) or not 0 < coefficient <= 1:
        raise MalformedProgram("le coefficient de réduction est un nombre de 0 (exclu) à 1")
    rules = tuple(
        _read_rule(rule, f"la règle {number}")
        for number, rule in enumerate(_list(given, "rules", "le programme"), 1)
    )
    return Program(read_schedule(given.get("default", {}), "l'horaire par défaut"), rules, float(coefficient))


def stored_program(document: object) -> Program:
    """A program from its row, checked when it was written; lit from dusk to dawn where there is none to read."""
    if document is None:
        return FROM_DUSK_TO_DAWN
    try:
        return read_program(document)
    except MalformedProgram:
        return FROM_DUSK_TO_DAWN


def read_lamps(document: object) -> Lamps:
    """What assets said of their lamps before programs; of what nobody could read, the error says why.

    `{"rated_power_w": 4200, "night_cut": ["23:30", "05:00"], "dimming": [["22:00", 50]]}`

    Raises:
        MalformedProgram: it is no such document.
    """
    given = _members(document, "lighting", {"rated_power_w", "night_cut", "dimming"})
    rated = given.get("rated_power_w")
    if rated is not None and (not _is_number(rated) or not 0 < rated <= MOST_POWER_W):
        raise MalformedProgram(f"lighting : la puissance nominale est un nombre de watts, jusqu'à {MOST_POWER_W}")
    schedule = {name: value for name, value in given.items() if name != "rated_power_w" and value is not None}
    return Lamps(Program(read_schedule(schedule, "lighting")), None if rated is None else float(rated))


def read_schedule(document: object, where: str = "l'horaire") -> Schedule | None:
    """The schedule of a night, None for one without light; `where` is what errors call it.

    Raises:
        MalformedProgram: it is none.
    """
    given = _members(document, where, {"on", "off", "night_cut", "dimming", "lit"})
    if "lit" in given:
        if given["lit"] is not False or len(given) > 1:
            raise MalformedProgram(f'{where} : "lit" n\'est que faux, et seul (la nuit sans éclairage)')
        return UNLIT
    on = _read_switching(given.get("on", {"event": "sunset"}), f"{where}, allumage")
    off = _read_switching(given.get("off", {"event": "sunrise"}), f"{where}, extinction")
    if never_lights(on, off):
        raise MalformedProgram(
            f"{where} : l'extinction précède l'allumage (une nuit va de midi à midi), et rien n'éclairerait "
            "jamais ; pour une nuit sans éclairage, lit: false"
        )
    return Schedule(
        on,
        off,
        _read_cut(given.get("night_cut"), where),
        _read_dimming(_list(given, "dimming", where), where),
    )


def never_lights(on: Switching, off: Switching) -> bool:
    """Whether lamps would go off before they go on on every night, from noon to noon."""
    if on.event is None and off.event is None:
        return _since_noon(off) <= _since_noon(on)
    if on.event == "sunset" and off.event is None:
        return _since_noon(off) <= EARLIEST_SUNSET - MINUTES // 2 + on.minutes
    if on.event is None and off.event == "sunrise":
        return _since_noon(on) >= LATEST_SUNRISE + MINUTES // 2 + off.minutes
    return (on.event, off.event) == ("sunrise", "sunset") or (on.event == off.event and off.minutes <= on.minutes)


def _since_noon(switching: Switching) -> int:
    return (switching.minutes - MINUTES // 2) % MINUTES


def _read_switching(document: object, where: str) -> Switching:
    if isinstance(document, str):
        return Switching(None, _minute(document, where))
    given = _members(document, where, {"event", "offset"})
    event, offset = given.get("event"), given.get("offset", 0)
    if event not in get_args(SunEvent):
        raise MalformedProgram(f"{where} : une heure, ou sunset ou sunrise avec un décalage")
    if not isinstance(offset, int) or isinstance(offset, bool) or abs(offset) > LONGEST_OFFSET:
        raise MalformedProgram(
            f"{where} : le décalage est un nombre entier de minutes, de -{LONGEST_OFFSET} à {LONGEST_OFFSET}"
        )
    return Switching(event, offset)


def _read_cut(document: object, where: str) -> Span | None:
    if document is None:
        return None
    given = cast(list[object], document)
    if not isinstance(document, list) or len(given) != 2:  # noqa: PLR2004
        raise MalformedProgram(f"{where} : la coupure de nuit est un couple début, fin")
    first, after = (_minute(one, f"{where}, coupure") for one in given)
    if first % MINUTES == after % MINUTES:
        raise MalformedProgram(
            f"{where} : la coupure finit quand elle commence ; pour une nuit sans éclairage, lit: false"
        )
    return first, after


def _read_dimming(given: list[object], where: str) -> tuple[tuple[int, float], ...]:
    steps: list[tuple[int, float]] = []
    for step in given:
        pair = cast(list[object], step)
        if not isinstance(step, list) or len(pair) != 2:  # noqa: PLR2004
            raise MalformedProgram(f"{where} : un palier est un couple heure, pour cent")
        minute, level = _minute(pair[0], f"{where}, palier"), pair[1]
        if not _is_number(level) or not 0 < cast(float, level) <= FULL:
            raise MalformedProgram(f"{where} : un palier va de 1 à {FULL} % ; pour éteindre, une coupure de nuit")
        if any(minute % MINUTES == known % MINUTES for known, _ in steps):
            raise MalformedProgram(f"{where} : deux paliers commencent à {pair[0]}")
        steps.append((minute, cast(float, level)))
    # The order of a lighting day.
    return tuple(sorted(steps, key=lambda one: (one[0] - MINUTES // 2) % MINUTES))


def _read_rule(document: object, where: str) -> CalendarRule:
    conditions = {"from", "to", "weekdays", "holidays", "dates"}
    given = _members(document, where, {"schedule", *conditions})
    if "schedule" not in given or not conditions & given.keys():
        raise MalformedProgram(f"{where} a un horaire et au moins une condition (dates, jours, fériés, vacances)")
    if ("from" in given) != ("to" in given):
        raise MalformedProgram(f"{where} : une période a un début et une fin (from, to)")
    holidays = given.get("holidays")
    if holidays is not None and holidays not in get_args(Holidays):
        raise MalformedProgram(f"{where} : les congés sont public (fériés) ou school (vacances)")
    weekdays, dates = _list(given, "weekdays", where), _list(given, "dates", where)
    if any(not isinstance(day, int) or isinstance(day, bool) or not 1 <= day <= 7 for day in weekdays):  # noqa: PLR2004
        raise MalformedProgram(f"{where} : les jours vont de 1 (lundi) à 7 (dimanche)")
    return CalendarRule(
        read_schedule(given["schedule"], f"{where}, horaire"),
        _month_day(given["from"], where) if "from" in given else None,
        _month_day(given["to"], where) if "to" in given else None,
        frozenset(cast(int, day) - 1 for day in weekdays) if "weekdays" in given else None,
        holidays,
        frozenset(_date(one, where) for one in dates) if "dates" in given else None,
    )


def _members(document: object, where: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise MalformedProgram(f"{where} est un objet JSON")
    given = cast(dict[str, Any], document)
    if unknown := sorted(given.keys() - known):
        raise MalformedProgram(f"{where} : {', '.join(unknown)} inconnu ; possibles : {', '.join(sorted(known))}")
    return given


def _list(given: Mapping[str, Any], name: str, where: str) -> list[object]:
    found = given.get(name, [])
    if not isinstance(found, list):
        raise MalformedProgram(f"{where} : {name} est une liste")
    return cast(list[object], found)


def _minute(text: object, where: str) -> int:
    try:
        return minute_of(text if isinstance(text, str) else str(text))
    except MalformedHours as wrong:
        raise MalformedProgram(f"{where} : {wrong}") from None


def _month_day(text: object, where: str) -> MonthDay:
    try:
        day = date.fromisoformat(f"2024-{text}")  # A leap year: the 29th of February is a day.
    except ValueError:
        raise MalformedProgram(f"{where} : « {text} » n'est pas un jour de l'année, comme 12-20") from None
    return day.month, day.day


def _date(text: object, where: str) -> date:
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        raise MalformedProgram(f"{where} : « {text} » n'est pas une date, comme 2026-07-14") from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
