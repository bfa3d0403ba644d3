"""What cabinets' clocks should hold beside what they report, against the real schema."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from alerting.requested_alerts import open_requested_alerts
from core.runtime.postgres import Pool
from decoders.territoire.clock import CODEC, STATE_PORT
from ingest.pipeline import as_json
from lab.device.lamp_clock import LampClock
from lighting.dusk import Named, name_unlit
from lighting.following import follow_programs, read_following
from lighting.phases import spread_of
from lighting.program_store import assign
from lighting.shadows import alert_drifts, read_reports, write_desired

NOW = datetime.now(UTC)
CUT = {"default": {"night_cut": ["23:30", "05:00"]}, "coefficient": 0.777}


@pytest.fixture
async def tenant(pool: Pool) -> int:
    return await pool.fetchval(
        "INSERT INTO tenant (slug, name, department) VALUES ('sdef', 'SDEF', '29') RETURNING id"
    )


async def make_cabinet(pool: Pool, tenant: int, number: int, codec: str) -> tuple[int, int]:
    """The ids of a cabinet at Brest and of the device that switches it."""
    profile = await pool.fetchval(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec, device_class, capabilities) "
        "VALUES ($1, $2, 'v', 'm', $2, 'C', '{switch}') RETURNING id",
        tenant,
        codec,
    )
    device = await pool.fetchval(
        "INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, "
        "kek_id) "
        "VALUES ($1, $2, 'joineui1', $3, $4, 3, 'x', 'kek-1') RETURNING id",
        tenant,
        f"deveui0{number}".encode(),
        f"c{number}",
        profile,
    )
    asset = await pool.fetchval(
        "INSERT INTO asset (tenant_id, kind, name, street, latitude, longitude) "
        "VALUES ($1, 'lighting_cabinet', $2, 'rue de Siam', 48.39, -4.49) RETURNING id",
        tenant,
        f"A{number}",
    )
    await pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id) VALUES ($1, $2, $3)", tenant, asset, device
    )
    return asset, device


async def outcomes(pool: Pool, now: datetime) -> list[str]:
    """What came of asking relays for what their programs say."""
    return (await follow_programs(pool, await read_following(pool, now), now)).outcomes


async def unlit(pool: Pool, now: datetime, named: Named) -> int:
    """How many are named."""
    return await name_unlit(pool, await read_following(pool, now), now, named)


async def follow(pool: Pool, tenant: int, asset: int, program: dict[str, Any]) -> int:
    """The asset follows this program from now on; the version's id."""
    made = await pool.fetchval(
        "INSERT INTO lighting_program (tenant_id, name) VALUES ($1, $2::text) RETURNING id", tenant, str(asset)
    )
    version = await pool.fetchval(
        "INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author) "
        "VALUES ($1, $2, 1, $3, 'a') RETURNING id",
        tenant,
        made,
        program,
    )
    await pool.execute(
        "INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by) VALUES ($1, $2, $3, 'a')",
        tenant,
        asset,
        version,
    )
    return version


async def report(pool: Pool, device: int, clock: LampClock, at: datetime) -> None:
    """Its state, as ingest stores it."""
    time_us = round(at.timestamp() * 1_000_000)
    message = clock.next_message(time_us)
    decoded = CODEC.decode(message.f_port, message.payload, time_us, {})
    await pool.execute(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, f_port, payload, received_at, status, codec, "
        "codec_version, decoded) "
        "VALUES ($1, $2, $3, $4, $5, $2, 'decoded', 'territoire.clock', 1, $6::text::jsonb)",
        device,
        at,
        uuid4(),
        STATE_PORT,
        message.payload,
        as_json(decoded).decode(),
    )


async def shadow(pool: Pool, asset: int) -> dict[str, Any]:
    row = await pool.fetchrow(
        "SELECT *, encode(desired_hash, 'hex') AS desired, encode(reported_hash, 'hex') AS reported "
        "FROM lighting_shadow WHERE asset_id = $1",
        asset,
    )
    assert row is not None
    return dict(row)


async def alerts(pool: Pool) -> list[tuple[str, str, str]]:
    async with pool.acquire() as connection, connection.transaction():
        await open_requested_alerts(connection)
    rows = await pool.fetch(
        "SELECT r.name, a.condition, a.message FROM alert a JOIN alert_rule r ON r.id = a.rule_id ORDER BY a.id"
    )
    return [tuple(row) for row in rows]


