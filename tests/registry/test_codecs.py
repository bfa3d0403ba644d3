"""Codecs in the registry: whose they are, how many differences are kept, and what goes along with a device."""

import asyncio
import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from core.runtime.postgres import ForeignKeyViolationError, InsufficientPrivilegeError, Pool
from registry.codec_shadows import KEPT, Compared, ShadowKey, list_differences, read_shadow, store_compared
from registry.codecs import create_codec, publish_version, read_version
from tests.entering import tenant_transaction, transfer

NOW = datetime(2026, 11, 25, tzinfo=UTC)


async def make_tenant(pool: Pool, slug: str) -> int:
    return await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ($1, $1) RETURNING id", slug)


async def make_version(pool: Pool, tenant_id: int | None, name: str = "acme.t", source: str = "x") -> int:
    async with pool.acquire() as connection, connection.transaction():
        codec_id = await connection.fetchval(
            "SELECT id FROM codec WHERE tenant_id IS NOT DISTINCT FROM $1 AND name = $2", tenant_id, name
        )
        if codec_id is None:
            codec_id = (await create_codec(connection, tenant_id, name=name)).id
        made, _ = await publish_version(
            connection, codec_id, language="javascript", source=source, form=None, author="a"
        )
    return made


async def make_device(pool: Pool, tenant_id: int, version_id: int | None) -> tuple[int, int]:
    profile = await pool.fetchval(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec, codec_version_id, mapping) "
        "VALUES ($1, 'p', 'v', 'm', 'acme.t', $2, '[{\"path\": \"t\"}]') RETURNING id",
        tenant_id,
        version_id,
    )
    device = await pool.fetchval(
        "INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation) "
        "VALUES ($1, $2, '\\x0000000000000002', 'd', $3, 0, 'ABP') RETURNING id",
        tenant_id,
        secrets.token_bytes(8),
        profile,
    )
    return profile, device


async def test_two_who_publish_at_once_get_two_versions_and_the_same_text_one(pool: Pool) -> None:
    tenant = await make_tenant(pool, "a")
    await make_version(pool, tenant, source="0")

    made = await asyncio.gather(*(make_version(pool, tenant, source=str(number % 4)) for number in range(12)))

    versions = await pool.fetch("SELECT version FROM codec_version ORDER BY version")
    assert [row["version"] for row in versions] == [1, 2, 3, 4]
    assert len(set(made)) == 4


async def test_the_api_writes_no_version_for_another_nor_one_that_is_offered_to_all(
    pool: Pool, api_pool: Pool
) -> None:
    mine, theirs = await make_tenant(pool, "a"), await make_tenant(pool, "b")
    their_codec = await _codec(pool, theirs)
    shared = await _codec(pool, None)
    insert = (
        "INSERT INTO codec_version (codec_id, version, language, source, sha256, author) "
        "VALUES ($1, 1, 'javascript', 'x', sha256('x'), 'a')"
    )

    with pytest.raises(ForeignKeyViolationError):
        async with tenant_transaction(api_pool, mine) as connection:
            await connection.execute(insert, their_codec.id)
    with pytest.raises(InsufficientPrivilegeError):
        async with tenant_transaction(api_pool, mine) as connection:
            await connection.execute(insert, shared.id)


async def _codec(pool: Pool, tenant_id: int | None):
    async with pool.acquire() as connection:
        return await create_codec(connection, tenant_id, name="acme.t")


async def test_nobody_points_to_a_version_of_another_tenant_by_profile_or_override(pool: Pool) -> None:
    mine, theirs = await make_tenant(pool, "a"), await make_tenant(pool, "b")
    version = await make_version(pool, theirs)
    profile, _ = await make_device(pool, mine, None)

    for column in ("codec_version_id", "shadow_version_id"):
        with pytest.raises(ForeignKeyViolationError):
            await pool.execute(f"UPDATE device_profile SET {column} = $1 WHERE id = $2", version, profile)
    with pytest.raises(ForeignKeyViolationError):
        await pool.execute(
            "INSERT INTO device_profile_override (tenant_id, device_profile_id, codec_version_id) "
            "VALUES ($1, $2, $3)",
            mine,
            profile,
            version,
        )


async def test_a_device_that_is_given_away_is_decoded_as_before_by_a_version_of_its_new_owner(
    pool: Pool, api_pool: Pool
) -> None:
    giver, receiver = await make_tenant(pool, "a"), await make_tenant(pool, "b")
    version = await make_version(pool, giver, source="function decodeUplink() {}")
    profile, device = await make_device(pool, giver, version)
    asset = await pool.fetchval(
        "INSERT INTO asset (tenant_id, kind, name) VALUES ($1, 'room', 'r') RETURNING id", giver
    )
    await pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id) VALUES ($1, $2, $3)", giver, asset, device
    )

    await transfer(pool, giver, asset, receiver)

    now = await pool.fetchrow(
        "SELECT p.* FROM device d JOIN device_profile p ON p.id = d.device_profile_id WHERE d.id = $1", device
    )
    assert now is not None
    given = await read_version(pool, now["codec_version_id"])
    assert given is not None
    assert (now["tenant_id"], now["mapping"], now["id"] == profile) == (receiver, [{"path": "t"}], False)
    assert (given.tenant_id, given.name, given.source) == (receiver, "acme.t", "function decodeUplink() {}")
    async with tenant_transaction(api_pool, receiver) as connection:
        assert await read_version(connection, version) is None  # The giver's own stays the giver's.


def compared(key: ShadowKey, device: int, number: int, shadow: float) -> Compared:
    said = [
        {"reason": None, "values": [[0, "", "temperature", value]], "warnings": []} for value in (20.0, shadow)
    ]
    at = NOW + timedelta(seconds=number)
    return Compared(key, device, UUID(int=number), at, 1, b"\x01", said[0], said[1])


async def test_differences_are_counted_and_the_last_of_each_shadow_are_kept(pool: Pool) -> None:
    tenant = await make_tenant(pool, "a")
    live, shadow = await make_version(pool, tenant, source="1"), await make_version(pool, tenant, source="2")
    profile, device = await make_device(pool, tenant, live)
    key, other = ShadowKey(tenant, profile, shadow), ShadowKey(tenant, profile, live)
    async with pool.acquire() as connection, connection.transaction():
        await store_compared(connection, [compared(other, device, 1, 21.0)], Counter())
    for start in range(0, 300, 100):
        frames = [compared(key, device, start + n, 20.0 + n % 2) for n in range(100)]
        frames += [compared(key, device, 1000 + start + n, 30.0) for n in range(100)]
        async with pool.acquire() as connection, connection.transaction():
            await store_compared(connection, frames, Counter({key: 2}))

    count = await read_shadow(pool, key)
    kept = await list_differences(pool, key, most=1000)

    assert count is not None
    assert (count.compared, count.different, count.dropped) == (600, 450, 6)
    assert len(kept) == KEPT
    assert [one.id for one in kept] == sorted((one.id for one in kept), reverse=True)
    assert kept[0].uplink_id == UUID(int=1299)
    assert len(await list_differences(pool, other)) == 1


async def test_a_frame_that_is_compared_twice_is_kept_once(pool: Pool) -> None:
    tenant = await make_tenant(pool, "a")
    version = await make_version(pool, tenant)
    profile, device = await make_device(pool, tenant, version)
    key, frame = ShadowKey(tenant, profile, version), uuid4().int
    for _ in range(2):
        async with pool.acquire() as connection, connection.transaction():
            await store_compared(connection, [compared(key, device, frame % 10**9, 21.0)], Counter())

    assert len(await list_differences(pool, key)) == 1
