"""Rules, and where each stands with what it watches, as the program of November 2026 left them in the database."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from alerting.engine_store import StateKey, read_states_of_datastreams, save_states
from alerting.rule_store import read_rule
from alerting.rules import forecast, series
from alerting.rules.conditions import resting_at
from alerting.rules.model import NOWHERE, Condition, Observation, RuleState
from core.runtime.bus import Bus
from core.runtime.postgres import Pool, Record
from tests.services.alerting.test_app import ago, publish, serving, until

TEAM = "INSERT INTO team (tenant_id, name) VALUES ($1, 'voirie') RETURNING id"
CALENDAR = """
INSERT INTO alert_calendar (tenant_id, name, weekly) VALUES ($1, 'bureaux', '[[], [], [], [], [], [], []]')
RETURNING id
"""
RULE = """
INSERT INTO alert_rule (tenant_id, name, kind, quantity, severity, message, asset_kinds, tags, series, scope,
    fire_op, fire_value, fire_upper, clear_op, clear_value, clear_upper, for_readings, of_readings, for_seconds,
    keep_firing_seconds, clear_on_emptying, silence_intervals, ladder, schedule, calendar_id, team_id, inhibits,
    cadence, reopen_after_seconds, enabled)
VALUES ($1, 'fuite', 'threshold', 'water_index', 'major', '{asset} : {value}', '{waste_container}', '{eau}',
    'night_minimum_flow', 'asset', '>', 7.5, 9.5, '<', 2.5, 8.5, 2, 3, 60, 120, true, 4.5,
    $4::text::jsonb, 'closed', $2, $3, true, 'weekly', 3600, true)
RETURNING id
"""
LADDER = """[
  {"severity": "critical", "op": "<=", "value": 90.0, "limit": 95.0, "at_once": true},
  {"severity": "major", "op": ">=", "within_hours": 24.0, "limit": 100.0, "at_once": false},
  {"severity": "warning", "times_median": 3.0}
]"""
EXPECTED_RULE: dict[str, Any] = {
    "name": "fuite",
    "kind": "threshold",
    "quantity": "water_index",
    "severity": "major",
    "message": "{asset} : {value}",
    "asset_kinds": ("waste_container",),
    "tags": ("eau",),
    "series": "night_minimum_flow",
    "scope": "asset",
    "fire_op": ">",
    "fire_value": 7.5,
    "fire_upper": 9.5,
    "clear_op": "<",
    "clear_value": 2.5,
    "clear_upper": 8.5,
    "for_readings": 2,
    "of_readings": 3,
    "for_seconds": 60,
    "keep_firing_seconds": 120,
    "clear_on_emptying": True,
    "silence_intervals": 4.5,
    "judges_improbable": False,
    "opens_work_order": False,
    "ladder": (
        {
            "severity": "critical",
            "op": "<=",
            "value": 90.0,
            "within_hours": None,
            "limit": 95.0,
            "times_median": None,
            "at_once": True,
        },
        {
            "severity": "major",
            "op": ">=",
            "value": None,
            "within_hours": 24.0,
            "limit": 100.0,
            "times_median": None,
            "at_once": False,
        },
        {
            "severity": "warning",
            "op": ">=",
            "value": None,
            "within_hours": None,
            "limit": 100.0,
            "times_median": 3.0,
            "at_once": False,
        },
    ),
    "schedule": "closed",
    "inhibits": True,
    "cadence": "weekly",
    "reopen_after_seconds": 3600,
    "enabled": True,
}
ALERT = """
INSERT INTO alert (tenant_id, rule_id, asset_id, datastream_id, severity, message, condition, opened_at)
VALUES ($1, $2, $3, $4, 'warning', 'm', 'recovering', '2026-11-25 08:00+00') RETURNING id
"""
ENDED = """
INSERT INTO alert (tenant_id, rule_id, asset_id, datastream_id, severity, message, condition, workflow, opened_at,
                   fired_at, resolved_at, resolved_cause)
VALUES ($1, $2, $3, $4, 'warning', 'm', 'ok', 'resolved', $5, $5, $6, 'cleared')
"""
STATE = """
INSERT INTO rule_state (tenant_id, rule_id, datastream_id, condition, since, recent, evaluated_until, value,
                        alert_id, slot, rung, due_at, memo)
