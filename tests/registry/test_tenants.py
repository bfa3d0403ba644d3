from datetime import UTC, datetime, timedelta

import pytest

from core.runtime.postgres import Pool
from registry.tenants import (
    MalformedKey,
    authenticate,
    create_api_key,
    create_tenant,
    revoke_api_key,
)


async def test_a_key_names_its_tenant_and_roles(pool: Pool, api_pool: Pool) -> None:
    tenant = await create_tenant(pool, "sdef", "SDEF")
    key = await create_api_key(pool, tenant.id, "essai", ["read", "lighting"])

    principal = await authenticate(api_pool, key)

    assert principal is not None
    assert (principal.tenant_id, principal.tenant_slug) == (tenant.id, "sdef")
    assert principal.rights == {"read", "lighting"}


async def test_the_secret_is_not_in_the_database(pool: Pool) -> None:
    tenant = await create_tenant(pool, "sdef", "SDEF")
    key = await create_api_key(pool, tenant.id, "essai", ["read"])
    kept = await pool.fetchval("SELECT to_jsonb(k)::text FROM api_key k")

    assert key.split("_", 2)[2] not in kept


@pytest.mark.parametrize("spoil", [lambda key: key + "x", lambda key: key.replace("terr_", "terr_f")])
async def test_a_wrong_key_opens_nothing(pool: Pool, api_pool: Pool, spoil) -> None:
    tenant = await create_tenant(pool, "sdef", "SDEF")
    key = await create_api_key(pool, tenant.id, "essai", ["read"])

    assert await authenticate(api_pool, spoil(key)) is None


async def test_a_revoked_or_expired_key_opens_nothing(pool: Pool, api_pool: Pool) -> None:
    tenant = await create_tenant(pool, "sdef", "SDEF")
    revoked = await create_api_key(pool, tenant.id, "a", ["read"])
    expired = await create_api_key(pool, tenant.id, "b", ["read"], datetime.now(UTC) - timedelta(seconds=1))
    await revoke_api_key(pool, revoked.split("_")[1])

    assert await authenticate(api_pool, revoked) is None
    assert await authenticate(api_pool, expired) is None


async def test_a_text_that_is_no_key_is_malformed(api_pool: Pool) -> None:
    with pytest.raises(MalformedKey):
        await authenticate(api_pool, "Bearer nonsense")


async def test_an_unknown_role_is_rejected(pool: Pool) -> None:
    tenant = await create_tenant(pool, "sdef", "SDEF")

    with pytest.raises(ValueError, match="unknown rights: emperor"):
        await create_api_key(pool, tenant.id, "x", ["emperor"])
