"""One transaction for all that a page reads."""

import pytest

from api import auth
from api.shared_reading import SharedReadings
from core.runtime.postgres import Pool, PostgresError
from registry import entering
from registry.people import enter_person, token_digest
from registry.sessions import enter_session, open_session

IN_TRANSACTION = "SELECT current_tenant()"


async def _session_of(pool: Pool, api_pool: Pool, tenant_id: int, role: str) -> bytes:
    async with pool.acquire() as connection:
        person_id = await enter_person(connection, tenant_id, "jeanne@ville.example", "Jeanne", "", role)
    assert person_id is not None
    token = await open_session(api_pool, person_id, tenant_id, "192.0.2.1", "password")
    assert token is not None
    return token_digest(token)


async def test_a_page_enters_its_tenant_once_for_all_that_it_reads(enter, registry, tenancy, monkeypatch) -> None:
    asset = await registry.asset(name="Conteneur", kind="glass_container")
    browser = await enter(tenancy.id, "operator")
    entered: list[object] = []
    original = auth.tenant_transaction

    def counted(pool, proof):
        entered.append(proof)
        return original(pool, proof)

    monkeypatch.setattr(auth, "tenant_transaction", counted)
    page = await browser.get(f"/equipements/{asset['id']}")
    assert page.status_code == 200
    assert "Conteneur" in page.text
    assert not entered
    # Who looks at all tenants leaves the page's transaction for one of their own.
    listed = await browser.get("/collectivites")
    assert listed.status_code == 200
    assert len(entered) == 1


async def test_a_shared_transaction_stays_in_its_tenant_and_ends_when_it_must(pool, api_pool, tenancy) -> None:
    digest = await _session_of(pool, api_pool, tenancy.id, "operator")
    readings = SharedReadings(api_pool)
    async with readings.open() as shared:
        assert shared is not None
        connection = shared.connection
        assert connection is not None
        assert await enter_session(connection, token_digest("of nobody")) is None
        assert await connection.fetchval(IN_TRANSACTION) is None
        session = await enter_session(connection, digest)
        assert session is not None
        assert await connection.fetchval(IN_TRANSACTION) == tenancy.id == session.tenant_id
        with pytest.raises(RuntimeError):
            await entering.act_as_operator(connection)
        with pytest.raises(RuntimeError):
            await entering.enter_owner_of(connection, 1)
        # It lasts as long as somebody reads, and nobody begins to.
        async with shared.reading(connection):
            await shared.end()
            assert shared.connection is None
            assert await connection.fetchval(IN_TRANSACTION) == tenancy.id
    async with readings.open() as shared:
        assert shared is not None
        connection = shared.connection
        assert connection is not None
        with pytest.raises(PostgresError):
            async with shared.reading(connection):
                await connection.execute("SELECT 1 / 0")
        assert shared.connection is None
    # Half of the connections are for those who need one beside it.
    opened = [readings.open() for _ in range(api_pool.get_max_size() // 2 + 1)]
    given = [await one.__aenter__() for one in opened]
    assert given[-1] is None
    assert None not in given[:-1]
    for one in opened:
        await one.__aexit__(None, None, None)
