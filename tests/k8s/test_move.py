"""One server moves to a cluster by a backup, as docs/demenagement.md says, and goes on there where it was."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from cli.restored import COUNTERS_AHEAD
from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.topics import shard_of_slot
from core.runtime.bus import connect_bus
from core.runtime.lease import read_shards
from core.runtime.postgres import Connection, connect
from lorawan.crypto import SessionCipher, wrap_key
from lorawan.frame import routing_slot
from lorawan.identifiers import DevAddr, GatewayId
from lorawan.join import derive_session_keys
from lorawan.session import build_uplink
from registry.passwords import Passwords
from registry.people import enter_person
from registry.tenants import OPERATOR, create_api_key, create_tenant
from services.migrate.__main__ import run as run_migrate
from services.migrate.settings import MigrateSettings
from services.supervisor.home import Home
from services.supervisor.run_info import RunInfo
from services.supervisor.stack import Stack
from services.supervisor.stack_options import StackOptions
from tests.cli.conftest import folder
from tests.cli.test_pitr import territoire
from tests.cli.test_upgrade import counts
from tests.gateways.stations import UdpStation, now_us, until
from tests.k8s.arrived import Arrived, arrived, json_of
from tests.k8s.conftest import render
from tests.receptions import reception
from tests.registry.test_timescale import psql

GATEWAY = bytes.fromhex("0080e115000a9b72")
DEV_ADDR = DevAddr(bytes.fromhex("01a2b3c4"))
KEYS = derive_session_keys(bytes(range(16)), 1, 0, 1)
EMAIL, PASSWORD = "jeanne@metz.example", "une phrase assez longue"
FILL = """
WITH p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
           VALUES ($1, 'p', 'v', 'm', 'elsys.ers_co2') RETURNING id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT $1, '\\x70b3d50000000001', '\\x0000000000000000', 'd', id, $2, $3, 'kek-1' FROM p RETURNING id),
s AS (INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, f_cnt_down)
      SELECT id, $4, $5, $6, 'kek-1', 7 FROM d),
j AS (INSERT INTO join_nonce SELECT id, 3 FROM d),
g AS (INSERT INTO gateway (tenant_id, gateway_id, name) VALUES ($1, $7, 'Mairie')),
a AS (INSERT INTO asset (tenant_id, kind, name) VALUES ($1, 'lighting_cabinet', 'ARM-1') RETURNING id),
lp AS (INSERT INTO lighting_program (tenant_id, name) VALUES ($1, 'Nuit') RETURNING id),
lv AS (INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author)
       SELECT $1, id, 1, '{"default": {}}', 'x' FROM lp RETURNING id),
la AS (INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by)
       SELECT $1, a.id, lv.id, 'x' FROM a, lv),
w AS (INSERT INTO webhook_endpoint (tenant_id, url, secret_wrapped, kek_id)
      VALUES ($1, 'https://mairie.fr/x', $3, 'kek-1')),
f AS (INSERT INTO datastream (tenant_id, device_id, quantity, unit)
      SELECT $1, id, 'temperature', 'Cel' FROM d RETURNING id)
INSERT INTO observation.measurement
SELECT id, now() - n * interval '1 hour', n, 0 FROM f, generate_series(1, 2000) n
"""
# What belongs to whom, and who may do what. Parts and chunks, as many as there are data, go by their parents.
CATALOGUE = """
WITH ours AS (SELECT * FROM pg_namespace WHERE nspname IN ('public', 'observation', 'jobs', 'bi'))
SELECT 'relation' AS kind, n.nspname || '.' || c.relname AS name, pg_get_userbyid(c.relowner)::text AS owner,
       ARRAY(SELECT unnest(c.relacl)::text ORDER BY 1) AS acl,
       c.relrowsecurity::text || c.relforcerowsecurity AS more
