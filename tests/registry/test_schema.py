import asyncio
import secrets
from pathlib import Path

import pytest
from asyncpg import InvalidAuthorizationSpecificationError

from core.runtime.postgres import PostgresError, connect, open_pool
from registry.entering import tenant_transaction
from registry.rights import LOGINS
from registry.schema import LOCK, MigrationFailed, OtherShards, SchemaMismatch, migrate, migrations, require_schema
from registry.tenants import authenticate, create_api_key, create_tenant
from services.supervisor.postgres import PrivatePostgres
from tests.conftest import plain_server
from tests.core.runtime.versions import HAS_TAGS, migrate_up_to


async def test_applies_everything_once_with_the_number_of_shards_of_the_first_run(empty_database_url: str) -> None:
    first = await migrate(empty_database_url, shards=16)
    second = await migrate(empty_database_url)
    connection = await connect(empty_database_url)
    shards = await connection.fetchval("SELECT shards FROM deployment")
    await connection.close()

    assert first == len(migrations())
    assert second == 0
    assert shards == 16


async def test_rejects_another_number_of_shards_than_the_database_s_and_applies_nothing(
    empty_database_url: str,
) -> None:
    await migrate_up_to(130, empty_database_url)

    with pytest.raises(OtherShards, match="TERRITOIRE_SHARDS is 16, the database has 4") as refused:
        await migrate(empty_database_url, shards=16)
    connection = await connect(empty_database_url)
    applied = await connection.fetchval("SELECT max(number) FROM schema_migration")
    await connection.close()

    assert applied == 130
    assert "./territoire reshard 16" in refused.value.french


async def test_rejects_a_file_that_changed_after_it_was_applied(database) -> None:
    connection = await connect(database.admin_url)
    await connection.execute("UPDATE schema_migration SET checksum = 'other' WHERE number = 1")
    await connection.close()

    with pytest.raises(SchemaMismatch, match=r"0001_registry\.sql was changed"):
        await migrate(database.admin_url)


async def test_a_program_rejects_a_newer_database(database) -> None:
    connection = await connect(database.admin_url)
    await connection.execute("INSERT INTO schema_migration (number, name, checksum) VALUES (999, 'later', 'x')")

    with pytest.raises(SchemaMismatch, match="start a newer program"):
        await require_schema(connection)
    await connection.close()


async def test_a_program_rejects_an_empty_database(empty_database_url: str) -> None:
    connection = await connect(empty_database_url)

    with pytest.raises(SchemaMismatch, match="run `territoire migrate`"):
        await require_schema(connection)
    await connection.close()


async def test_a_program_rejects_a_database_that_is_one_version_behind(database) -> None:
    connection = await connect(database.admin_url)
    await connection.execute("DELETE FROM schema_migration WHERE number = $1", len(migrations()))

    with pytest.raises(SchemaMismatch, match=f"lacks migration {migrations()[-1].name}"):
        await require_schema(connection)
    await connection.close()


async def test_a_second_runner_waits_for_the_first_however_long_that_works(empty_database_url: str) -> None:
    first = await connect(empty_database_url)
    try:
        await first.execute("SELECT pg_advisory_lock($1)", LOCK)
        second = asyncio.create_task(migrate(empty_database_url, lock_timeout_s=0.05))
        await first.execute("SELECT pg_sleep(0.5)")
        waits = not second.done()
        await first.execute("SELECT pg_advisory_unlock($1)", LOCK)
        applied = await second
    finally:
        await first.close()

    assert waits
    assert applied == len(migrations())


async def test_a_migration_that_waits_too_long_for_a_lock_leaves_nothing(empty_database_url: str) -> None:
    await migrate_up_to(8, empty_database_url)
    holder = await connect(empty_database_url)
    async with holder.transaction():
        await holder.execute("LOCK TABLE tenant IN ACCESS SHARE MODE")
        with pytest.raises(MigrationFailed, match=r"0009_sharing\.sql was not applied") as refused:
            await migrate(empty_database_url, lock_timeout_s=0.2)
    has_tags = await holder.fetchval(HAS_TAGS)
    await holder.close()

    assert "rien n'en reste" in refused.value.french
    assert not has_tags
    assert await migrate(empty_database_url) == len(migrations()) - 8


