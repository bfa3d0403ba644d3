"""SQL of rules and calendars, for the API and for the engine; row security bounds every statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any

from alerting.rules.calendar import Calendar, weekly_of
from alerting.rules.checks import InvalidRule, check_rule
from alerting.rules.model import Rule, Rung
from core.runtime.postgres import Connection, ForeignKeyViolationError, Pool, Record
from registry.rows import entity, fetch_all, fetch_one, insert

# What a person decides of a rule, by column; the field of `Rule` has the same name.
WRITTEN = (
    "name, kind, quantity, severity, message, asset_kinds, tags, series, scope, fire_op, fire_value, fire_upper, "
    "clear_op, clear_value, clear_upper, for_readings, of_readings, for_seconds, keep_firing_seconds, "
    "clear_on_emptying, silence_intervals, ladder, schedule, calendar_id, team_id, inhibits, cadence, "
    "reopen_after_seconds, judges_improbable, opens_work_order, enabled"
)
COLUMNS = f"id, tenant_id, {WRITTEN}".replace("severity", "severity::text AS severity")
READ_ENABLED = f"SELECT {COLUMNS} FROM alert_rule WHERE enabled ORDER BY id"
LIST = f"SELECT {COLUMNS} FROM alert_rule ORDER BY name, id"
READ = f"SELECT {COLUMNS} FROM alert_rule WHERE id = $1"
# A field that is not in the object is as it is when nobody says anything (here: the rule of id 0, all NULL).
CREATE = f"""
INSERT INTO alert_rule (tenant_id, {WRITTEN})
SELECT $1, {WRITTEN} FROM jsonb_populate_recordset(NULL::alert_rule, $2)
ON CONFLICT (tenant_id, name) DO NOTHING
RETURNING {COLUMNS}
"""
UPDATE = f"""
UPDATE alert_rule r SET ({WRITTEN}) = (SELECT {WRITTEN} FROM jsonb_populate_record(r, $2)), updated_at = now()
WHERE id = $1
RETURNING {COLUMNS}
"""
DELETE = "DELETE FROM alert_rule WHERE id = $1 RETURNING true"
# A rule names what is its own tenant's: the key alone would let it name anybody's.
KNOWS = """
SELECT ($1::int IS NULL OR EXISTS (SELECT FROM team WHERE id = $1))
   AND ($2::int IS NULL OR EXISTS (SELECT FROM alert_calendar WHERE id = $2))
"""
CALENDAR_COLUMNS = """id, tenant_id, name, weekly, school_zone, closed_on_holidays,
(SELECT coalesce(jsonb_agg(jsonb_build_array(lower(c), upper(c)) ORDER BY c), '[]') FROM unnest(closures) c)
    AS closures"""
LIST_CALENDARS = f"SELECT {CALENDAR_COLUMNS} FROM alert_calendar ORDER BY name, id"
READ_CALENDAR = f"SELECT {CALENDAR_COLUMNS} FROM alert_calendar WHERE id = $1"
SAVE_CALENDAR = f"""
INSERT INTO alert_calendar (tenant_id, name, weekly, school_zone, closed_on_holidays, closures)
VALUES ($1, $2, $3, $4, $5,
        ARRAY(SELECT daterange((c ->> 0)::date, (c ->> 1)::date) FROM jsonb_array_elements($6) c))
ON CONFLICT (tenant_id, name) DO UPDATE SET weekly = excluded.weekly, school_zone = excluded.school_zone,
    closed_on_holidays = excluded.closed_on_holidays, closures = excluded.closures
RETURNING {CALENDAR_COLUMNS}
"""
DELETE_CALENDAR = "DELETE FROM alert_calendar WHERE id = $1 RETURNING true"
CALENDAR_NAMED = "SELECT id FROM alert_calendar WHERE tenant_id = $1 AND name = $2"


@dataclass(frozen=True, slots=True)
class StoredCalendar:
    """A tenant's calendar; `weekly` and `closures` as they were given."""

    id: int
    tenant_id: int
    name: str
    weekly: Any  # Seven lists, from Monday, of ["HH:MM", "HH:MM"].
    school_zone: str | None
    closed_on_holidays: bool
    closures: Any  # [first day, first day after] in ISO 8601.

    def read(self) -> Calendar:
        """As rules ask it."""
        closures = tuple((date.fromisoformat(first), date.fromisoformat(after)) for first, after in self.closures)
        return Calendar(weekly_of(self.weekly), self.school_zone, self.closed_on_holidays, closures)


def _rule(row: Record) -> Rule:
    rule = entity(Rule, row)
    rungs: Any = rule.ladder
    return replace(rule, ladder=tuple(Rung(**rung) for rung in rungs)) if rungs else rule


