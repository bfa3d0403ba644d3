"""Lighting commands against the real schema: downlinks are moved by hand, as the network service would."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from core.runtime.postgres import Pool
from decoders.codec import EncodedCommand
from lighting import restoring
from lighting import sweep as sweeps
from lighting.circuit_store import find_circuits
from lighting.command_store import Command, read_command
from lighting.commands import MAX_ATTEMPTS, RejectedLightingCommand
from lighting.expected import read_lamps
from lighting.octets import Asked
from lighting.phases import EARLY, spread_of
from lighting.requests import LightingRequest, circuits_to_command, native_octets, request_command
from lighting.restoring import request_now
from lighting.sweep import sweep_once, sweeps_due
from lighting.swept import Swept
from registry.datastreams import make_datastream
from registry.downlinks import read_downlink
from tests.lighting.only_when_due import only_when_due

NOW = datetime.now(UTC)


relight, restore = only_when_due(sweeps.relight), only_when_due(restoring.restore)
advance_commands, confirm_applied = only_when_due(sweeps.advance_commands), only_when_due(sweeps.confirm_applied)


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


async def ask(
    pool: Pool, asset: int, action: str, off_until: datetime | None = None, level: int | None = None
) -> Command:
    """To dim it takes what no codec of this program has for a relay: a frame as of a vendor's script."""
    request, now = LightingRequest(action, "astreinte", "essai", off_until, level), datetime.now(UTC)
    async with pool.acquire() as connection, connection.transaction():
        [circuit] = circuits_to_command(await find_circuits(connection, asset), request, now)
        octets = native_octets(circuit.codec, circuit.output, replace(request, level=None).asked_at(now))
        if level is not None:
            frames = {**octets.frames, "dim": EncodedCommand(9, bytes([level]))}
            octets = replace(octets, frames=frames, level_quantity="light_output")
        requested = await request_command(connection, circuit, request, octets, now)
    return requested.command


async def settle(pool: Pool, downlink_id: int, state: str = "sent") -> None:
    await pool.execute(
        "UPDATE downlink SET state = $2::downlink_state, sent_at = now() WHERE id = $1", downlink_id, state
    )


async def say(pool: Pool, command: Command, *, on: bool, channel: str = "") -> None:
    """The cabinet's relay state arrives and is stored."""
    await measure(pool, command, "switch_state", float(on), channel=channel)


async def measure(
    pool: Pool, command: Command, quantity: str, value: float, at: datetime | None = None, channel: str = ""
) -> None:
    at = at or datetime.now(UTC)
    datastream = await make_datastream(
        pool,
        tenant_id=command.tenant_id,
        asset_id=command.asset_id,
        device_id=command.device_id,
        position="",
        channel=channel,
        quantity=quantity,
        unit="1",
    )
    await pool.execute(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status) "
        "VALUES ($1, $2, $3, '', $2, 'decoded')",
        command.device_id,
        at,
        uuid4(),
    )
    await pool.execute("INSERT INTO observation.measurement VALUES ($1, $2, $3, 0)", datastream.id, at, value)


async def state_of(pool: Pool, command: Command) -> tuple[str, str | None]:
    read = await read_command(pool, command.id)
    assert read is not None
    return read.state, read.failure


async def test_a_command_is_sent_read_back_and_applied(pool: Pool, cabinet: int) -> None:
    command = await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(hours=1))
    downlink = await read_downlink(pool, command.downlink_id)
    await settle(pool, command.downlink_id)
    swept = await advance_commands(pool, datetime.now(UTC))
    sent = await state_of(pool, command)
    await say(pool, command, on=False)
    await advance_commands(pool, datetime.now(UTC))

    assert downlink is not None
    assert downlink.payload.hex() == "1150000600"
    assert sent == ("sent", None)
    assert swept.slots == {3}
    assert await state_of(pool, command) == ("applied", None)