async def test_a_file_that_postgresql_rejects_leaves_nothing(empty_database_url: str) -> None:
    await migrate_up_to(8, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute("CREATE TABLE access_grant (id int)")

    with pytest.raises(MigrationFailed, match='"access_grant" already exists'):
        await migrate(empty_database_url)
    has_tags = await connection.fetchval(HAS_TAGS)
    await connection.close()

    assert not has_tags


async def test_what_was_quarantined_twice_by_an_older_program_is_kept_once(empty_database_url: str) -> None:
    await migrate_up_to(7, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.executemany(
        "INSERT INTO observation.quarantine (service, subject, sequence, reason, data) "
        "VALUES ($1, 's', 1, $2, $3)",
        [("ingest", "a", b"x"), ("ingest", "b", b"x"), ("ingest", "c", b"y"), ("network", "d", b"x")],
    )

    await migrate(empty_database_url)

    kept = await connection.fetchval("SELECT array_agg(detail ORDER BY id) FROM observation.quarantine")
    await connection.close()
    assert kept == ["a", "c", "d"]


async def test_the_schema_s_owner_need_be_no_superuser(tmp_path: Path, server_folder: Path) -> None:
    with plain_server(server_folder / f"owner-{secrets.token_hex(4)}", tmp_path / "postgres.log") as server:
        await execute(server.url("postgres"), "CREATE ROLE mairie LOGIN CREATEROLE PASSWORD 'secret'")
        await execute(server.url("postgres"), "CREATE DATABASE territoire OWNER mairie")
        await execute(server.url("territoire"), "CREATE EXTENSION timescaledb")
        passwords = {"territoire_service": "service", "territoire_api": "api"}

        await migrate(server.url("territoire", "mairie", "secret"), passwords=passwords)

        service = await connect(server.url("territoire", "territoire_service", "service"))
        tenant = await create_tenant(service, "metz", "Metz")
        key = await create_api_key(service, tenant.id, "essai", ["read"])
        await service.close()
        async with open_pool(server.url("territoire", "territoire_api", "api"), "test", size=1) as pool:
            assert await pool.fetch("SELECT id FROM tenant") == []
            principal = await authenticate(pool, key)
            assert principal is not None
            async with tenant_transaction(pool, principal.proof) as connection:
                assert await connection.fetchval("SELECT slug FROM tenant") == "metz"
                with pytest.raises(PostgresError, match="permission denied"):
                    await connection.execute("CREATE TABLE public.x ()")

        await every_service_gets_a_login_and_the_shared_one_ends(server)


async def every_service_gets_a_login_and_the_shared_one_ends(server: PrivatePostgres) -> None:
    """The upgrade of an installation whose services share a login, while one of them is still at work."""
    shared, owner = (
        server.url("territoire", *who) for who in (("territoire_service", "service"), ("mairie", "secret"))
    )
    passwords = dict.fromkeys(LOGINS.values(), "secret")
    former = await connect(shared)
    await migrate(owner, passwords=passwords)
    await former.fetch("SELECT id FROM tenant")
    await (await connect(shared)).close()
    await former.close()
    for service in LOGINS:
        connection = await connect(server.url("territoire", LOGINS[service], "secret"))
        await require_schema(connection)
        await connection.close()
    async with asyncio.timeout(20):  # Until the server has seen the last one out.
        while await login_is_open(shared):
            await migrate(owner, passwords=passwords)
    administrator = await connect(server.url("territoire"))
    members = await administrator.fetchval(
        "SELECT array_agg(member::regrole::text) FROM pg_auth_members WHERE roleid = 'territoire_service'::regrole"
    )
    await administrator.close()
    assert set(members) == {"mairie"}  # The schema's owner, and no service.


async def login_is_open(url: str) -> bool:
    try:
        await execute(url, "SELECT 1")
    except InvalidAuthorizationSpecificationError:
        return False
    return True


async def execute(url: str, statement: str) -> None:
    connection = await connect(url)
    await connection.execute(statement)
    await connection.close()