FROM pg_class c JOIN ours n ON n.oid = c.relnamespace
WHERE NOT c.relispartition AND c.relkind IN ('r', 'p', 'v', 'S')
UNION ALL
SELECT 'function', p.oid::regprocedure::text, pg_get_userbyid(p.proowner),
       ARRAY(SELECT unnest(p.proacl)::text ORDER BY 1), p.prosecdef::text
FROM pg_proc p JOIN ours n ON n.oid = p.pronamespace
WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = p.oid AND e.deptype = 'e')
UNION ALL
SELECT 'schema', nspname, pg_get_userbyid(nspowner), ARRAY(SELECT unnest(nspacl)::text ORDER BY 1), '' FROM ours
UNION ALL
SELECT 'policy', polrelid::regclass || ' ' || polname, '',
       ARRAY(SELECT unnest(polroles)::regrole::text ORDER BY 1),
       coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '')
FROM pg_policy
UNION ALL
SELECT 'type', t.oid::regtype::text, pg_get_userbyid(t.typowner), '{}', ''
FROM pg_type t JOIN ours n ON n.oid = t.typnamespace WHERE t.typtype IN ('e', 'd')
ORDER BY 1, 2
"""
# By the restore: two lines of the audit, leases and the feed of before are forgotten.
CHANGED = {
    *(f"public.{table}" for table in ("audit", "audit_line", "audit_detail", "audit_pending", "shard_lease")),
    "observation.feed",
}
OWNED = "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class"
__all__ = ["folder"]
pytestmark = [pytest.mark.timeout(900), pytest.mark.starts_processes]


def uplink(f_cnt: int, tenths: int) -> bytes:
    """A temperature, as the device that was there sends it."""
    payload = b"\x01" + tenths.to_bytes(2)
    return build_uplink(DEV_ADDR, SessionCipher(KEYS), f_cnt, f_port=5, payload=payload)


async def fill(run: RunInfo) -> dict[str, str]:
    """A town's and a neighbour's; the key of each."""
    connection = await connect(run.database_admin_url)
    sealed = [wrap_key(bytes.fromhex(run.kek), key) for key in (bytes(16), KEYS.nwk_s_key, KEYS.app_s_key)]
    town = await create_tenant(connection, "metz", "Metz")
    neighbour = await create_tenant(connection, "nancy", "Nancy")
    slot = routing_slot(uplink(0, 0))
    await connection.execute(FILL, town.id, slot, sealed[0], DEV_ADDR, *sealed[1:], GATEWAY)
    await connection.execute(
        "INSERT INTO asset (tenant_id, kind, name) VALUES ($1, 'bin', 'à Nancy')", neighbour.id
    )
    await enter_person(connection, town.id, EMAIL, "Jeanne", await Passwords().hash_of(PASSWORD), "operator")
    keys = {
        tenant.slug: await create_api_key(connection, tenant.id, "essai", ["read", "manage"])
        for tenant in (town, neighbour)
    }
    await connection.close()
    return keys


async def leave_a_frame(run: RunInfo) -> None:
    """That nobody reads before the stack stops."""
    phy_payload, at = uplink(3, 123), now_us()
    frame = reception(phy_payload, GATEWAY, at, context=b"\0\0\0\1")
    async with connect_bus(run.nats_url, "test") as bus:
        slot = routing_slot(phy_payload)
        assert slot is not None
        await bus.publish(topics.frames(shard_of_slot(slot, 4)), encode_batch([frame]))


async def backed_up(*arguments: object) -> str:
    """By a process of its own: it starts a stack, and minds signals."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "cli", "backup", *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def state_of(connection: Connection) -> tuple[int, str, dict[str, int]]:
    """FCntDown, the feed's epoch, rows of every table."""
    return (
        await connection.fetchval("SELECT f_cnt_down FROM session"),
        str(await connection.fetchval("SELECT epoch FROM feed_position()")),
        await counts(connection),
    )


