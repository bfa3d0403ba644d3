"""The newer version of messages is written once no program lives, or may be started, that does not read it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.messages.batch import encode_batch
from core.messages.versions import CURRENT, FORMER, READ_SINCE
from core.runtime.postgres import Pool, open_pool
from registry import releases
from registry.migration_files import parse
from registry.releases import announced
from registry.schema import OlderProgramsRun, SchemaMismatch, migrate, migrations, require_schema

KNOWN = migrations()
NEXT = len(KNOWN) + 1
CONTRACT = parse(f"{NEXT:04}_contract_of_a_test.sql", f"-- needs: {READ_SINCE:04}\nSELECT 1;")
assert CONTRACT is not None
WITH_CONTRACT = [*KNOWN, CONTRACT]
OLDER = "INSERT INTO service_release VALUES ('network', 'network-9', '0.0.9', $1, now())"


@pytest.fixture
async def pool(database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pool]:
    monkeypatch.setattr(releases, "ANNOUNCE_EVERY_S", 0.05)
    async with open_pool(database.admin_url, "test", size=1) as opened:
        yield opened


def written() -> int:
    return encode_batch([])[0]


async def test_the_older_version_is_written_while_an_older_program_lives_and_then_the_newer(database, pool: Pool):
    await pool.execute(OLDER, READ_SINCE - 1)
    async with announced(pool, "ingest", "ingest-1", len(KNOWN)):
        with pytest.raises(OlderProgramsRun, match="network-9"):
            await migrate(database.admin_url, known=WITH_CONTRACT)
        await asyncio.sleep(0.2)  # Announced several times again.
        beside_it = written()
        await pool.execute("DELETE FROM service_release WHERE instance = 'network-9'")
        await migrate(database.admin_url, known=WITH_CONTRACT)
        async with asyncio.timeout(10):
            while written() != CURRENT:  # noqa: ASYNC110 - It has no event.
                await asyncio.sleep(0.02)
    after_it = written()

    assert (beside_it, after_it) == (FORMER, FORMER)


async def test_a_program_that_does_not_read_what_is_written_is_not_started(database, pool: Pool) -> None:
    await migrate(database.admin_url, known=WITH_CONTRACT)

    async with pool.acquire() as connection:
        with pytest.raises(SchemaMismatch, match=f"needs a program that knows {READ_SINCE}"):
            await require_schema(connection, KNOWN[: READ_SINCE - 1])
        assert await require_schema(connection, KNOWN[:READ_SINCE]) == READ_SINCE


async def test_who_starts_after_the_contract_step_writes_the_newer_version_at_once(database, pool: Pool) -> None:
    await migrate(database.admin_url, known=WITH_CONTRACT)

    async with announced(pool, "ingest", "ingest-1", len(KNOWN)):
        assert written() == CURRENT


@pytest.mark.parametrize("service", ["api", "gateway_bridge", "network", "ingest", "indicators", "maintenance"])
async def test_every_service_may_ask(database, service: str) -> None:
    async with (
        open_pool(database.url_of(service), "test", size=1) as pool,
        announced(pool, service, f"{service}-1", len(KNOWN)),
    ):
        assert written() == FORMER
