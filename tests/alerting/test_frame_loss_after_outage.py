"""No storm after an outage: frames in, by their rows; webhooks out."""

from datetime import timedelta

import pytest

from alerting import rule_store
from alerting.dispatch import dispatch
from alerting.queue import decode_message
from alerting.rules.frame_loss import OVER
from core.runtime.postgres import Pool
from tests.alerting.alert_scenario import AlertScenario, on
from tests.alerting.watching import Watch, watch

NOW = on(16, 10)  # A Monday.
DEVICES = 12
MONDAY = on(23, 7.5)


async def many_bins(scenario: AlertScenario) -> None:
    for number in range(DEVICES):
        await scenario.add_asset("waste_container", f"Bac {number}", "fill_level", "%", lambda _: None)


async def send_frames(watching: Watch, *, lost: range, gateway_id: int | None = None) -> None:
    """Of every device a frame each ten minutes of the day before now, but for those whose number is in `lost`."""
    rows = [
        (thing.device_id, NOW - OVER + timedelta(minutes=10 * number + 5), number)
        for thing in watching.town.things
        for number in range(144)
        if number not in lost
    ]
    await watching.town.pool.executemany(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, session_id, f_cnt, payload, received_at, "
        "status) VALUES ($1, $2, gen_random_uuid(), 1, $3, '', $2, 'empty')",
        rows,
    )
    await watching.town.pool.executemany(
        "INSERT INTO observation.reception VALUES ($1, $2, gen_random_uuid(), $3, 0, -80, 5)",
        [(device_id, at, gateway_id or watching.town.gateway_id) for device_id, at, _ in rows],
    )


async def note_outage(watching: Watch, what: str, began: int, ended: int, gateway_id: int | None = None) -> None:
    """Between the instants of these frames of the day, as registry/outages.py writes it."""
    began_at, ended_at = (NOW - OVER + timedelta(minutes=10 * number) for number in (began, ended))
    await watching.town.pool.execute(
        "INSERT INTO outage (what, gateway_id, began_at, ended_at) VALUES ($1, $2, $3, $4)",
        what, gateway_id, began_at, ended_at,
    )  # fmt: skip


async def judge(watching: Watch) -> int:
    """How many devices are alerted of for their losses."""
    await watching.receive({thing.datastream_id: 10.0 for thing in watching.town.things})
    await watching.pass_time(minutes=1)
    return len([rule for _, rule in await watching.notifications() if rule == "sensor_loss"])


async def test_a_gateway_without_power_for_nine_hours_gives_no_alert_of_lost_frames(pool: Pool) -> None:
    watching = await watch(pool, many_bins)
    await send_frames(watching, lost=range(60, 114))
    await note_outage(watching, "gateway", 60, 114, watching.town.gateway_id)

    assert await judge(watching) == 0


@pytest.mark.parametrize("what", ["bridge", "platform"])
async def test_restarts_of_the_bridge_or_the_platform_give_no_alert_of_lost_frames(pool: Pool, what: str) -> None:
    watching = await watch(pool, many_bins)
    await send_frames(watching, lost=range(60, 114))
    await note_outage(watching, what, 60, 90)
    await note_outage(watching, what, 90, 114)

    assert await judge(watching) == 0


async def test_frames_that_a_device_loses_by_itself_are_alerted_of_while_another_gateway_is_away(
    pool: Pool,
) -> None:
    watching = await watch(pool, many_bins)
    other = await pool.fetchval(
        "INSERT INTO gateway (tenant_id, gateway_id, name) VALUES ($1, int8send(9), 'Port') RETURNING id",
        watching.town.tenant_id,
    )
    await send_frames(watching, lost=range(60, 114))
    await note_outage(watching, "gateway", 60, 114, other)

    assert await judge(watching) == DEVICES


async def test_a_weekly_rule_without_a_team_is_one_message_on_monday(pool: Pool) -> None:
    watching = await watch(pool, many_bins)
    await send_frames(watching, lost=range(60, 114))
    alerts = await judge(watching)
    early = [await dispatch(pool, MONDAY - timedelta(minutes=one)) for one in (6 * 24 * 60, 1)]
    before = await pool.fetchval("SELECT count(*) FROM jobs.pgqueuer")
    done = await dispatch(pool, MONDAY + timedelta(minutes=1))
    rows = await pool.fetch("SELECT payload FROM jobs.pgqueuer")

    assert alerts == DEVICES
    assert next(one.cadence for one in await rule_store.list_rules(pool) if one.name == "sensor_loss") == "weekly"
    assert [one.digests for one in early] == [0, 0]
    assert (before, done.digests, len(rows)) == (0, 1, 1)
    assert decode_message(rows[0]["payload"]).body.count(b'"alert":') == DEVICES