async def test_a_clock_that_drifts_is_an_alert_until_it_reports_what_it_should_hold(
    pool: Pool, tenant: int
) -> None:
    asset, device = await make_cabinet(pool, tenant, 1, "territoire.clock")
    relay, _ = await make_cabinet(pool, tenant, 2, "watteco.triphaso")
    await write_desired(pool, NOW)
    await read_reports(pool, NOW)
    first = await shadow(pool, asset)

    # From dusk to dawn, as no program is assigned; it has said nothing yet.
    assert (first["holds_program"], first["desired_version_id"], first["reported_at"]) == (True, None, None)
    assert (first["drifts"], len(first["desired"]), first["losses"]) == (False, 8, [])
    on_platform = await shadow(pool, relay)
    assert (on_platform["holds_program"], on_platform["desired"], on_platform["drifts"]) == (False, None, False)
    assert "dépend de la plateforme" in on_platform["losses"][0]

    version = await follow(pool, tenant, asset, CUT)
    clock = LampClock((1_000,), error_s=300)
    await report(pool, device, clock, NOW)
    await write_desired(pool, NOW)
    await read_reports(pool, NOW)
    assert await alert_drifts(pool, NOW) == 0
    drifting = await shadow(pool, asset)

    assert (drifting["drifts"], drifting["drifts_since"], drifting["desired_version_id"]) == (True, NOW, version)
    assert (drifting["reported"], drifting["reported_version_id"], drifting["clock_valid"]) == (None, None, True)
    assert drifting["clock_offset_s"] == pytest.approx(300, abs=1)
    assert drifting["losses"] == ["le coefficient de réduction est arrondi à 0.780"]
    assert await alert_drifts(pool, NOW + timedelta(minutes=59)) == 0
    assert await alert_drifts(pool, NOW + timedelta(hours=1)) == 1
    assert await alert_drifts(pool, NOW + timedelta(hours=1)) == 0
    [alert] = await alerts(pool)
    assert alert[:2] == ("program_mismatch", "firing")
    assert alert[2] == (
        "A1, rue de Siam : son horloge ne tient pas le programme prévu (empreinte aucune au lieu de "
        f"{drifting['desired']}) : le lui renvoyer."
    )

    clock.program = bytes.fromhex("01041012e7fe3f9c104058212c")
    later = NOW + timedelta(minutes=1)
    await report(pool, device, clock, later)
    await write_desired(pool, later)
    await read_reports(pool, later)
    assert await alert_drifts(pool, later) == 1
    repaired = await shadow(pool, asset)

    assert (repaired["drifts"], repaired["reported_version_id"]) == (False, version)
    assert repaired["reported"] == repaired["desired"]
    assert [alert[:2] for alert in await alerts(pool)] == [("program_mismatch", "ok")]

    # The relay holds none: once somebody has assigned it a program, the platform switches it, once.
    assert await outcomes(pool, later) == []
    await follow(pool, tenant, relay, {"default": {"on": "18:00", "off": "23:00"}})
    await write_desired(pool, later)
    night = datetime(2027, 6, 20, 22, 30, tzinfo=UTC)  # Half past midnight: nothing has changed for long.
    assert await outcomes(pool, night) == []
    put_out = datetime(2027, 6, 20, 21, tzinfo=UTC) + spread_of(relay)
    assert await outcomes(pool, put_out) == ["followed"]
    await pool.execute("UPDATE lighting_command SET created_at = $1", put_out)
    assert await outcomes(pool, put_out) == []
    sent = await pool.fetch("SELECT asset_id, action, requested_by FROM lighting_command")
    assert [tuple(row) for row in sent] == [(relay, "off", "programme")]
    # A circuit follows its own, though its cabinet follows none.
    circuit = await pool.fetchval(
        "INSERT INTO asset (tenant_id, kind, name, parent_id) "
        "SELECT tenant_id, 'lighting_circuit', 'départ', id FROM asset WHERE id = $1 RETURNING id",
        relay,
    )
    await pool.execute("DELETE FROM lighting_assignment WHERE asset_id = $1", relay)
    await follow(pool, tenant, circuit, {"default": {"on": "18:00", "off": "23:00"}})
    await write_desired(pool, later)
    assert await outcomes(pool, put_out - spread_of(relay) + spread_of(circuit)) == ["followed"]

    # An older report that arrives late says nothing of now; what no device switches has no shadow.
    await report(pool, device, LampClock((1_000,)), NOW + timedelta(seconds=30))
    await read_reports(pool, later)
    assert not (await shadow(pool, asset))["drifts"]
    await pool.execute("UPDATE device SET enabled = false WHERE id = $1", device)
    await write_desired(pool, later)
    assert await pool.fetch("SELECT asset_id FROM lighting_shadow") == [(relay,)]


async def receive(pool: Pool, tenant: int, device: int, gateway: bytes, seen_at: datetime) -> None:
    """The device was heard by a gateway, which spoke last at this instant."""
    number = await pool.fetchval(
        "INSERT INTO gateway (tenant_id, gateway_id, name) VALUES ($1, $2, 'g') RETURNING id", tenant, gateway
    )
    await pool.execute(
        "INSERT INTO gateway_state (gateway_id, frontend, address, last_seen_at) VALUES ($1, 'udp', 'a', $2)",
        *(number, seen_at),
    )
    await pool.execute(
        "INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, last_uplink_at, "
        "last_heard_by) SELECT $1, '\\x01020304', 'x', 'x', 'kek-1', now(), "
        "jsonb_build_array(jsonb_build_array(encode($2, 'base64')))",
        *(device, gateway),
    )


