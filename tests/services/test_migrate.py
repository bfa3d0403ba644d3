import pytest
from pydantic import SecretStr

from core.runtime.postgres import open_pool
from registry.tenants import authenticate
from services.migrate.__main__ import MigrateSettings, main, run
from tests.conftest import Database

KEY = "terr_0123456789ab_a-first-secret"


async def test_an_installation_gets_its_operator_and_first_key_once(database, nats_url: str) -> None:
    settings = MigrateSettings(
        database_url=SecretStr(database.admin_url), nats_url=SecretStr(nats_url), operator_key=SecretStr(KEY)
    )
    await run(settings)
    await run(settings)

    async with open_pool(database.api_url, "tests") as api, open_pool(database.service_url, "tests") as pool:
        principal = await authenticate(api, KEY)
        rules = await pool.fetchval("SELECT count(*) FROM alert_rule")
        tenants = await pool.fetchval("SELECT count(*) FROM tenant")

    assert principal is not None
    assert principal.tenant_slug == "operateur"
    assert {"read", "manage", "lighting", "operate", "people", "audit"} <= principal.rights
    assert tenants == 1
    assert rules > 0


def test_a_bus_that_rejects_its_streams_is_reported_in_one_line(
    database: Database, nats_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a cluster does while most of its servers are away; a single server has no place for three replicas."""
    monkeypatch.setenv("TERRITOIRE_DATABASE_URL", database.admin_url)
    monkeypatch.setenv("TERRITOIRE_NATS_URL", nats_url)
    monkeypatch.setenv("TERRITOIRE_BUS_REPLICAS", "3")

    with pytest.raises(SystemExit) as ended:
        main()

    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert "le bus refuse ses flux" in told
    assert "Traceback" not in told
