"""Lighting commands against the real schema: downlinks are moved by hand, as the network service would."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from core.runtime.postgres import Pool
from lighting.commands import RejectedLightingCommand
from lighting.requests import request_command
from lighting.store import Command, read_command
from lighting.sweep import advance_open_commands, relight
from registry.datastreams import make_datastream
from registry.downlinks import read_downlink

NOW = datetime.now(UTC)


@pytest.fixture
async def cabinet(pool: Pool) -> int:
    """The asset id of a cabinet served by a Triphas'O."""
    tenant = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('sdef', 'SDEF') RETURNING id")
    profile = await pool.fetchval(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec, device_class, capabilities) "
        "VALUES ($1, 'cabinet', 'Watteco', 'Triphas''O', 'watteco.triphaso', 'C', '{switch}') RETURNING id",
        tenant,
    )
    device = await pool.fetchval(
        "INSERT INTO device "
        "(tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id) "
        "VALUES ($1, 'deveui01', 'joineui1', 'c1', $2, 3, 'x', 'kek-1') RETURNING id",
        tenant,
        profile,
    )
    asset = await pool.fetchval(
        "INSERT INTO asset (tenant_id, kind, name) VALUES ($1, 'lighting_cabinet', 'A1') RETURNING id", tenant
    )
    await pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id) VALUES ($1, $2, $3)", tenant, asset, device
    )
    return asset


async def ask(pool: Pool, asset: int, action: str, off_until: datetime | None = None) -> Command:
    async with pool.acquire() as connection, connection.transaction():
        requested = await request_command(
            connection,
            asset,
            action=action,
            off_until=off_until,
            requested_by="astreinte",
            reason="essai",
            now=datetime.now(UTC),
        )
    return requested.command


async def settle(pool: Pool, downlink_id: int, state: str = "sent") -> None:
    await pool.execute(
        "UPDATE downlink SET state = $2::downlink_state, sent_at = now() WHERE id = $1", downlink_id, state
    )


async def say(pool: Pool, command: Command, *, on: bool) -> None:
    """The cabinet's relay state arrives and is stored."""
    datastream = await make_datastream(
        pool,
        tenant_id=command.tenant_id,
        asset_id=command.asset_id,
        device_id=command.device_id,
        position="",
        channel="",
        quantity="switch_state",
        unit="1",
    )
    at = datetime.now(UTC)
    await pool.execute(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status) "
        "VALUES ($1, $2, $3, '', $2, 'decoded')",
        command.device_id,
        at,
        uuid4(),
    )
    await pool.execute("INSERT INTO observation.measurement VALUES ($1, $2, $3, 0)", datastream.id, at, float(on))


async def state_of(pool: Pool, command: Command) -> tuple[str, str | None]:
    read = await read_command(pool, command.id)
    assert read is not None
    return read.state, read.failure


async def test_a_command_is_sent_read_back_and_confirmed(pool: Pool, cabinet: int) -> None:
    command = await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(hours=1))
    downlink = await read_downlink(pool, command.downlink_id)
    await settle(pool, command.downlink_id)
    swept = await advance_open_commands(pool, datetime.now(UTC))
    sent = await state_of(pool, command)
    await say(pool, command, on=False)
    await advance_open_commands(pool, datetime.now(UTC))

    assert downlink is not None
    assert downlink.payload.hex() == "1150000600"
    assert sent == ("sent", None)
    assert swept.slots == {3}
    assert await state_of(pool, command) == ("confirmed", None)


async def test_a_newer_command_supersedes_an_older_and_cancels_its_downlink(pool: Pool, cabinet: int) -> None:
    older = await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(hours=1))
    newer = await ask(pool, cabinet, "on")
    downlink = await read_downlink(pool, older.downlink_id)

    assert await state_of(pool, older) == ("superseded", None)
    assert await state_of(pool, newer) == ("queued", None)
    assert downlink is not None
    assert (downlink.state, downlink.reason) == ("cancelled", "superseded")


async def test_a_rejected_transmission_fails_the_command_with_its_reason(pool: Pool, cabinet: int) -> None:
    command = await ask(pool, cabinet, "on")
    await pool.execute(
        "UPDATE downlink SET state = 'failed', reason = 'TX_FREQ' WHERE id = $1", command.downlink_id
    )
    await advance_open_commands(pool, datetime.now(UTC))

    assert await state_of(pool, command) == ("failed", "not_transmitted: TX_FREQ")