async def test_relays_that_nothing_can_light_are_named_before_dusk_and_clocks_light_by_themselves(
    pool: Pool, tenant: int
) -> None:
    evening = {"default": {"on": "18:00", "off": "23:00"}}
    lit_at = datetime(2027, 6, 20, 16, tzinfo=UTC)
    now = lit_at - timedelta(minutes=45)
    codecs = ["watteco.triphaso", "b", "c", "d", "territoire.clock"]
    cabinets = [await make_cabinet(pool, tenant, number, codec) for number, codec in enumerate(codecs, 1)]
    await pool.execute("UPDATE device_profile SET codec = 'watteco.triphaso' WHERE codec <> 'territoire.clock'")
    (fine, heard), (silent, unheard), (disabled, off), _unassigned, (clock, _) = cabinets
    for asset in (fine, silent, disabled, clock):
        await follow(pool, tenant, asset, evening)
    await receive(pool, tenant, heard, b"gateway1", now)
    await receive(pool, tenant, unheard, b"gateway2", now - timedelta(minutes=6))
    await pool.execute("UPDATE device SET enabled = false WHERE id = $1", off)
    await pool.execute("INSERT INTO shard_lease VALUES ('network', 0, 1, 'n', $1)", now + timedelta(seconds=5))
    await write_desired(pool, now)
    named = Named()

    assert await unlit(pool, now - timedelta(minutes=20), named) == 0  # Too early.
    assert await unlit(pool, now, named) == 2
    assert await unlit(pool, now + timedelta(minutes=1), named) == 0
    assert sorted(message for _, _, message in await alerts(pool)) == [
        f"A{number}, rue de Siam doit s'allumer à 18 h 00 et, en l'état, ne s'allumera pas : {why}. La plateforme "
        "essaie encore ; si rien ne change, l'allumer sur place."
        for number, why in (
            (2, "aucune des passerelles qui entendent son équipement ne répond"),
            (3, "l'équipement de cette armoire est désactivé"),
        )
    ]
    # The network server is away for longer than a restart takes.
    assert await unlit(pool, now + timedelta(minutes=3), named) == 1
    await alerts(pool)
    rows = await pool.fetch("SELECT asset_id FROM alert ORDER BY id")
    assert [asset for (asset,) in rows] == [silent, disabled, fine]


async def test_an_on_that_nothing_sends_is_named_before_dusk(pool: Pool, tenant: int) -> None:
    relay, device = await make_cabinet(pool, tenant, 1, "watteco.triphaso")
    now = datetime(2027, 6, 20, 15, 53, tzinfo=UTC)
    await follow(pool, tenant, relay, {"default": {"on": "18:00", "off": "23:00"}})
    await receive(pool, tenant, device, b"gateway1", now)
    await pool.execute("INSERT INTO shard_lease VALUES ('network', 0, 1, 'n', $1)", now + timedelta(hours=1))
    await write_desired(pool, now)
    named = Named()

    assert await outcomes(pool, now) == ["followed"]
    await pool.execute("UPDATE lighting_command SET created_at = $1", now)
    assert await unlit(pool, now + timedelta(minutes=2), named) == 0
    assert await unlit(pool, now + timedelta(minutes=4), named) == 1
    [alert] = await alerts(pool)
    assert "aucune passerelle n'a pu émettre l'ordre d'allumage" in alert[2]


async def test_names_of_people_and_keys_make_nobody_the_platform(pool: Pool, tenant: int) -> None:
    """A program of somebody called as the upgrade is followed; what a key named as the platform puts out stays."""
    relay, _ = await make_cabinet(pool, tenant, 1, "watteco.triphaso")
    version = await follow(pool, tenant, relay, {"default": {"on": "18:00", "off": "23:00"}})
    await pool.execute("UPDATE lighting_program_version SET author = 'mise à jour'")
    await write_desired(pool, NOW)
    put_out = datetime(2027, 6, 20, 21, tzinfo=UTC) + spread_of(relay)
    assert await outcomes(pool, put_out) == ["followed"]
    await pool.execute(
        "UPDATE lighting_command SET requested_by = 'programme', is_automatic = false, created_at = $1, "
        "off_until = $2",
        *(put_out, put_out + timedelta(days=1)),
    )
    evening = datetime(2027, 6, 21, 17, tzinfo=UTC)
    assert await outcomes(pool, evening) == []

    # What the upgrade assigned is followed by no relay until somebody assigns it, though it is the same; nor is it
    # after the cabinet was given away.
    await pool.execute("DELETE FROM lighting_command")
    await pool.execute("UPDATE lighting_assignment SET switches = false")
    assert await outcomes(pool, put_out) == []
    other = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('brest', 'Brest') RETURNING id")
    await pool.execute("DELETE FROM lighting_shadow")
    await pool.execute("UPDATE asset SET tenant_id = $2 WHERE id = $1", relay, other)
    assert await outcomes(pool, put_out) == []
    given = await pool.fetchval("SELECT version_id FROM lighting_assignment WHERE ended_at IS NULL")
    async with pool.acquire() as connection, connection.transaction():
        await assign(connection, other, [relay], given, "a")
    assert given != version
    assert await outcomes(pool, put_out) == ["followed"]
