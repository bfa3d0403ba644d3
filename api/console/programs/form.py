"""A program as people type it, and back: what fields hold, and the document that the API takes."""

import re
from collections.abc import Mapping
from typing import Any, cast

from api.console.forms import Form
from api.console.language import Language
from api.console.navigation import marked
from api.console.wording import WEEKDAYS
from core.runtime.http.errors import invalid

MOST_RULES = 8
HOLIDAYS = {"public": marked("jours fériés"), "school": marked("vacances scolaires")}
UNLIT = {"": marked("éclairée comme ci-dessous"), "non": marked("toute la nuit sans éclairage")}
SUN = {"coucher": "sunset", "lever": "sunrise"}
SWITCHING = re.compile(r"(coucher|lever)\s*([+\-−–]\s*\d{1,3})?(?:\s*min)?")
STEP = re.compile(r"(\d{1,2})[h:](\d{2})?\s*[= ]\s*(\d{1,3})\s*%?")
HOUR = re.compile(r"(\d{1,2})[h:](\d{2})?")
DAY_OF_YEAR = re.compile(r"(\d{1,2})[/\-](\d{1,2})")
DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})|(\d{4})-(\d{2})-(\d{2})")


def values_of_program(name: str, program: Mapping[str, Any], remark: str = "") -> dict[str, str]:
    """What the fields of the form hold for this program."""
    values = {"name": name, "remark": remark, "coefficient": f"{100 * program.get('coefficient', 1):g}"}
    values |= _schedule_values("", program.get("default", {}))
    for number, rule in enumerate(program.get("rules", ())):
        given, prefix = cast(dict[str, Any], rule), f"r{number}."
        values |= _schedule_values(prefix, given["schedule"])
        values |= {f"{prefix}day{day}": "1" for day in given.get("weekdays", ())}
        values[prefix + "holidays"] = given.get("holidays", "")
        for end in ("from", "to"):
            if end in given:
                values[prefix + end] = "/".join(reversed(given[end].split("-")))
        dates: list[str] = given.get("dates", [])
        values[prefix + "dates"] = ", ".join("/".join(reversed(one.split("-"))) for one in dates)
    return values


def _schedule_values(prefix: str, schedule: Mapping[str, Any]) -> dict[str, str]:
    if schedule.get("lit") is False:
        return {prefix + "unlit": "non"}
    cut = schedule.get("night_cut") or ("", "")
    return {
        prefix + "on": _switching_text(schedule.get("on", {"event": "sunset"})),
        prefix + "off": _switching_text(schedule.get("off", {"event": "sunrise"})),
        prefix + "cut_from": cut[0],
        prefix + "cut_to": cut[1],
        prefix + "dimming": ", ".join(f"{hour} {level:g} %" for hour, level in schedule.get("dimming", ())),
    }


def _switching_text(switching: str | Mapping[str, Any]) -> str:
    if isinstance(switching, str):
        return switching
    word = "coucher" if switching["event"] == "sunset" else "lever"
    offset = switching.get("offset", 0)
    return f"{word} {'+' if offset > 0 else '-'} {abs(offset)}" if offset else word


def rules_of(values: Mapping[str, str]) -> list[int]:
    """The rules to draw: those that hold something, and an empty one as long as there is room."""
    used = {int(found[1]) for name, value in values.items() if value and (found := re.match(r"r(\d)\.", name))}
    return list(range(min(max(used, default=-1) + 2, MOST_RULES)))