VALUES ($1, $2, $3, 'recovering', '2026-11-25 09:00:00.123456+00', 45, '2026-11-25 10:00+00', 61.5, $4,
        11, 2, '2026-11-25 11:00+00', '\\x00ff10')
"""
PENDING = """
INSERT INTO rule_state (tenant_id, rule_id, datastream_id, condition, since, recent, evaluated_until, value)
VALUES ($1, $2, $3, 'pending', $4, 1, $4, 76)
"""
AT = datetime(2026, 11, 25, 3, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
# What a state remembers. Of a rate, in msgpack: seconds since 1970, value.
RATE = bytes.fromhex("92cb41dac1958e000000cb4024000000000000")  # AT, 10.
RATE_AFTER = bytes.fromhex("92cb41dac19c96000000cb4030000000000000")  # Two hours later, 16.
# Of night flows: anchor's seconds and index, the night under way, its least flow, those of the last nights.
NIGHTS = bytes.fromhex(
    "95cb41dac1920a000000cb408f400000000000aa323032362d31312d3235cb402900000000000093"
    "cb3ff8000000000000cb4004000000000000cb400c000000000000"
)
NIGHTS_IN_BETWEEN = bytes.fromhex(
    "95cb41dac1958e000000cb408f800000000000aa323032362d31312d3235cb402000000000000093"
    "cb3ff8000000000000cb4004000000000000cb400c000000000000"
)
NIGHTS_AFTER = bytes.fromhex(
    "95cb41dac1a01a000000cb4091500000000000a0c094"
    "cb3ff8000000000000cb4004000000000000cb400c000000000000cb4020000000000000"
)
# Of a forecast, little-endian doubles: seconds, value, an hour and two percent apart.
POINTS = bytes.fromhex(
    "0000008e95c1da4100000000000049400000001299c1da410000000000004a40"
    "000000969cc1da410000000000004b400000001aa0c1da410000000000004c40"
)
# Of a value that does not move: where it came to rest.
RESTING = bytes.fromhex("0000000000403540")  # 21.25


async def test_rule_of_today_is_read_in_full(pool: Pool, place: Any) -> None:
    team_id = await pool.fetchval(TEAM, place.tenant_id)
    calendar_id = await pool.fetchval(CALENDAR, place.tenant_id)
    rule_id = await pool.fetchval(RULE, place.tenant_id, calendar_id, team_id, LADDER)

    async with pool.acquire() as connection:
        rule = await read_rule(connection, rule_id)

    assert rule is not None
    found = asdict(rule)
    found |= {name: tuple(found[name]) for name in ("asset_kinds", "tags", "ladder")}
    assert found == EXPECTED_RULE | {
        "id": rule_id,
        "tenant_id": place.tenant_id,
        "calendar_id": calendar_id,
        "team_id": team_id,
    }


async def test_state_of_today_is_read_in_full_and_written_alike(pool: Pool, place: Any) -> None:
    rule_id = await place.rule("bin_75")
    alert_id = await pool.fetchval(ALERT, place.tenant_id, rule_id, place.asset_id, place.datastream_id)
    await pool.execute(STATE, place.tenant_id, rule_id, place.datastream_id, alert_id)
    before = await pool.fetchrow("SELECT * FROM rule_state")
    key = StateKey(rule_id, place.datastream_id)

    found = await read_states_of_datastreams(pool, [key])
    await pool.execute("DELETE FROM rule_state")
    async with pool.acquire() as connection, connection.transaction():
        await save_states(connection, found)

    row = found[key]
    assert structs.asdict(row.state) == {
        "condition": "recovering",
        "since": datetime(2026, 11, 25, 9, 0, 0, 123_456, tzinfo=UTC),
        "recent": 45,
        "evaluated_until": datetime(2026, 11, 25, 10, tzinfo=UTC),
        "value": 61.5,
        "alerting": True,
        "rung": 2,
        "due_at": datetime(2026, 11, 25, 11, tzinfo=UTC),
        "memo": bytes.fromhex("00ff10"),
        "past": (),
    }
    assert (row.tenant_id, row.alert_id, row.slot) == (place.tenant_id, alert_id, 11)
    after: Record | None = await pool.fetchrow("SELECT * FROM rule_state")
    assert after == before


async def test_state_that_comes_to_rest_keeps_nothing_of_before_whatever_is_saved_beside_it(
    pool: Pool, place: Any
) -> None:
    rule_id = await place.rule("bin_75")
    alert_id = await pool.fetchval(ALERT, place.tenant_id, rule_id, place.asset_id, place.datastream_id)
    await pool.execute(STATE, place.tenant_id, rule_id, place.datastream_id, alert_id)
    key, other = (
        StateKey(rule_id, place.datastream_id),
        StateKey(await place.rule("bin_fire"), place.datastream_id),
    )
    at = datetime(2026, 11, 25, 12, tzinfo=UTC)

    stirred = (await read_states_of_datastreams(pool, [key]))[key]
    at_rest = stirred._replace(state=RuleState(Condition.OK, at, 0, at, 0.0, alerting=False), alert_id=None)
    for rows in (
        {key: at_rest},
        {key: at_rest, other: stirred._replace(key=other)},
        {key: stirred, other: at_rest._replace(key=other)},
    ):
        async with pool.acquire() as connection, connection.transaction():
            await save_states(connection, rows)

        assert await read_states_of_datastreams(pool, [key, other]) == rows


async def test_rule_that_was_pending_fires_at_the_next_value_since_the_stored_instant(
    pool: Pool, database_url: str, nats_url: str, bus: Bus, place: Any
) -> None:
    since = ago(20)
    await pool.execute(PENDING, place.tenant_id, await place.rule("bin_75"), place.datastream_id, since)

    async with serving(pool, database_url, nats_url):
        await publish(bus, place, (ago(10), 82.0))

        async def is_open() -> bool:
            return await pool.fetchval("SELECT count(*) > 0 FROM alert")

        await until(is_open)

    (alert,) = await place.alerts()
    assert (alert.rule, alert.condition, alert.opened_at, alert.value) == ("bin_75", "firing", since, 82)


@pytest.mark.parametrize(
    ("hours", "expected"), [(23, [("open", 2)]), (25, [("open", 1), ("resolved", 1)])], ids=["23 h", "25 h"]
)
async def test_alert_that_ended_within_a_day_is_opened_again_and_an_older_one_is_left_alone(
    pool: Pool,
    database_url: str,
    nats_url: str,
    bus: Bus,
    place: Any,
    hours: int,
    expected: list[tuple[str, int]],
) -> None:
    rule_id = await place.rule("bin_75")
    ended_at = ago(60 * hours)
    await pool.execute(
        ENDED, place.tenant_id, rule_id, place.asset_id, place.datastream_id, ended_at - HOUR, ended_at
    )

    async with serving(pool, database_url, nats_url):
        await publish(bus, place, (ago(4), 76.0), (ago(2), 82.0))

        async def is_open() -> bool:
            return await pool.fetchval("SELECT EXISTS (SELECT FROM alert WHERE workflow = 'open')")

        await until(is_open)

    assert [(alert.workflow, alert.occurrences) for alert in await place.alerts()] == expected
    event = "alert.reopened" if hours == 23 else "alert.opened"
    assert [row["event"] for row in await pool.fetch("SELECT event FROM alert_notice")] == [event]


def test_stored_rate_is_continued() -> None:
    assert series.rate(RATE, Observation(AT + 2 * HOUR, 16.0)) == (RATE_AFTER, Observation(AT + 2 * HOUR, 3.0))


def test_stored_night_flows_are_continued() -> None:
    memo, judged = series.step("night_minimum_flow", NIGHTS, Observation(AT, 1008.0), NOWHERE)
    after, found = series.step("night_minimum_flow", memo, Observation(AT + 3 * HOUR, 1108.0), NOWHERE)

    assert (memo, judged) == (NIGHTS_IN_BETWEEN, None)
    # The night began at two o'clock in Paris; its least flow was 8 L/h, below the 12.5 that were stored.
    assert (after, found) == (NIGHTS_AFTER, Observation(datetime(2026, 11, 25, 1, tzinfo=UTC), 8.0))
    assert list(series.nights_before(NIGHTS)) == [1.5, 2.5]


def test_stored_points_of_a_forecast_say_when_a_limit_is_reached() -> None:
    last = Observation(AT + 3 * HOUR, 56.0)

    assert forecast.hours_until(100.0, POINTS, last) == pytest.approx(22.0)
    assert forecast.remember(POINTS[:-16], last, 54.0) == POINTS


def test_stored_resting_value_is_what_a_flat_rule_compares_with() -> None:
    state = RuleState(Condition.OK, AT, 0, AT, 99.0, alerting=False, memo=RESTING)

    assert resting_at(state) == 21.25