def rung_object(rung: Rung) -> dict[str, Any]:
    """What is written of a rung."""
    return {
        field.name: getattr(rung, field.name) for field in fields(Rung) if getattr(rung, field.name) is not None
    }


def rule_object(rule: Rule) -> dict[str, Any]:
    """What is written of a rule, as JSON has it."""
    written: dict[str, Any] = {name: getattr(rule, name) for name in WRITTEN.split(", ")}
    return written | {"ladder": [rung_object(rung) for rung in rule.ladder]}


async def read_enabled_rules(connection: Connection | Pool) -> list[Rule]:
    """Every enabled rule that is visible: to the services, of every tenant."""
    return [_rule(row) for row in await connection.fetch(READ_ENABLED)]


async def list_rules(connection: Connection | Pool) -> list[Rule]:
    """Every visible rule, by name."""
    return [_rule(row) for row in await connection.fetch(LIST)]


async def read_rule(connection: Connection | Pool, rule_id: int) -> Rule | None:
    """One rule."""
    row = await connection.fetchrow(READ, rule_id)
    return None if row is None else _rule(row)


async def insert_rules(connection: Connection | Pool, tenant_id: int, rules: Sequence[Rule]) -> list[Rule]:
    """These rules, but for those whose name is taken; they are not checked."""
    rows = await connection.fetch(CREATE, tenant_id, [rule_object(rule) for rule in rules])
    return [_rule(row) for row in rows]


async def create_rule(connection: Connection, rule: Rule) -> Rule:
    """A new rule of `rule.tenant_id`; its id is given.

    Raises:
        InvalidRule: see `check_rule`; or its name is taken, or it names a team or a calendar that is not there.
    """
    await _check_names(connection, check_rule(rule))
    made = await insert_rules(connection, rule.tenant_id, [rule])
    if not made:
        raise InvalidRule(f"une règle s'appelle déjà {rule.name}")
    return made[0]


async def update_rule(connection: Connection, rule_id: int, change: Mapping[str, Any]) -> Rule | None:
    """The rule after the change, live on every replica within 5 s; None when there is no such rule.

    `change`: column to its new value, as JSON has it. The caller's transaction is undone when it raises.

    Raises:
        InvalidRule: see `create_rule`.
    """
    row = await connection.fetchrow(UPDATE, rule_id, dict(change))
    if row is None:
        return None
    rule = check_rule(_rule(row))
    await _check_names(connection, rule)
    return rule


async def delete_rule(connection: Connection, rule_id: int) -> bool:
    """Remove a rule with its alerts and all that is known of them; False when there is none."""
    return await connection.fetchval(DELETE, rule_id) is True


async def _check_names(connection: Connection, rule: Rule) -> None:
    if not await connection.fetchval(KNOWS, rule.team_id, rule.calendar_id):
        raise InvalidRule(
            "l'équipe ou le calendrier n'existe pas : voyez GET /v1/teams et GET /v1/alert-calendars"
        )


async def list_calendars(connection: Connection | Pool) -> list[StoredCalendar]:
    """Every visible calendar, by name."""
    return await fetch_all(connection, StoredCalendar, LIST_CALENDARS)


async def read_calendar(connection: Connection | Pool, calendar_id: int) -> StoredCalendar | None:
    """One calendar."""
    return await fetch_one(connection, StoredCalendar, READ_CALENDAR, calendar_id)


async def save_calendar(
    connection: Connection | Pool,
    tenant_id: int,
    *,
    name: str,
    weekly: Sequence[Sequence[Sequence[str]]],
    school_zone: str | None = None,
    closed_on_holidays: bool = True,
    closures: Sequence[tuple[date, date]] = (),
) -> StoredCalendar:
    """A calendar by its name, new or as it is from now on.

    Raises:
        MalformedHours: `weekly` are no opening hours.
    """
    weekly_of(weekly)
    days = [[first.isoformat(), after.isoformat()] for first, after in closures]
    values = (tenant_id, name, weekly, school_zone, closed_on_holidays, days)
    return await insert(connection, StoredCalendar, SAVE_CALENDAR, *values)


async def delete_calendar(connection: Connection, calendar_id: int) -> bool:
    """Remove a calendar; False when there is none.

    Raises:
        InvalidRule: a rule goes by it.
    """
    try:
        return await connection.fetchval(DELETE_CALENDAR, calendar_id) is True
    except ForeignKeyViolationError:
        raise InvalidRule("une règle suit ce calendrier : donnez-lui-en un autre d'abord") from None


async def find_calendar(connection: Connection | Pool, tenant_id: int, name: str) -> int | None:
    """The id of a tenant's calendar by its name."""
    return await connection.fetchval(CALENDAR_NAMED, tenant_id, name)
