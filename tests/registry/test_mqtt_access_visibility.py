"""What comes out by MQTT accesses: random worlds; each owner is told what the model says it reads, and no more."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from core.runtime.postgres import Connection, connect
from ingest.applications import QUEUE
from integrations.applications.access_rights import allowed_events
from integrations.applications.store import read_due
from lorawan.instants import to_us
from registry.applications import read_enabled_applications
from registry.keys import KeyWrap
from registry.mqtt_accesses import Owner, create_access
from tests.conftest import Database
from tests.registry.test_visibility import at, fill
from tests.registry.worlds import BASE, CELL, DAYS, TENANTS, World, expected, worlds

EXAMPLES = 40
KEYS = KeyWrap("kek-1", bytes(range(16)))
KINDS = ("bin", "room")
LIMITED_KEYS = """
INSERT INTO api_key (id, tenant_id, name, secret_sha256, roles, asset_kinds)
SELECT 'bin ' || id, id, 'bin', sha256('x'), '{read}', '{bin}' FROM tenant
"""
BEYOND_THE_WORLD = "SELECT setval(pg_get_serial_sequence('application', 'id'), 1000)"
READ_UPLINKS = "SELECT device_id, time, uplink_id FROM observation.uplink ORDER BY time, device_id"
STATUS = "SELECT queue_application_event(id, 'status', '{\"battery\": 1, \"margin\": 1}') FROM device"
MAKE_CHUNKS = """
INSERT INTO observation.measurement SELECT 1, t, 1, 0 FROM unnest($1::timestamptz[]) t;
INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status)
SELECT 1, t, gen_random_uuid(), '', t, 'empty' FROM unnest($1::timestamptz[]) t;
INSERT INTO observation.reception SELECT 1, t, gen_random_uuid(), 1, 0, -80, 5 FROM unnest($1::timestamptz[]) t
"""
FORGET = "DELETE FROM observation.measurement; DELETE FROM observation.uplink; DELETE FROM observation.reception"


def by_grants_alone(world: World) -> World:
    """No member, and every grant in force: rare otherwise."""
    grants = tuple(replace(one, valid=(None, None), revoked=False, accepted=True) for one in world.grants)
    return replace(world, member_of=(None,) * TENANTS, grants=grants)


class Published:
    """What an access was told: readings by datastream and instant, whole uplinks and statuses by device."""

    def __init__(self) -> None:
        self.readings: set[tuple[int, int]] = set()
        self.whole: set[tuple[int, int]] = set()
        self.statuses: set[int] = set()


def model(world: World, me: int, *, personal: bool, kind: str | None) -> Published:
    """By the rows that the model of row security lists, and the world."""
    told, rows = Published(), expected(world, me)

    def may_read(index: int) -> bool:
        stream = world.datastreams[index]
        of_kind = kind is None or (stream.asset is not None and world.assets[stream.asset].kind == kind)
        return of_kind and (personal or world.class_of(stream) < 2)

    for device in range(len(world.devices)):
        streams = [i for i, stream in enumerate(world.datastreams) if stream.device == device]
        if not all(world.is_fine(world.datastreams[i]) for i in streams):
            continue
        for instant in world.instants:
            read = {i for i in streams if f"measurement {i} {instant}" in rows and may_read(i)}
            told.readings |= {(i, instant) for i in read}
            is_told = personal or not world.is_personal(device)
            if is_told and f"uplink {device} {instant}" in rows and read == set(streams):
                told.whole.add((device, instant))
    return told


async def published_to(connection: Connection, application: int) -> Published:
    """Through the outbox and the check before publication, as intake does with its own role."""
    [access] = [one for one in await read_enabled_applications(connection) if one.id == application]
    await connection.execute("SET LOCAL ROLE territoire_intake")
    due = await read_due(connection, application, 10_000)
    allowed = await allowed_events(connection, access, due.events)
    await connection.execute("RESET ROLE")
    await connection.execute("SELECT seal_transaction(NULL, false, NULL, '{}')")
    told = Published()
    for event in allowed.events:
        instant = (event.time - BASE) // CELL
        if event.uplink is None:
            told.statuses.add(event.device_id - 1)
            continue
        told.readings |= {(value.datastream_id - 1, instant) for value in event.uplink.values}
        assert (event.uplink.payload == b"\1") == bool(event.uplink.receptions) == (event.uplink.radio != {})
        if event.uplink.payload:
            told.whole.add((event.device_id - 1, instant))
    assert len(allowed.events) + len(allowed.withheld) == len(due.events)
    return told


async def queue(connection: Connection) -> None:
    rows: Sequence[tuple[int, int, UUID]] = [
        (row["device_id"], to_us(row["time"]), row["uplink_id"]) for row in await connection.fetch(READ_UPLINKS)
    ]
    await connection.execute("SET LOCAL ROLE territoire_ingest")
    await connection.execute(
        QUEUE, [row[0] for row in rows], [row[1] for row in rows], [row[2].bytes for row in rows]
    )
    await connection.execute("RESET ROLE")
    await connection.execute(STATUS)


async def compare(connection: Connection, world: World, *, personal: bool) -> None:
    transaction = connection.transaction()
    await transaction.start()
    try:
        await fill(connection, world)
        await connection.execute("UPDATE observation.uplink SET payload = '\\x01', radio = '{\"frequency\": 1}'")
        await connection.execute("DELETE FROM observation.reception")
        await connection.execute(
            "INSERT INTO observation.reception "
            "SELECT device_id, time, uplink_id, 1, 0, -80, 5 FROM observation.uplink"
        )
        await connection.execute(LIMITED_KEYS)
        await connection.execute(BEYOND_THE_WORLD)
        owners = [
            (me, owner, kind)
            for me in range(TENANTS)
            for owner, kind in ((Owner(None, me + 1), None), (Owner(f"bin {me + 1}", None), "bin"))
        ]
        made = [
            (await create_access(connection, KEYS, me + 1, owner, f"{me} {kind}", personal=personal))[0]
            for me, owner, kind in owners
        ]
        await queue(connection)
        for (me, _, kind), application in zip(owners, made, strict=True):
            told, should = (
                await published_to(connection, application),
                model(world, me, personal=personal, kind=kind),
            )

            assert told.readings == should.readings, f"tenant {me}, {kind}"
            assert told.whole <= should.whole, f"tenant {me}, {kind}"
            if kind is None:
                own = {i for i, device in enumerate(world.devices) if device.tenant == me}
                measured = {(i, t) for i, t in should.whole if any(s.device == i for s in world.datastreams)}
                assert told.whole == measured
                assert told.statuses >= {i for i in own if personal or not world.is_personal(i)}
                seen = {int(row.split()[1]) for row in expected(world, me) if row.startswith("device ")}
                assert told.statuses <= seen
    finally:
        await transaction.rollback()


def test_an_access_is_told_what_its_owner_reads_and_no_more(database: Database) -> None:
    with asyncio.Runner() as runner:
        connection = runner.run(connect(database.admin_url))
        for statement in MAKE_CHUNKS.split(";"):
            runner.run(
                connection.execute(statement, [at(day * 48) for day in (-1, *[d // 48 for d in DAYS], 2, 3)])
            )
        runner.run(connection.execute(FORGET))

        @settings(max_examples=EXAMPLES, deadline=None)
        @given(st.one_of(worlds(), worlds().map(by_grants_alone)), st.booleans())
        def check(world: World, personal: bool) -> None:
            runner.run(compare(connection, world, personal=personal))

        check()
        runner.run(connection.close())
