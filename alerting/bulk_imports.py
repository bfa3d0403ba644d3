"""Contacts and rules of a bulk import."""

from collections.abc import Mapping, Sequence
from typing import Any

from alerting import rule_store, store, teams
from alerting.rules.checks import InvalidRule
from alerting.rules.model import Rule, Rung
from registry.bulk_imports.plan import RejectedLine
from registry.bulk_imports.rows import DoneLine, Place, changed, write_each
from registry.imports import Outcome

TEAM = "SELECT id FROM team WHERE tenant_id = $1 AND name = $2"
CALENDAR = "SELECT id FROM alert_calendar WHERE tenant_id = $1 AND name = $2"
CONTACT = """
SELECT id, name, rung, after_seconds FROM contact
WHERE team_id = $1 AND webhook_endpoint_id = $2 ORDER BY id FOR UPDATE
"""
UPDATE_CONTACT = "UPDATE contact SET name = $2, rung = $3, after_seconds = $4 WHERE id = $1"
RULE = "SELECT id FROM alert_rule WHERE tenant_id = $1 AND name = $2 FOR UPDATE"
REQUIRED = ("kind", "severity", "message")
IN_ADVANCE_S = 1800
WRITTEN = frozenset(rule_store.WRITTEN.split(", "))
# Of a rule, what is a column of the file; the rest is in `more`.
COLUMNS = (
    "name", "kind", "quantity", "severity", "message", "enabled", "asset_kinds", "tags", "fire_op", "fire_value",
    "clear_op", "clear_value", "for_seconds", "for_readings",
)  # fmt: skip
NAMED = frozenset({"team_id", "calendar_id"})


async def write_contacts(place: Place, lines: Sequence[Mapping[str, Any]]) -> list[DoneLine]:
    """Add the people of these lines to their teams; an address that is new gets nothing until it is proved."""
    return await write_each(place, lines, _contact)


async def _named(place: Place, statement: str, column: str, name: str) -> int:
    found = await place.connection.fetchval(statement, place.tenant_id, name)
    if found is None:
        raise RejectedLine(column, f"« {name} » n'existe pas : créez-le d'abord")
    return found


async def _contact(place: Place, line: Mapping[str, Any]) -> Outcome:
    team_id = await _named(place, TEAM, "team", line["team"])
    try:
        endpoint_id, _ = await store.endpoint_of_address(
            place.connection, place.keys, place.tenant_id, line["email"]
        )
    except store.RejectedUrl as wrong:
        raise RejectedLine("email", str(wrong)) from None
    given = {name: line[name] for name in ("name", "rung") if name in line}
    if "after_minutes" in line:
        given["after_seconds"] = 60 * line["after_minutes"]
    known = await place.connection.fetchrow(CONTACT, team_id, endpoint_id)
    if known is None:
        values: dict[str, Any] = {"name": line["email"], "rung": 0, "after_seconds": IN_ADVANCE_S} | given
        await teams.create_contact(
            place.connection, team_id, values["name"], values["rung"], values["after_seconds"], endpoint_id
        )
        return Outcome.CREATED
    if not changed(dict(known), given):
        return Outcome.UNCHANGED
    values = dict(known) | given
    await place.connection.execute(
        UPDATE_CONTACT, known["id"], values["name"], values["rung"], values["after_seconds"]
    )
    return Outcome.UPDATED


async def write_rules(place: Place, lines: Sequence[Mapping[str, Any]]) -> list[DoneLine]:
    """Make the rules of these lines, or change what they say."""
    return await write_each(place, lines, _rule)


async def _rule(place: Place, line: Mapping[str, Any]) -> Outcome:
    more: dict[str, Any] = line.get("more", {})
    wrong = sorted(set(more) - (WRITTEN - NAMED - set(COLUMNS)))
    if wrong:
        raise RejectedLine(
            "more", f"pas d'attribut de ce nom dans une règle, ou il a sa colonne : {', '.join(wrong)}"
        )
    given = {name: line[name] for name in COLUMNS if name in line} | more
    if "ladder" in given:
        given["ladder"] = _ladder(given["ladder"])
    if "team" in line:
        given["team_id"] = await _named(place, TEAM, "team", line["team"])
    if "calendar" in line:
        given["calendar_id"] = await _named(place, CALENDAR, "calendar", line["calendar"])
    known_id = await place.connection.fetchval(RULE, place.tenant_id, line["name"])
    try:
        if known_id is None:
            return await _create(place, given)
        known = await rule_store.read_rule(place.connection, known_id)
        assert known is not None  # noqa: S101 - It is locked.
        change = changed(_as_given(rule_store.rule_object(known)), _as_given(given))
        if not change:
            return Outcome.UNCHANGED
        await rule_store.update_rule(place.connection, known_id, change)
    except InvalidRule as refused:
        raise RejectedLine("", str(refused)) from None
    return Outcome.UPDATED


def _ladder(rungs: Any) -> list[dict[str, Any]]:
    """Rungs as they are stored, with what is usual of them."""
    try:
        return [rule_store.rung_object(Rung(**rung)) for rung in rungs]
    except TypeError:
        raise RejectedLine(
            "more", "ladder : une liste de marches attendue, comme dans POST /v1/alert-rules"
        ) from None


def _as_given(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as lists, so that they are compared as what they hold."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in rule.items()}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


async def _create(place: Place, given: Mapping[str, Any]) -> Outcome:
    missing = next((name for name in REQUIRED if name not in given), None)
    if missing is not None:
        raise RejectedLine(missing, "manque : il le faut pour créer")
    listed = {name: tuple(given[name]) for name in ("asset_kinds", "tags") if given.get(name) is not None}
    try:
        ladder = tuple(Rung(**rung) for rung in given.get("ladder", ()))
        whole: dict[str, Any] = {"quantity": None} | dict(given) | listed | {"ladder": ladder}
        rule = Rule(id=0, tenant_id=place.tenant_id, **whole)
        await rule_store.create_rule(place.connection, rule)
    except (TypeError, AttributeError):
        raise RejectedLine("more", "une valeur n'a pas la forme attendue") from None
    return Outcome.CREATED
