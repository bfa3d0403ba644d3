from pydantic import SecretStr

from core.registry.tenants import authenticate
from core.runtime.postgres import open_pool
from services.migrate.__main__ import MigrateSettings, run

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
    assert (principal.tenant_slug, principal.roles) == ("operateur", {"read", "manage", "lighting", "operate"})
    assert tenants == 1
    assert rules > 0