async def test_a_newer_command_supersedes_an_older_and_cancels_its_downlink(pool: Pool, cabinet: int) -> None:
    older = await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(hours=1))
    newer = await ask(pool, cabinet, "on")
    downlink = await read_downlink(pool, older.downlink_id)

    assert await state_of(pool, older) == ("superseded", None)
    assert await state_of(pool, newer) == ("queued", None)
    assert downlink is not None
    assert (downlink.state, downlink.reason) == ("cancelled", "superseded")


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


async def test_a_dimming_with_an_end_is_brought_back_then_and_puts_off_no_light_that_was_due(
    pool: Pool, cabinet: int
) -> None:
    now = datetime.now(UTC)
    dimmed = await ask(pool, cabinet, "dim", now + timedelta(minutes=30), 50)
    await settle(pool, dimmed.downlink_id)
    await advance_commands(pool, datetime.now(UTC))
    await measure(pool, dimmed, "light_output", 50.0)
    await advance_commands(pool, datetime.now(UTC))
    early = await relight(pool, now + timedelta(minutes=29))
    due = await relight(pool, now + timedelta(minutes=31))
    reason = await pool.fetchval("SELECT reason FROM lighting_command ORDER BY id DESC LIMIT 1")
    # This one never reaches the lamp, which is out since before it and is to be lit again sooner.
    off = await ask(pool, cabinet, "off", now + timedelta(minutes=20))
    lost = await ask(pool, cabinet, "dim", now + timedelta(hours=2), 50)
    lit = await relight(pool, now + timedelta(minutes=21))

    assert await state_of(pool, dimmed) == ("applied", None)
    assert (early.outcomes, due.outcomes) == ([], ["relit"])
    assert reason == f"fin de la gradation demandée (commande {dimmed.id})"
    assert (await state_of(pool, off), await state_of(pool, lost)) == (("superseded", None), ("superseded", None))
    assert lit.outcomes == ["relit"]


async def test_an_operators_on_settles_the_end_of_the_off_once_the_cabinet_is_lit(
    pool: Pool, cabinet: int
) -> None:
    await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(minutes=30))
    command = await ask(pool, cabinet, "on")
    await settle(pool, command.downlink_id)
    await advance_commands(pool, datetime.now(UTC))
    await say(pool, command, on=True)
    await advance_commands(pool, datetime.now(UTC))

    assert await state_of(pool, command) == ("applied", None)
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


async def fail(pool: Pool, command: Command) -> None:
    """Its last attempt fails."""
    await pool.execute("UPDATE lighting_command SET attempts = $2 WHERE id = $1", command.id, MAX_ATTEMPTS)
    await pool.execute(
        "UPDATE downlink SET state = 'failed', reason = 'NO_ACK' WHERE id IN "
        "(SELECT downlink_id FROM lighting_command WHERE id = $1)",
        command.id,
    )
    await advance_commands(pool, datetime.now(UTC))


async def test_a_street_that_did_not_light_again_is_a_work_order_and_goes_on_being_lit(
    pool: Pool, cabinet: int
) -> None:
    """Whether the service or an operator gave the "on"; in the row of that command, whose state stays."""
    await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(minutes=30))
    command = await ask(pool, cabinet, "on")
    await fail(pool, command)
    [request] = await pool.fetch("SELECT kind, facts FROM alert_request")
    early = await advance_commands(pool, datetime.now(UTC) + timedelta(minutes=59))
    await settle(pool, command.downlink_id)
    hour = await advance_commands(pool, datetime.now(UTC) + timedelta(minutes=61))
    again = await pool.fetch("SELECT encode(payload, 'hex') FROM downlink WHERE state = 'queued'")
    failed = await state_of(pool, command)

    assert (request["kind"], request["facts"]["asset_id"]) == ("relight_failed", cabinet)
    assert "aucune passerelle n'a pu émettre" in request["facts"]["reason"]
    assert (early.outcomes, hour.outcomes) == ([], ["sent_again"])
    assert [row[0] for row in again] == ["1150000601"]
    assert failed == ("failed", "not_transmitted: NO_ACK")

    await say(pool, command, on=True)
    await advance_commands(pool, datetime.now(UTC))
    settled = await read_command(pool, command.id)
    assert settled is not None
    assert (settled.state, settled.reconciled_at is not None) == ("failed", True)
    assert (await advance_commands(pool, datetime.now(UTC) + timedelta(hours=3))).outcomes == []
    assert await pool.fetchval("SELECT count(*) FROM alert_request") == 1