async def test_the_street_is_lit_again_when_the_off_ends(pool: Pool, cabinet: int) -> None:
    await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(minutes=30))
    early = await relight(pool, datetime.now(UTC))
    due = await relight(pool, datetime.now(UTC) + timedelta(minutes=31))
    again = await relight(pool, datetime.now(UTC) + timedelta(minutes=32))
    actions = await pool.fetch("SELECT action, state::text FROM lighting_command ORDER BY id")

    assert early.outcomes == []
    assert due.outcomes == ["relit"]
    assert again.outcomes == []
    assert [tuple(row) for row in actions] == [("off", "superseded"), ("on", "queued")]


async def test_a_street_that_did_not_light_again_is_tried_again(pool: Pool, cabinet: int) -> None:
    await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(minutes=30))
    await relight(pool, datetime.now(UTC) + timedelta(minutes=31))
    await pool.execute("UPDATE downlink SET state = 'failed', reason = 'NO_ACK' WHERE state = 'queued'")
    await advance_open_commands(pool, datetime.now(UTC))

    again = await relight(pool, datetime.now(UTC) + timedelta(minutes=6))

    assert again.outcomes == ["relit"]


async def test_an_operators_on_settles_the_end_of_the_off_once_the_cabinet_is_lit(
    pool: Pool, cabinet: int
) -> None:
    await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(minutes=30))
    command = await ask(pool, cabinet, "on")
    await settle(pool, command.downlink_id)
    await advance_open_commands(pool, datetime.now(UTC))
    await say(pool, command, on=True)
    await advance_open_commands(pool, datetime.now(UTC))

    assert await state_of(pool, command) == ("confirmed", None)
    assert (await relight(pool, datetime.now(UTC) + timedelta(hours=1))).outcomes == []


async def test_a_street_whose_on_by_an_operator_failed_does_not_stay_dark(pool: Pool, cabinet: int) -> None:
    await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(minutes=30))
    command = await ask(pool, cabinet, "on")
    await pool.execute(
        "UPDATE downlink SET state = 'failed', reason = 'NO_ACK' WHERE id = $1", command.downlink_id
    )
    await advance_open_commands(pool, datetime.now(UTC))

    again = await relight(pool, datetime.now(UTC) + timedelta(minutes=6))

    assert await state_of(pool, command) == ("failed", "not_transmitted: NO_ACK")
    assert again.outcomes == ["relit"]


async def test_a_failed_on_that_ended_no_off_is_left_to_the_operator(pool: Pool, cabinet: int) -> None:
    command = await ask(pool, cabinet, "on")
    await pool.execute(
        "UPDATE downlink SET state = 'failed', reason = 'NO_ACK' WHERE id = $1", command.downlink_id
    )
    await advance_open_commands(pool, datetime.now(UTC))

    assert (await relight(pool, datetime.now(UTC) + timedelta(hours=1))).outcomes == []


async def test_an_off_on_its_way_to_a_gateway_is_not_tried_again_after_a_newer_on(
    pool: Pool, cabinet: int
) -> None:
    off = await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(hours=1))
    await pool.execute("UPDATE downlink SET state = 'sending' WHERE id = $1", off.downlink_id)
    await ask(pool, cabinet, "on")
    await pool.execute(
        "UPDATE downlink SET state = 'queued', reason = 'COLLISION_PACKET' WHERE id = $1", off.downlink_id
    )

    downlink = await read_downlink(pool, off.downlink_id)

    assert downlink is not None
    assert downlink.not_after <= datetime.now(UTC)  # The shard's owner lets it expire.


async def test_two_operators_at_once_leave_one_open_command(pool: Pool, cabinet: int) -> None:
    await asyncio.gather(
        ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(hours=1)),
        *(ask(pool, cabinet, "on") for _ in range(3)),
    )

    open_commands = await pool.fetchval("SELECT count(*) FROM lighting_command WHERE state = 'queued'")
    queued = await pool.fetchval("SELECT count(*) FROM downlink WHERE state = 'queued'")

    assert (open_commands, queued) == (1, 1)


async def test_a_command_whose_profile_lost_its_codec_fails_and_stops_nobody(pool: Pool, cabinet: int) -> None:
    command = await ask(pool, cabinet, "on")
    await settle(pool, command.downlink_id)
    await pool.execute("UPDATE device_profile SET codec = 'axioma.w1'")
    await advance_open_commands(pool, datetime.now(UTC))

    state, failure = await state_of(pool, command)

    assert state == "failed"
    assert failure is not None
    assert "axioma.w1" in failure


async def test_an_asset_without_a_device_is_rejected(pool: Pool, cabinet: int) -> None:
    await pool.execute("UPDATE assignment SET during = tstzrange(now() - interval '2 h', now() - interval '1 h')")

    with pytest.raises(RejectedLightingCommand, match="aucun équipement"):
        await ask(pool, cabinet, "on")
