"""What a role sets by itself opens nothing: only a proof does, for one transaction."""

import asyncio

import pytest

from core.runtime.postgres import Connection, InsufficientPrivilegeError, Pool, connect
from registry.entering import (
    ByEventSource,
    ByIdentity,
    ByKey,
    BySession,
    NotAdmitted,
    act_as_operator,
    enter,
    enter_as_operator,
    enter_home,
    tenant_transaction,
)
from registry.identities import link_identity
from registry.people import enter_person, invite, set_role, token_digest
from registry.policies import asked_once, enforce_seal
from registry.sessions import close_session, open_session, switch_session
from registry.tenants import Principal, authenticate, create_api_key, create_tenant, revoke_api_key
from tests.registry.test_writing import world

SCOPED = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relrowsecurity AND c.relkind = 'r'
  AND has_any_column_privilege('territoire_api', c.oid, 'SELECT')
UNION ALL
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'v' AND c.relowner = 'territoire_views'::regrole
  AND has_schema_privilege('territoire_api', c.relnamespace, 'USAGE')
ORDER BY 1
"""
# Of these every tenant is offered some that are nobody's.
OFFERED_TO_ALL = {"device_profile", "codec", "codec_version"}
FORGE = """
SELECT set_config('app.tenant', $1, true), set_config('app.operator', 'on', true),
       set_config('app.proved', $1 || '|{operate}', true), set_config('app.seal', $2, true)