async def test_a_failed_on_that_ended_no_off_is_left_to_the_operator(pool: Pool, cabinet: int) -> None:
    await fail(pool, await ask(pool, cabinet, "on"))

    assert (await advance_commands(pool, datetime.now(UTC) + timedelta(hours=2))).outcomes == []
    assert await pool.fetchval("SELECT count(*) FROM alert_request") == 0


async def test_frames_for_a_cabinet_without_power_are_few(pool: Pool, cabinet: int) -> None:
    """Seven in the first hour, then one an hour: at SF12 eight take a gateway's whole hour."""
    await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(seconds=1))
    await pool.execute("UPDATE downlink SET state = 'expired'")
    start, frames = datetime.now(UTC) + timedelta(minutes=1), []
    for minute in range(4 * 60):
        now = start + timedelta(minutes=minute)
        for sweep in (relight, advance_commands):
            await sweep(pool, now)
            sent = await pool.fetch(
                "UPDATE downlink SET state = 'sent', sent_at = $1, created_at = $1 WHERE state = 'queued' "
                "RETURNING 1",
                now,
            )
            frames += [minute // 60] * len(sent)

    assert [frames.count(hour) for hour in range(4)] == [7, 1, 1, 1]


async def test_two_circuits_of_a_cabinet_are_proved_by_their_own_outputs_alone(pool: Pool, cabinet: int) -> None:
    await pool.execute("UPDATE device_profile SET codec = 'milesight.uc300'")
    first, second = [
        await pool.fetchval(
            "INSERT INTO asset (tenant_id, kind, name, parent_id, attributes) "
            "SELECT tenant_id, 'lighting_circuit', $2, id, $3 FROM asset WHERE id = $1 RETURNING id",
            *(cabinet, f"départ {output}", {"output": output}),
        )
        for output in ("1", "2")
    ]
    until = datetime.now(UTC) + timedelta(hours=1)
    commands = [await ask(pool, circuit, "off", until) for circuit in (first, second)]
    for command in commands:
        await settle(pool, command.downlink_id)
    await advance_commands(pool, datetime.now(UTC))
    await say(pool, commands[0], on=False, channel="1")
    await advance_commands(pool, datetime.now(UTC))
    payloads = await pool.fetch("SELECT encode(payload, 'hex') FROM downlink ORDER BY id")

    assert [row[0] for row in payloads] == ["0700ff", "0800ff"]  # No question: it has none.
    assert [(await state_of(pool, command))[0] for command in commands] == ["applied", "sent"]


async def test_the_meter_confirms_what_the_relay_has_applied(pool: Pool, cabinet: int) -> None:
    await pool.execute("UPDATE asset SET attributes = $1", {"rated_power_w": 1000})
    on = await ask(pool, cabinet, "on")  # Nothing measures its power yet.
    await settle(pool, on.downlink_id)
    await say(pool, on, on=True)
    await measure(pool, on, "active_power", 950)
    await advance_commands(pool, datetime.now(UTC))
    await advance_commands(pool, datetime.now(UTC))
    await confirm_applied(pool, datetime.now(UTC))
    blind = await read_command(pool, on.id)
    off = await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(hours=1))
    await settle(pool, off.downlink_id)
    await advance_commands(pool, datetime.now(UTC))
    await say(pool, off, on=False)
    await advance_commands(pool, datetime.now(UTC))
    await confirm_applied(pool, datetime.now(UTC))
    waiting = await state_of(pool, off)
    await measure(pool, off, "active_power", 12, datetime.now(UTC) + timedelta(minutes=2))
    await confirm_applied(pool, datetime.now(UTC))

    assert blind is not None
    assert (blind.state, blind.unconfirmed) == ("applied", "no_meter")
    assert waiting == ("applied", None)
    assert (await state_of(pool, off))[0] == "confirmed"


