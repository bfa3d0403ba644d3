"""The audit as a chain: no role changes a line, and a line that was removed or changed all the same is found."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from core.runtime.postgres import BareConnection, InsufficientPrivilegeError, Pool, connect
from registry.audit import record_rejected_login, write_audit
from registry.audit_chain import (
    END_LINES,
    Head,
    Verification,
    erase_details,
    read_head,
    seal,
    verify,
)
from registry.tenants import create_tenant

TABLES = ("audit_line", "audit_seal", "audit_detail")


@pytest.fixture
async def admin(database) -> AsyncGenerator[BareConnection]:
    connection = await connect(database.admin_url)
    yield connection
    await connection.close()


async def write_lines(pool: Pool, count: int) -> list[int]:
    tenant = await create_tenant(pool, "sdef", "SDEF")
    async with pool.acquire() as connection:
        for number in range(count):
            await write_audit(connection, tenant.id, "clé", "update", "asset", number, {"address": "192.0.2.1"})
    return [row["id"] for row in await pool.fetch("SELECT id FROM audit_line ORDER BY id")]


async def tampered(admin: BareConnection, statement: str, expected: Head | None = None) -> set[str]:
    """What verification finds after a statement of somebody who switched the triggers off; undone again."""
    transaction = admin.transaction()
    await transaction.start()
    await admin.execute("SET LOCAL session_replication_role = replica")
    assert not (await admin.execute(statement)).endswith(" 0")
    found = await verify(admin, expected)
    await transaction.rollback()
    return {one.problem for one in found.problems}


async def test_a_line_that_was_removed_or_changed_is_found_and_the_unsealed_tail_is_stated(
    pool: Pool, admin: BareConnection
) -> None:
    lines = await write_lines(pool, 6)
    async with pool.acquire() as connection, connection.transaction():
        await write_audit(connection, 1, "clé", "late", "asset", 0)
        sealed = await seal(pool)  # What is not committed is not sealed yet, and nothing waits for it.
    whole = await verify(admin)
    third = lines[2]
    found = {
        statement: await tampered(admin, statement, whole.head)
        for statement in (
            f"UPDATE audit_line SET actor = 'un autre' WHERE id = {third}",
            f"UPDATE audit_line SET at = at - interval '1 hour' WHERE id = {third}",
            f"UPDATE audit_line SET tenant_id = NULL WHERE id = {third}",
            f"DELETE FROM audit_line WHERE id = {third}",
            "UPDATE audit_detail SET details = '{}' WHERE line_id = " + str(third),
            f"DELETE FROM audit_seal WHERE line_id = {third}",
            "DELETE FROM audit_seal WHERE sequence = 6",
            "DELETE FROM audit_pending",
            "INSERT INTO audit_line (actor, action, entity, entity_id, details_digest) VALUES ('','','','','')",
        )
    }
    erased = await erase_details(pool, [third])
    after = await verify(admin)
    await seal(pool)
    later = await verify(admin, whole.head)

    assert sealed == len(lines) == whole.sealed
    assert (whole.problems, whole.tail.lines) == ((), 1)
    assert list(found.values()) == [
        {"line_changed"},
        {"line_changed"},
        {"line_changed"},
        {"line_missing"},
        {"details_changed"},
        {"seal_missing", "line_unsealed"},
        {"line_unsealed", "head_differs"},
        {"line_unsealed"},
        {"line_unsealed"},
    ]
    assert (erased, after.problems, after.erased) == (1, (), 1)
    assert (later.sealed, later.tail.lines, later.problems) == (7, 0, ())


async def test_no_role_changes_a_line_not_even_the_owner(
    pool: Pool, api_pool: Pool, admin: BareConnection
) -> None:
    await write_lines(pool, 1)
    await seal(pool)
    rejected = 0
    for connection in (pool, api_pool, admin):
        for table in TABLES:
            changes = [
                f"UPDATE {table} SET {'salt' if table == 'audit_detail' else 'digest'} = ''",
                f"TRUNCATE {table} CASCADE",
            ]
            changes += [] if table == "audit_detail" and connection is admin else [f"DELETE FROM {table}"]
            for change in changes:
                statement = change.replace("digest", "details_digest") if table == "audit_line" else change
                with pytest.raises(InsufficientPrivilegeError):
                    await connection.execute(statement)
                rejected += 1

    assert rejected == 3 * 3 * 3 - 1
    assert (await verify(admin)).problem_count == 0


async def test_lines_end_at_their_term_and_the_chain_goes_on_from_there(pool: Pool, admin: BareConnection) -> None:
    await write_lines(pool, 5)
    async with admin.transaction():
        await admin.execute("SET LOCAL session_replication_role = replica")
        await admin.execute(
            "UPDATE audit_line SET at = at - interval '400 days' WHERE id <> (SELECT max(id) - 2 FROM audit_line)"
        )
    await seal(pool)
    before = await read_head(pool)
    ended = await pool.fetchval(END_LINES, timedelta(days=365), 100)
    found: Verification = await verify(admin, before)

    assert ended == 2  # Of the older ones behind a younger line none.
    assert (found.sealed, found.start.sequence, found.problems, found.head) == (3, 2, (), before)


async def test_a_rejected_login_is_one_line_a_minute_and_address(pool: Pool, api_pool: Pool) -> None:
    written = [
        await record_rejected_login(api_pool, address, None, "inconnu", "login", {"account": "a@b.example"})
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2")
    ]
    lines = await pool.fetch("SELECT tenant_id, details ->> 'address' AS address FROM audit ORDER BY id")

    assert written[0]
    assert written[2]
    assert len(lines) == sum(written)  # Two, or three where the minute has just ended.
    assert {line["tenant_id"] for line in lines} == {None}
    assert await api_pool.fetchval("SELECT count(*) FROM audit") == 0