def program_of(form: Form, language: Language) -> dict[str, Any]:
    """The program that was typed, as the API takes it; raises 422 with what is wrong beside its field."""
    program: dict[str, Any] = {"default": _schedule(form, "", language)}
    rules: list[dict[str, Any]] = []
    for number in range(MOST_RULES):
        prefix = f"r{number}."
        conditions = _conditions(form, prefix, language)
        schedule = _schedule(form, prefix, language)
        if conditions:
            rules.append({"schedule": schedule, **conditions})
        elif schedule not in ({}, {"on": {"event": "sunset"}, "off": {"event": "sunrise"}}):
            raise invalid(
                prefix + "dates",
                "missing",
                language.gettext("Dites quelles nuits : des jours, une période, des dates."),
            )
    if rules:
        program["rules"] = rules
    percent = form.text("coefficient").replace(",", ".").rstrip(" %")
    if percent and percent != "100":
        try:
            program["coefficient"] = float(percent) / 100
        except ValueError:
            raise invalid("coefficient", "number", language.gettext("Un nombre, de 1 à 100.")) from None
    return program


def _schedule(form: Form, prefix: str, language: Language) -> dict[str, Any]:
    if form.text(prefix + "unlit"):
        return {"lit": False}
    schedule: dict[str, Any] = {}
    for name in ("on", "off"):
        if text := form.text(prefix + name).casefold():
            schedule[name] = _switching(prefix + name, text, language)
    cut = [hour_of(form.text(prefix + name)) for name in ("cut_from", "cut_to")]
    if any(cut):
        schedule["night_cut"] = cut
    if text := form.text(prefix + "dimming"):
        schedule["dimming"] = _dimming(prefix + "dimming", text, language)
    return schedule


def hour_of(text: str) -> str:
    """23h30 as 23:30; what is no hour stays as it was typed, for the API to say what is wrong with it."""
    found = HOUR.fullmatch(text)
    return text if found is None else f"{int(found[1]):02}:{found[2] or '00'}"


def _switching(field: str, text: str, language: Language) -> str | dict[str, Any]:
    if HOUR.fullmatch(text):
        return hour_of(text)
    found = SWITCHING.fullmatch(text)
    if found is None:
        message = language.gettext("Écrivez coucher, lever, coucher + 10, ou une heure comme 18:30.")
        raise invalid(field, "switching", message)
    offset = int(re.sub(r"\s", "", found[2] or "0").replace("−", "-").replace("–", "-"))
    return {"event": SUN[found[1]]} | ({"offset": offset} if offset else {})


def _dimming(field: str, text: str, language: Language) -> list[list[Any]]:
    steps: list[list[Any]] = []
    for part in filter(None, (one.strip() for one in re.split(r"[,;\n]", text))):
        found = STEP.fullmatch(part)
        if found is None:
            message = language.gettext("Des paliers séparés par des virgules : 22:00 50 %, 06:00 100 %.")
            raise invalid(field, "dimming", message)
        steps.append([f"{int(found[1]):02}:{found[2] or '00'}", int(found[3])])
    return steps


def _conditions(form: Form, prefix: str, language: Language) -> dict[str, Any]:
    conditions: dict[str, Any] = {}
    days = [day for day in range(1, len(WEEKDAYS) + 1) if form.text(f"{prefix}day{day}")]
    if days:
        conditions["weekdays"] = days
    if form.text(prefix + "holidays"):
        conditions["holidays"] = form.text(prefix + "holidays")
    ends = [form.text(prefix + end) for end in ("from", "to")]
    if any(ends):
        for end, text in zip(("from", "to"), ends, strict=True):
            found = DAY_OF_YEAR.fullmatch(text)
            if found is None:
                message = language.gettext("Un jour et un mois, comme 20/12 ; un début et une fin.")
                raise invalid(prefix + end, "day", message)
            conditions[end] = f"{int(found[2]):02}-{int(found[1]):02}"
    dates: list[str] = []
    for part in filter(None, (one.strip() for one in re.split(r"[,;\n]", form.text(prefix + "dates")))):
        found = DATE.fullmatch(part)
        if found is None:
            message = language.gettext("Des dates séparées par des virgules, comme 14/07/2027.")
            raise invalid(prefix + "dates", "dates", message)
        year, month, day = (found[3], found[2], found[1]) if found[1] else (found[4], found[5], found[6])
        dates.append(f"{year}-{int(month):02}-{int(day):02}")
    if dates:
        conditions["dates"] = dates
    return conditions
