"""SQL that runs as the API's role, whoever wrote it, logs nobody in, enters nobody's rows and changes nothing."""

import asyncio
from typing import Any

import pytest
from asyncpg import NoDataFoundError

from core.runtime.postgres import Connection, InsufficientPrivilegeError, Pool, PostgresError, connect
from registry.entering import ByIdentity, enter
from registry.identities import find_identity, link_identity
from registry.people import start_reset
from registry.policies import API_NAME
from registry.sessions import find_login, list_memberships, open_session
from registry.vouching import NotVouched, demand_vouching
from tests.registry.test_sealed_tenant import FORGE, WHO
from tests.registry.test_writing import world

DEFINERS = """
SELECT p.oid::regprocedure::text AS signature,
       (SELECT array_agg(a.kind::regtype::text ORDER BY a.place)
        FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (kind, place)) AS types
FROM pg_proc p
WHERE p.prosecdef AND p.prorettype <> 'trigger'::regtype
  AND has_function_privilege('territoire_api', p.oid, 'EXECUTE')
  AND p.pronamespace IN ('public'::regnamespace, 'observation'::regnamespace, 'jobs'::regnamespace)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1
"""
NAME = "jeanne@metz.example"  # Of a person, and of an identity's issuer and subject.
# Of every type a value that names what there is: each thing of somebody's has the id 1.
VALUES = {
    "integer": "1",
    "bigint": "1",
    "smallint": "1::smallint",
    "double precision": "1",
    "boolean": "false",
    "bytea": "sha256('x')",
    "interval": "interval '1 hour'",
    "jsonb": "'{}'",
    "timestamp with time zone": "now()",
    "timestamp with time zone[]": "ARRAY[now()]",
    "integer[]": "'{1}'",
    "bigint[]": "'{1}'",
    "bytea[]": "ARRAY[sha256('x')]",
    "text[]": "'{}'",
    "xid8": "'1'",
}
REFUSALS = (InsufficientPrivilegeError, NoDataFoundError)
CHANGED = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::int FROM pg_stat_xact_user_tables"
# What answers all the same, and what of it.
HARMLESS = {
    "counter_profiles(integer)": "at what a meter's counter begins again, of a datastream whose number one knows",
    "export_keys(text,jsonb,bytea[])": "no key, and a line in the audit of nobody",
    "feed_position()": "up to which transaction the feed is settled, and from which it is kept: numbers",
    "has_data(integer)": "whether something measures an asset whose number one knows",
    "lighting_version_in_force(integer)": "a number of a version, which policies show or not",
    "read_feed(xid8,bigint,integer,integer,integer,text[],integer[],text,text,text,text)": "where to go on",
    "record_key_use(text)": "the minute of a key's last use",
    "record_rejected_login(text,integer,text,text,jsonb)": "a line about a rejection, one a minute and address",
    "subject_scope(text,integer,integer)": "what was asked for, and that it is unknown",
}


def says_something(value: Any) -> bool:
    return any(map(says_something, value.values())) if isinstance(value, dict) else bool(value)


async def attempt(connection: Connection, signature: str, types: list[str], text: str) -> str | None:
    """What a function gives to SQL that has set everything that a role may set; None: nothing."""
    name = signature.partition("(")[0]
    arguments = ", ".join(f"'{text}'" if kind == "text" else VALUES[kind] for kind in types)
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(FORGE, "1", "0" * 64)
        await connection.execute("SELECT set_config('app.vouched', $1, true)", "0" * 64)
        before = await connection.fetchval(CHANGED)  # With what was rolled back.
        rows = await connection.fetch(f"SELECT to_jsonb(f) FROM {name}({arguments}) AS f")
        given = [row[0] for row in rows if says_something(row[0])]
        changed = await connection.fetchval(CHANGED) - before
        seen = await connection.fetchval(WHO)
    except PostgresError as refused:
        return None if isinstance(refused, REFUSALS) else str(refused)
    finally:
        await transaction.rollback()
    return f"{given} {changed} {seen}" if given or changed or seen else None


async def fill_logins(connection: Connection) -> None:
    """A person with a role everywhere, an identity, a session and a reset; an API key, a source of before."""
    await connection.execute("UPDATE person SET email = $1, totp_wrapped = 'x', kek_id = 'k' WHERE id = 1", NAME)
    await connection.execute(
        "INSERT INTO membership SELECT 1, id, 'operator' FROM tenant ON CONFLICT (person_id, tenant_id) "
        "DO UPDATE SET role = excluded.role"
    )
    assert await link_identity(connection, 1, NAME, NAME)
    assert await open_session(connection, 1, 1, "192.0.2.1", "password")
    assert await start_reset(connection, NAME, "192.0.2.1")
    await connection.execute(
        "INSERT INTO api_key (id, tenant_id, name, secret_sha256, roles) "
        "VALUES ('a', 1, 'a', sha256('secret'), '{read}')"
    )
    await connection.execute("UPDATE event_source SET signing_sha256 = NULL, enabled = true")
    await connection.execute("REVOKE EXECUTE ON FUNCTION seal_transaction FROM PUBLIC")


async def test_no_function_gives_sql_of_the_api_a_login_a_row_or_a_change(database) -> None:
    async with world(database.admin_url) as admin:
        await fill_logins(admin)
        functions = await admin.fetch(DEFINERS)
    attacker = await connect(database.api_url)
    given: dict[str, str] = {}
    for signature, types in functions:
        for text in (NAME, "a"):
            got = await attempt(attacker, signature, types or [], text)
            if got is not None:
                given[signature] = got
    await attacker.close()

    assert len(functions) > 60
    assert given.keys() == HARMLESS.keys(), given


async def test_the_process_of_the_api_is_known_by_the_password_of_its_login(database, api_pool: Pool) -> None:
    async with world(database.admin_url) as admin:
        await fill_logins(admin)
        login = await find_login(api_pool, NAME)
        assert login is not None
        assert await find_identity(api_pool, NAME, NAME) is not None
        assert len(await list_memberships(api_pool, login.person_id)) > 1
        assert await open_session(api_pool, 1, 1, "192.0.2.1", "password") is not None
        async with api_pool.acquire() as connection, connection.transaction():
            assert await enter(connection, ByIdentity(NAME, NAME, 1)) == 1
        # What was presented in one transaction counts in no other.
        async with api_pool.acquire() as connection:
            async with connection.transaction():
                await find_login(connection, NAME)
                kept = await connection.fetchval("SELECT current_setting('app.vouched')")
            async with connection.transaction():
                await connection.execute("SELECT set_config('app.vouched', $1, true)", kept)
                with pytest.raises(InsufficientPrivilegeError):
                    await connection.fetchval("SELECT open_session(1, 1, sha256('x'), '', interval '1 h', '')")

        # A password that was changed behind the migration's back.
        assert await demand_vouching(admin, "another")
        with pytest.raises(NotVouched):
            await find_login(api_pool, NAME)


async def test_a_former_api_logs_people_in_until_it_is_gone(database) -> None:
    admin, former = await connect(database.admin_url), await connect(database.api_url)
    await admin.execute("UPDATE seal_secret SET api_sha256 = NULL")
    demanded = await demand_vouching(admin, "secret")
    found = await former.fetch("SELECT * FROM find_login('jeanne@metz.example')")
    await former.close()
    of_today = await connect(database.api_url, API_NAME)
    async with asyncio.timeout(20):  # Until the server has seen it out.
        while not await demand_vouching(admin, "secret"):
            await admin.execute("SELECT pg_sleep(0.01)")
    await of_today.close()
    await admin.close()

    assert (demanded, found) == (False, [])