async def test_one_server_moves_to_a_cluster_and_goes_on(folder: Path) -> None:
    home, file = Home(folder / "serveur"), folder / "demenagement.dump"
    options = StackOptions(udp_port=0, api_port=0, services=())
    with home.held():
        stack = Stack(home, options)
        run = await stack.start()
        keys = await fill(run)
        made = await territoire("bi", "create", "metz", "grafana", "--home", home.folder)
        assert made.exit_code == 0, made.output
        await leave_a_frame(run)
        await stack.stop()
    assert "2001 mesures, 1 trames" in await backed_up("--stopped", "--plain", file, "--home", home.folder)

    # It is as it was: the way back.
    with home.held():
        stack = Stack(home, options)
        run = await stack.start()
        connection = await connect(run.database_admin_url)
        before, shards = await state_of(connection), await read_shards(connection)
        await connection.close()
        await stack.stop()
    assert shards == 4

    (folder / "grappe").mkdir(mode=0o711)
    with arrived(render("production"), folder / "grappe", home.secrets().kek) as there:
        await move(there, file, before)
        await goes_on(there, keys)
        await goes_back(there, folder, home)


async def move(there: Arrived, file: Path, before: tuple[int, str, dict[str, int]]) -> None:
    """What the page says, step by step, and what each refuses."""
    settings = MigrateSettings.model_validate(
        {name.removeprefix("TERRITOIRE_").lower(): value for name, value in there.migrate.items()}
    )
    await run_migrate(settings)  # As any new installation: the pods have been ready once.
    made = await territoire("bi", "create", OPERATOR, "essai", "--database-url", there.owner_url)
    assert made.exit_code == 0, made.output
    superuser = await connect(there.superuser_url)
    fresh = [tuple(row) for row in await superuser.fetch(CATALOGUE)]
    await superuser.close()

    command = ("restore", file, "--shards", "16", "--database-url", there.superuser_url)
    keyless = await territoire(*command)
    wrong = await territoire(*command, TERRITOIRE_KEK="00" * 32)
    filled = await territoire(*command, TERRITOIRE_KEK=there.kek)
    psql(there.server.url("postgres", "postgres"), "DROP DATABASE territoire WITH (FORCE)")
    nobody = await territoire(*command, "--owner", "personne", TERRITOIRE_KEK=there.kek)
    owned = await territoire("restore", file, "--database-url", there.owner_url, TERRITOIRE_KEK=there.kek)
    assert [one.exit_code for one in (keyless, wrong, filled, nobody, owned)] == [2] * 5
    for one, words in (
        (keyless, "TERRITOIRE_KEK"),
        (wrong, "la clé de TERRITOIRE_KEK n'ouvre aucune clé d'équipement de cette sauvegarde (kek-1)"),
        (filled, "la base territoire n'est pas vide"),
        (nobody, "le compte personne n'existe pas là-bas"),
        (owned, "il faut un superutilisateur"),
    ):
        assert words in one.output

    # As a restore that was cut has left it.
    psql(there.server.url("postgres", "postgres"), "CREATE ROLE territoire_admin NOLOGIN",
         "CREATE DATABASE territoire OWNER territoire CONNECTION LIMIT 0",
         "COMMENT ON DATABASE territoire IS 'territoire restore'")  # fmt: skip
    psql(there.server.url("territoire", "postgres"), "CREATE TABLE tenant ()")
    restored = await territoire(*command, TERRITOIRE_KEK=there.kek)
    assert restored.exit_code == 0, restored.output
    assert "2001 mesures" in restored.output
    await run_migrate(settings)

    superuser = await connect(there.superuser_url)
    f_cnt_down, epoch, rows = await state_of(superuser)
    assert f_cnt_down == before[0] + COUNTERS_AHEAD
    assert epoch != before[1]
    assert rows["public.audit"] == before[2]["public.audit"] + 2  # It was restored, and divided.
    assert {table for table in rows if rows[table] != before[2].get(table)} <= CHANGED
    assert rows["public.device"] == rows["public.session"] == rows["public.lighting_assignment"] == 1
    assert await read_shards(superuser) == 16
    assert [tuple(row) for row in await superuser.fetch(CATALOGUE)] == fresh
    assert "territoire_admin" not in {row[0] for row in await superuser.fetch(OWNED)}
    assert not await superuser.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = 'territoire_admin'")
    await superuser.close()