async def unknown_act(pool: Pool, cabinet: int, state: str = "sent", sent_at: datetime | None = None) -> int:
    """A downlink that lighting did not send."""
    return await pool.fetchval(
        "INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, not_after, state, sent_at) "
        "SELECT g.tenant_id, g.device_id, 3, 125, '\\x115000060000', now() + interval '1 day', "
        "$2::text::downlink_state, $3 FROM assignment g WHERE g.asset_id = $1 RETURNING id",
        *(cabinet, state, sent_at),
    )


async def test_after_an_unknown_act_the_circuit_is_brought_back_within_twelve_hours(
    pool: Pool, cabinet: int
) -> None:
    """From when it may have reached the device on; once for all that have."""
    now = datetime.now(UTC)
    await unknown_act(pool, cabinet, sent_at=now)
    await unknown_act(pool, cabinet, sent_at=now)
    waits = await unknown_act(pool, cabinet, "queued")
    early = await restore(pool, now + timedelta(hours=11))
    due = await restore(pool, now + timedelta(hours=12))
    [command] = await pool.fetch(
        "SELECT action, requested_by, relight_at IS NOT NULL AS owes FROM lighting_command"
    )
    later = await restore(pool, now + timedelta(hours=13))
    await pool.execute("UPDATE lighting_command SET relight_at = NULL, state = 'applied'")
    await pool.execute(
        "UPDATE downlink SET state = 'sent', sent_at = $2 WHERE id = $1", waits, now + timedelta(hours=20)
    )
    between = await restore(pool, now + timedelta(hours=30))
    last = await restore(pool, now + timedelta(hours=32))

    assert (early.outcomes, due.outcomes, later.outcomes) == ([], ["restored"], [])
    assert tuple(command) == ("on", "territoire", True)
    assert (between.outcomes, last.outcomes) == ([], ["restored"])


async def test_what_the_program_puts_out_is_put_out_with_an_end_and_what_is_protected_is_not(
    pool: Pool, cabinet: int
) -> None:
    dark = {"default": {"on": "18:00", "off": "06:00"}}
    at = datetime(2026, 11, 25, 12, tzinfo=UTC)  # Of winter: from 18:00 to 06:00 in Paris the lamps burn.
    await pool.execute(
        "WITH p AS (INSERT INTO lighting_program (tenant_id, name) SELECT tenant_id, 'P' FROM asset RETURNING *), "
        "v AS (INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author) "
        "SELECT tenant_id, id, 1, $1, 'a' FROM p RETURNING *) "
        "INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by) "
        "SELECT v.tenant_id, a.id, v.id, 'a' FROM v, asset a",
        dark,
    )
    rows = await read_lamps(pool, [cabinet])
    octets = native_octets("watteco.triphaso", None, Asked(at))
    [circuit] = await find_circuits(pool, cabinet)

    noon = request_now(rows[cabinet], circuit, octets, at)
    midnight = request_now(rows[cabinet], circuit, octets, at + timedelta(hours=11))
    protected = request_now(rows[cabinet], replace(circuit, is_protected=True), octets, at)
    morning = request_now(rows[cabinet], circuit, octets, at - timedelta(hours=6))

    assert noon is not None
    lit_at = datetime(2026, 11, 25, 17, tzinfo=UTC)
    assert (noon.action, noon.off_until) == ("off", lit_at - EARLY - spread_of(cabinet))
    assert midnight is not None
    assert midnight.action == "on"
    assert protected is None
    assert morning is not None
    assert morning.off_until is not None
    assert morning.off_until <= at + timedelta(hours=6)