"""
SEAL = "SELECT current_setting('app.seal'), current_setting('app.tenant'), current_setting('app.proved')"
WHO = "SELECT array_agg(slug ORDER BY slug) FROM tenant"


async def new_principal(pool: Pool, slug: str, *rights: str) -> Principal:
    tenant = await create_tenant(pool, slug, slug)
    principal = await authenticate(pool, await create_api_key(pool, tenant.id, slug, rights))
    assert principal is not None
    return principal


async def is_rejected(connection: Connection, statement: str) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(statement)
    except InsufficientPrivilegeError:
        return True
    return False


async def test_sql_of_the_api_that_sets_tenant_and_operator_to_anything_sees_no_row_of_any_table(database) -> None:
    seen: set[tuple[str, str, str]] = set()
    async with world(database.admin_url) as connection:
        tables = [row[0] for row in await connection.fetch(SCOPED)]
        filled = [name for name in tables if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {name})")]
        ids = [str(row[0]) for row in await connection.fetch("SELECT id FROM tenant")]
        for tenant in ids:
            for seal in ("", "0" * 64):
                async with connection.transaction():
                    await connection.execute("SET LOCAL ROLE territoire_api")
                    await connection.execute(FORGE, tenant, seal)
                    for name in tables:
                        where = "WHERE tenant_id IS NOT NULL" if name in OFFERED_TO_ALL else ""
                        if await connection.fetchval(f"SELECT count(*) FROM {name} {where}"):
                            seen.add((name, tenant, seal))

    assert len(tables) > 50
    assert {"tenant", "device", "access_grant", "alert"} <= set(filled)
    assert seen == set()


async def test_a_key_opens_its_tenant_for_one_transaction_and_no_other(pool: Pool, api_pool: Pool) -> None:
    mine, theirs = await new_principal(pool, "metz", "read"), await new_principal(pool, "nancy", "read")
    async with api_pool.acquire() as connection:
        async with connection.transaction():
            await enter(connection, mine.proof)
            assert await connection.fetchval(WHO) == ["metz"]
            sealed = await connection.fetchrow(SEAL)
            assert sealed is not None
            await connection.execute("SELECT set_config('app.tenant', $1, true)", str(theirs.tenant_id))
            assert await connection.fetchval(WHO) is None
        async with connection.transaction():  # What was sealed for one transaction is nothing in the next.
            await connection.execute(
                "SELECT set_config('app.seal', $1, true), set_config('app.tenant', $2, true), "
                "set_config('app.proved', $3, true), set_config('app.operator', 'off', true)",
                *sealed,
            )
            assert await connection.fetchval(WHO) is None
    assert isinstance(mine.proof, ByKey)
    await revoke_api_key(pool, mine.proof.key_id)
    for wrong in (mine.proof, ByKey(theirs.key_id, mine.proof.digest)):
        with pytest.raises(NotAdmitted):
            async with tenant_transaction(api_pool, wrong):
                pass


async def test_only_a_key_that_may_operate_acts_as_the_operator(pool: Pool, api_pool: Pool) -> None:
    operator = await new_principal(pool, "regie", "read", "operate")
    other = await new_principal(pool, "metz", "read", "manage")

    async with tenant_transaction(api_pool, operator.proof) as connection:
        await act_as_operator(connection)
        all_of_them = await connection.fetchval(WHO)
        await enter_as_operator(connection, other.tenant_id)
        tenant = await connection.fetchval("SELECT current_tenant()")
        await enter_home(connection)
        home = await connection.fetchval(WHO)

    assert (all_of_them, tenant, home) == (["metz", "regie"], other.tenant_id, ["regie"])
    async with tenant_transaction(api_pool, other.proof) as connection:
        with pytest.raises(NotAdmitted):
            await act_as_operator(connection)
        with pytest.raises(NotAdmitted):
            await enter_as_operator(connection, operator.tenant_id)
        assert await is_rejected(
            connection,
            "INSERT INTO api_key (id, tenant_id, name, secret_sha256, roles) "
            "VALUES ('x', current_tenant(), 'x', sha256('x'), '{operate}')",
        )
        assert await is_rejected(connection, "UPDATE api_key SET roles = '{operate}'")
        assert await is_rejected(connection, "SELECT secret_sha256 FROM api_key")
        assert await is_rejected(connection, "SELECT secret FROM seal_secret")
        assert await is_rejected(connection, "SELECT seal_of_settings('x')")


async def test_a_session_opens_its_tenant_until_it_is_closed_or_switched_and_makes_nobody_an_operator(
    pool: Pool, api_pool: Pool
) -> None:
    here, there = await create_tenant(pool, "metz", "Metz"), await create_tenant(pool, "regie", "Régie")
    async with pool.acquire() as connection:
        who = await enter_person(connection, here.id, "jeanne@metz.example", "Jeanne", "hash", "service_manager")
        await pool.execute("INSERT INTO membership VALUES ($1, $2, 'operator')", who, there.id)
    assert who is not None
    digests: list[bytes] = []
    for tenant in (here, here, there):
        token = await open_session(api_pool, who, tenant.id, "192.0.2.1", "password")
        assert token is not None
        digests.append(token_digest(token))

    async with tenant_transaction(api_pool, BySession(digests[0], here.id)) as connection:
        assert await connection.fetchval(WHO) == ["metz"]
        with pytest.raises(NotAdmitted):
            await act_as_operator(connection)
        assert await is_rejected(connection, "UPDATE membership SET role = 'operator'")
        with pytest.raises(InsufficientPrivilegeError):
            async with connection.transaction():
                await invite(connection, here.id, "x@metz.example", "X", "operator", "Jeanne")
        assert await set_role(connection, who, "reader", [])
    async with tenant_transaction(api_pool, BySession(digests[2], there.id)) as connection:
        await act_as_operator(connection)
        assert await connection.fetchval(WHO) == ["metz", "regie"]
    await switch_session(api_pool, digests[0], "regie")
    await close_session(api_pool, digests[1])
    for ended in (BySession(digests[0], here.id), BySession(digests[1], here.id), BySession(b"x", here.id)):
        with pytest.raises(NotAdmitted):
            async with tenant_transaction(api_pool, ended):
                pass


async def test_a_linked_identity_opens_the_tenants_of_its_person_and_never_as_an_operator(
    pool: Pool, api_pool: Pool
) -> None:
    here, other = await create_tenant(pool, "regie", "Régie"), await create_tenant(pool, "metz", "Metz")
    async with pool.acquire() as connection:
        who = await enter_person(connection, here.id, "zoe@regie.example", "Zoé", "hash", "operator")
    assert who is not None
    assert await link_identity(api_pool, who, "https://idp.example", "sub")

    async with tenant_transaction(api_pool, ByIdentity("https://idp.example", "sub", here.id)) as connection:
        assert await connection.fetchval(WHO) == ["regie"]
        with pytest.raises(NotAdmitted):
            await act_as_operator(connection)
    for wrong in (
        ByIdentity("https://idp.example", "sub", other.id),
        ByIdentity("https://other.example", "sub", here.id),
    ):
        with pytest.raises(NotAdmitted):
            async with tenant_transaction(api_pool, wrong):
                pass


def test_what_a_policy_asks_of_the_transaction_is_asked_once() -> None:
    raw = "((tenant_id = current_tenant()) OR (current_setting('app.operator'::text, true) = 'on'::text))"
    once = "((tenant_id = (SELECT current_tenant())) OR (SELECT is_operator()))"
    shown = "(tenant_id = ( SELECT current_tenant() AS current_tenant))"

    assert (asked_once(raw), asked_once(shown), asked_once(None)) == (once, shown, None)


async def test_every_policy_asks_once(pool: Pool) -> None:
    rows = await pool.fetch("SELECT tablename, policyname, qual, with_check FROM pg_policies")

    assert [row for row in rows if "current_setting" in f"{row['qual']} {row['with_check']}"] == []
    assert [tuple(row) for row in rows for text in row[2:] if asked_once(text) != text] == []


async def test_a_former_api_goes_on_without_a_seal_until_it_is_gone(database, pool: Pool) -> None:
    mine = await new_principal(pool, "metz", "read")
    admin, former = await connect(database.admin_url), await connect(database.api_url)
    await admin.execute("UPDATE seal_secret SET is_enforced = false")
    async with former.transaction():
        await former.execute("SELECT set_config('app.tenant', $1, true)", str(mine.tenant_id))
        seen = await former.fetchval(WHO)
    enforced = await enforce_seal(admin)
    await former.close()
    async with asyncio.timeout(20):  # Until the server has seen it out.
        while not await enforce_seal(admin):
            await admin.execute("SELECT pg_sleep(0.01)")
    await admin.close()

    assert (seen, enforced) == (["metz"], False)


async def test_a_source_of_before_is_known_by_its_first_signed_event(pool: Pool, api_pool: Pool) -> None:
    mine = await new_principal(pool, "metz", "read")
    source = await pool.fetchval(
        "INSERT INTO event_source (tenant_id, name, secret_wrapped, kek_id) "
        "VALUES ($1, 'x', 'x', 'x') RETURNING id",
        mine.tenant_id,
    )
    async with api_pool.acquire() as connection, connection.transaction():
        first = await enter(connection, ByEventSource(source, b"signed"))
        with pytest.raises(NotAdmitted):
            await enter(connection, ByEventSource(source, b"another"))

    assert first == mine.tenant_id