async def goes_on(there: Arrived, keys: dict[str, str]) -> None:
    """Every process starts as the overlay says, and does what it is for."""
    async with there.services() as told:
        assert set(told) >= {
            "gateway-bridge",
            "network",
            "intake",
            "ingest",
            "alerting",
            "lighting",
            "maintenance",
        }
        api = f"http://127.0.0.1:{told['api']['TERRITOIRE_API_PORT']}/v1"
        assert [one["name"] for one in json_of(f"{api}/assets", keys["nancy"])["items"]] == ["à Nancy"]
        assert [one["name"] for one in json_of(f"{api}/assets", keys["metz"])["items"]] == ["ARM-1"]
        # The database knows this API by the password that it has here.
        opened = json_of(f"{api}/sessions", body={"email": EMAIL, "password": PASSWORD})
        assert opened
        json_of(f"{api}/assets", keys["metz"], {"kind": "bin", "name": "neuf"})

        loop = asyncio.get_running_loop()
        port = int(told["gateway-bridge"]["TERRITOIRE_UDP_PORT"])
        transport, station = await loop.create_datagram_endpoint(
            lambda: UdpStation(GatewayId(GATEWAY)), remote_addr=("127.0.0.1", port)
        )
        await station.speak()
        await station.receive(uplink(9, 226))
        superuser = await connect(there.superuser_url)

        async def is_stored() -> bool:
            return await superuser.fetchval("SELECT count(*) FROM observation.measurement WHERE value = 22.6") == 1

        await until(is_stored)
        transport.close()
        examined = await territoire("doctor", "--json", TERRITOIRE_KEK=there.kek, **there.migrate)
        critical = [one for one in json.loads(examined.output)["findings"] if one["severity"] == 2]
        assert critical == [], critical
        opened_keys = await territoire("keys", "check", "--json", TERRITOIRE_KEK=there.kek, **there.migrate)
        found = json.loads(opened_keys.output)
        assert (found["closed"], found["counts"]) == ([], {"kek-1": 4})
        await superuser.close()
        nobody = await connect(told["api"]["TERRITOIRE_DATABASE_URL"])
        assert await nobody.fetchval("SELECT count(*) FROM tenant") == 0
        await nobody.close()


async def goes_back(there: Arrived, folder: Path, former: Home) -> None:
    """Into a home on one server, with all that came meanwhile: its owner is called otherwise again."""
    file, later = folder / "retour.dump", Home(folder / "retour")
    saved = await territoire("backup", file, "--plain", "--database-url", there.superuser_url)
    assert saved.exit_code == 0, saved.output
    superuser = await connect(there.superuser_url)
    before = await state_of(superuser)
    await superuser.close()
    back = ("--home", later.folder, "--secrets", former.folder / "secrets.json")
    # In the session of the third step, which still has the cluster's address.
    restored = await territoire("restore", file, *back, TERRITOIRE_RESTORE_DATABASE_URL=there.superuser_url)
    assert restored.exit_code == 0, restored.output
    with later.held():
        stack = Stack(later, StackOptions(udp_port=0, api_port=0, services=()))
        run = await stack.start()
        connection = await connect(run.database_admin_url)
        f_cnt_down, epoch, rows = await state_of(connection)
        owners = {row[0] for row in await connection.fetch(OWNED)}
        await connection.close()
        await stack.stop()
    assert f_cnt_down == before[0] + COUNTERS_AHEAD
    assert epoch != before[1]
    assert rows["observation.measurement"] == before[2]["observation.measurement"]
    assert "territoire" not in owners