async def test_an_act_is_kept_until_its_circuit_could_be_brought_back(pool: Pool, cabinet: int) -> None:
    """A device that is disabled, and a protected circuit that an act of the night put out, by day."""
    now = datetime.now(UTC)
    await unknown_act(pool, cabinet, sent_at=now)
    await pool.execute("UPDATE device SET enabled = false")
    refused = await restore(pool, now + timedelta(hours=12))
    await pool.execute("UPDATE device SET enabled = true")
    early = await restore(pool, now + timedelta(hours=12, minutes=59))
    await pool.execute("UPDATE asset SET latitude = 48.4, longitude = -4.5, attributes = '{\"protected\": true}'")
    day = {"default": {"on": "18:00", "off": "06:00"}}
    await pool.execute(
        "WITH p AS (INSERT INTO lighting_program (tenant_id, name) SELECT tenant_id, 'P' FROM asset RETURNING *), "
        "v AS (INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author) "
        "SELECT tenant_id, id, 1, $1, 'a' FROM p RETURNING *) "
        "INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by) "
        "SELECT v.tenant_id, a.id, v.id, 'a' FROM v, asset a",
        day,
    )
    tomorrow = (now + timedelta(days=2)).replace(hour=12, minute=0)
    by_day = await restore(pool, tomorrow)
    by_night = await restore(pool, tomorrow + timedelta(hours=9))

    assert (refused.outcomes, early.outcomes) == (["restore_refused"], [])
    assert (by_day.outcomes, by_night.outcomes) == ([], ["restored"])


async def test_what_an_operator_has_said_since_is_no_more_unknown(pool: Pool, cabinet: int) -> None:
    now = datetime.now(UTC)
    await unknown_act(pool, cabinet, sent_at=now)
    await ask(pool, cabinet, "off", now + timedelta(hours=11, minutes=59))

    assert (await restore(pool, now + timedelta(hours=11, minutes=45))).outcomes == []


async def test_two_operators_at_once_leave_one_open_command(pool: Pool, cabinet: int) -> None:
    await asyncio.gather(
        ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(hours=1)),
        *(ask(pool, cabinet, "on") for _ in range(3)),
    )

    open_commands = await pool.fetchval("SELECT count(*) FROM lighting_command WHERE state = 'queued'")
    queued = await pool.fetchval("SELECT count(*) FROM downlink WHERE state = 'queued'")

    assert (open_commands, queued) == (1, 1)


async def test_an_asset_without_a_device_is_rejected(pool: Pool, cabinet: int) -> None:
    await pool.execute("UPDATE assignment SET during = tstzrange(now() - interval '2 h', now() - interval '1 h')")

    with pytest.raises(RejectedLightingCommand, match="aucun équipement"):
        await ask(pool, cabinet, "on")


async def other_device(pool: Pool) -> int:
    """Like the first."""
    return await pool.fetchval(
        "INSERT INTO device "
        "(tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id) "
        "SELECT tenant_id, 'deveui02', join_eui, 'c2', device_profile_id, 4, 'x', 'kek-1' FROM device RETURNING id"
    )


async def replace_device(pool: Pool, cabinet: int) -> int:
    """Another device like the first serves the cabinet from now on."""
    await pool.execute(
        "UPDATE assignment SET during = tstzrange(lower(during), now()) WHERE asset_id = $1", cabinet
    )
    device = await other_device(pool)
    await pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id) "
        "SELECT tenant_id, id, $2 FROM asset WHERE id = $1",
        *(cabinet, device),
    )
    return device


async def test_what_replaces_a_device_that_did_not_light_is_lit_and_nothing_more_goes_to_the_former(
    pool: Pool, cabinet: int
) -> None:
    await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(seconds=1))
    await relight(pool, datetime.now(UTC) + timedelta(minutes=1))
    [owed] = await pool.fetch("SELECT * FROM lighting_command WHERE action = 'on'")
    await pool.execute("UPDATE downlink SET state = 'expired', created_at = now() - interval '3 hours'")
    await advance_commands(pool, datetime.now(UTC))
    await pool.execute("UPDATE assignment SET during = tstzrange(lower(during), now())")
    unserved = await advance_commands(pool, datetime.now(UTC) + timedelta(hours=2))
    device = await replace_device(pool, cabinet)
    replaced = await relight(pool, datetime.now(UTC))
    again = await relight(pool, datetime.now(UTC))
    rows = await pool.fetch(
        "SELECT device_id, relight_at IS NOT NULL FROM lighting_command WHERE action = 'on' ORDER BY id"
    )
    former = await pool.fetchval("SELECT count(*) FROM downlink WHERE device_id = $1", owed["device_id"])

    assert (unserved.slots, replaced.outcomes, replaced.slots, again.outcomes) == (set(), ["relit"], {4}, [])
    assert [tuple(row) for row in rows] == [(owed["device_id"], False), (device, True)]
    assert former == 2  # The "off" and the first "on".


async def test_a_row_that_cannot_be_read_costs_no_other_street_its_light(pool: Pool, cabinet: int) -> None:
    """Nor does one of before that keeps no octets, of a device that cannot be asked."""
    before = await ask(pool, cabinet, "on")
    await pool.execute("UPDATE device_profile SET codec = 'milesight.uc300'")
    await pool.execute("UPDATE lighting_command SET octets = '{}', relight_at = now(), attempts = 32767")
    await settle(pool, before.downlink_id)
    await advance_commands(pool, datetime.now(UTC))
    swept = [await advance_commands(pool, datetime.now(UTC) + timedelta(hours=hours)) for hours in (2, 4)]
    [attempts] = await pool.fetchrow("SELECT attempts FROM lighting_command")
    other = await pool.fetchval(
        "INSERT INTO asset (tenant_id, kind, name) "
        "SELECT tenant_id, 'lighting_cabinet', 'A2' FROM asset RETURNING id"
    )
    await pool.execute(
        "INSERT INTO lighting_command (tenant_id, asset_id, device_id, action, off_until, requested_by, "
        "downlink_id, not_after, relight_at, octets) "
        "SELECT tenant_id, a.asset, device_id, 'off', now(), 'a', downlink_id, now(), now(), a.octets "
        "FROM lighting_command, (VALUES ($1::int, '{\"frames\": 1}'::jsonb), ($2, '{}')) AS a (asset, octets)",
        *(cabinet, other),
    )
    relit = await relight(pool, datetime.now(UTC) + timedelta(minutes=1))

    assert ([one.outcomes for one in swept], attempts) == ([["failed"], ["sent_again"]], 32767)
    assert relit.outcomes == ["relight_refused"]  # The other's, which no device serves.


async def test_a_circuit_with_a_meter_of_its_own_is_switched_by_its_cabinets_relay(
    pool: Pool, cabinet: int
) -> None:
    circuit = await pool.fetchval(
        "INSERT INTO asset (tenant_id, kind, name, parent_id) "
        "SELECT tenant_id, 'lighting_circuit', 'départ', id FROM asset RETURNING id"
    )
    [relay] = [one.device_id for one in await find_circuits(pool, circuit)]
    meter = await other_device(pool)
    await pool.execute(
        "WITH p AS (INSERT INTO device_profile "
        "(tenant_id, name, vendor, model, codec, device_class, capabilities) "
        "SELECT tenant_id, 'm', 'v', 'm', codec, 'A', '{meter}' FROM device_profile RETURNING id) "
        "UPDATE device SET device_profile_id = p.id FROM p WHERE device.id = $1",
        meter,
    )
    await pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id) "
        "SELECT tenant_id, id, $2 FROM asset WHERE id = $1",
        *(circuit, meter),
    )

    assert [one.device_id for one in await find_circuits(pool, circuit)] == [relay]


async def test_a_relay_that_is_moved_while_it_is_out_is_brought_to_the_program_of_where_it_is_now(
    pool: Pool, cabinet: int
) -> None:
    await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(hours=1))
    other = await pool.fetchval(
        "INSERT INTO asset (tenant_id, kind, name) "
        "SELECT tenant_id, 'lighting_cabinet', 'A2' FROM asset RETURNING id"
    )
    await pool.execute("UPDATE assignment SET during = tstzrange(lower(during), now())")
    await pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id) "
        "SELECT tenant_id, $1, device_id FROM lighting_command",
        other,
    )
    restored = await restore(pool, datetime.now(UTC) + timedelta(hours=12))
    command = await pool.fetchrow("SELECT asset_id, action FROM lighting_command ORDER BY id DESC LIMIT 1")

    assert restored.outcomes == ["restored"]
    assert tuple(command) == (other, "on")


async def assign_program(pool: Pool, program: dict[str, Any]) -> None:
    """Every asset follows it."""
    await pool.execute(
        "WITH p AS (INSERT INTO lighting_program (tenant_id, name) SELECT DISTINCT tenant_id, 'P' FROM asset "
        "RETURNING *), "
        "v AS (INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author) "
        "SELECT tenant_id, id, 1, $1, 'a' FROM p RETURNING *) "
        "INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by) "
        "SELECT v.tenant_id, a.id, v.id, 'a' FROM v, asset a",
        program,
    )


async def test_an_off_that_ends_in_a_planned_cut_goes_on_until_the_program_lights(
    pool: Pool, cabinet: int
) -> None:
    await assign_program(pool, {"default": {"on": "18:00", "off": "06:00"}})
    await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(minutes=30))
    noon = (datetime.now(UTC) + timedelta(days=1)).replace(hour=12)
    ended = await relight(pool, noon)
    [command] = await pool.fetch(
        "SELECT action, is_automatic, off_until FROM lighting_command WHERE state = 'queued'"
    )
    still = await relight(pool, command["off_until"] - timedelta(minutes=1))
    lit = await relight(pool, command["off_until"])
    last = await pool.fetchval("SELECT action FROM lighting_command ORDER BY id DESC LIMIT 1")

    assert (ended.outcomes, command["action"], command["is_automatic"]) == (["dark_by_program"], "off", True)
    assert timedelta(0) < command["off_until"] - noon < timedelta(hours=6)
    assert (still.outcomes, lit.outcomes, last) == ([], ["relit"], "on")


async def test_what_waits_for_its_meter_keeps_no_other_command_from_being_compared(
    pool: Pool, cabinet: int
) -> None:
    await pool.execute("UPDATE asset SET attributes = $1", {"rated_power_w": 1000})
    command = await ask(pool, cabinet, "on")
    await measure(pool, command, "active_power", 990, datetime.now(UTC) + timedelta(minutes=2))
    await pool.execute(
        "UPDATE lighting_command SET state = 'applied', applied_at = now(), expected_power_w = 1000, "
        "power_margin_w = 200"
    )
    await pool.execute(
        "WITH other AS (INSERT INTO asset (tenant_id, kind, name) "
        "SELECT tenant_id, 'lighting_cabinet', 'A2' FROM asset RETURNING id), "
        "newest AS (UPDATE lighting_command SET asset_id = other.id FROM other RETURNING lighting_command.*) "
        "INSERT INTO lighting_command (tenant_id, asset_id, device_id, action, requested_by, downlink_id, "
        "not_after, state, applied_at, expected_power_w, power_margin_w) "
        "SELECT tenant_id, CASE n WHEN 200 THEN $1 ELSE asset_id END, device_id, action, 'a', downlink_id, "
        "not_after, state, applied_at, expected_power_w, power_margin_w FROM newest, generate_series(1, 200) n",
        cabinet,
    )
    await confirm_applied(pool, datetime.now(UTC))

    assert [tuple(row) for row in await pool.fetch(
        "SELECT state::text, count(*) FROM lighting_command GROUP BY 1 ORDER BY 1"
    )] == [("applied", 200), ("confirmed", 1)]  # fmt: skip


async def test_a_relay_of_class_a_is_no_work_order_before_it_could_answer(pool: Pool, cabinet: int) -> None:
    await pool.execute("UPDATE device_profile SET device_class = 'A', expected_interval = '1 hour'")
    await ask(pool, cabinet, "off", datetime.now(UTC) + timedelta(seconds=1))
    due = datetime.now(UTC) + timedelta(minutes=1)
    await relight(pool, due)
    [downlink] = await pool.fetch("SELECT not_after FROM downlink ORDER BY id DESC LIMIT 1")
    for minutes in range(5, 150, 5):
        await advance_commands(pool, due + timedelta(minutes=minutes))

    assert timedelta(hours=2) < downlink["not_after"] - due < timedelta(hours=3)
    assert await pool.fetchval("SELECT count(*) FROM alert_request") == 0
    assert await pool.fetchval("SELECT count(*) FROM downlink WHERE state = 'queued'") == 1


async def test_acts_of_a_group_that_is_joined_and_before_a_circuit_is_served_are_known(
    pool: Pool, cabinet: int
) -> None:
    """A frame that waits in a group when a device joins it, and what one hears before its assignment begins."""
    group = await pool.fetchval(
        "INSERT INTO multicast_group (tenant_id, name, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id) "
        "SELECT tenant_id, 'g', '\\x01020304', 'x', 'x', 'kek-1' FROM asset RETURNING id"
    )
    message = await pool.fetchval(
        "INSERT INTO multicast_message (tenant_id, group_id, slot, f_port, payload, not_after) "
        "SELECT tenant_id, id, 0, 125, '\\x115000060000', now() + interval '1 hour' FROM multicast_group "
        "RETURNING id"
    )
    await pool.execute(
        "INSERT INTO multicast_member (group_id, device_id, tenant_id) "
        "SELECT $1, device_id, tenant_id FROM assignment",
        group,
    )
    [joined] = await pool.fetch("SELECT asset_id, multicast_message_id FROM lighting_unknown_act")
    device = await other_device(pool)
    begins = datetime.now(UTC) + timedelta(hours=10)
    await pool.execute("UPDATE assignment SET during = tstzrange(lower(during), $1)", begins)
    await pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id, during) "
        "SELECT tenant_id, id, $2, tstzrange($3, NULL) FROM asset WHERE id = $1",
        *(cabinet, device, begins),
    )
    await pool.execute(
        "INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, not_after, state, sent_at) "
        "SELECT tenant_id, id, 4, 125, '\\x115000060000', now() + interval '1 day', 'sent', now() FROM device "
        "WHERE id = $1",
        device,
    )
    acts = await pool.fetch("SELECT due_at FROM lighting_unknown_act WHERE device_id = $1", device)

    assert tuple(joined) == (cabinet, message)
    assert [row["due_at"] - begins for row in acts] == [timedelta(hours=11, minutes=30)]


async def test_a_second_without_work_is_one_statement(pool: Pool, cabinet: int) -> None:
    asked: list[str] = []
    async with pool.acquire() as connection:
        # The one that the pool gives next: what it runs is written down.
        connection.add_query_logger(lambda record: asked.append(record.query))
    nothing: Any = None

    await sweep_once(pool, nothing, 1, await sweeps_due(pool, NOW))

    assert len(asked) == 1


async def test_a_sweep_that_fails_stops_no_other() -> None:
    swept: list[str] = []

    async def away(_pool: Pool, _now: datetime) -> Swept:
        swept.append("away")
        raise TimeoutError

    async def works(_pool: Pool, _now: datetime) -> Swept:
        swept.append("works")
        return Swept()

    nothing: Any = None
    await sweep_once(nothing, nothing, 1, (away, works))

    assert swept == ["away", "works"]
