from collections.abc import Sequence
from dataclasses import replace

import pytest

from core.runtime.postgres import Pool
from registry.codec_imports import CatalogueCodec, CatalogueProfile, CodecImport, Outcome, import_codec
from registry.tenants import create_tenant

CODEC = CatalogueCodec(
    "acme.niveau", "Acme", "Niveau 3", "function decodeUplink() {}", None, [{"name": "x"}], "ttn"
)
PROFILE = CatalogueProfile(
    "Acme Niveau 3",
    "Acme",
    "Niveau 3",
    "C",
    "1.0.2",
    "RP001-1.0.2-RevB",
    supports_join=False,
    max_eirp=14,
    firmware_from="1.0",
    firmware_until="1.4",
    mapping=({"path": "d", "quantity": "distance", "channel": ""},),
)


async def imported(
    pool: Pool, codec: CatalogueCodec, *profiles: CatalogueProfile, tenant_id: int | None = None
) -> CodecImport:
    async with pool.acquire() as connection, connection.transaction():
        return await import_codec(connection, tenant_id, codec, profiles, "console")


async def rows(pool: Pool, table: str) -> Sequence[dict]:
    return [
        dict(row) for row in await pool.fetch(f"SELECT * FROM {table} WHERE created_at IS NOT NULL ORDER BY id")
    ]


@pytest.fixture
async def profiles_before(pool: Pool) -> int:
    """The migrations offer some."""
    return await pool.fetchval("SELECT count(*) FROM device_profile")


async def test_a_codec_its_version_and_its_models_are_made(pool: Pool, profiles_before: int) -> None:
    done = await imported(pool, CODEC, PROFILE)

    (version,) = await rows(pool, "codec_version")
    profile = (await rows(pool, "device_profile"))[profiles_before]
    assert done == CodecImport(Outcome.CREATED, version["id"], 1, ((Outcome.CREATED, "grandeurs proposées : 1"),))
    assert (version["source"], version["author"], version["examples"]) == (
        CODEC.source,
        "console",
        [{"name": "x"}],
    )
    assert (profile["tenant_id"], profile["codec"], profile["codec_version_id"]) == (
        None,
        CODEC.name,
        version["id"],
    )
    assert (profile["device_class"], profile["mac_version"], profile["max_eirp"]) == ("C", "1.0.2", 14)
    assert (profile["firmware_from"], profile["firmware_until"]) == ("1.0", "1.4")
    assert profile["regional_revision"] == "RP001-1.0.2-RevB"
    assert profile["supports_join"] is False
    assert profile["mapping"] == list(PROFILE.mapping)


async def test_the_same_import_twice_changes_nothing(pool: Pool, profiles_before: int) -> None:
    first = await imported(pool, CODEC, PROFILE)
    before = [await rows(pool, table) for table in ("codec", "codec_version", "device_profile")]

    again = await imported(pool, CODEC, PROFILE)

    assert again == CodecImport(Outcome.UNCHANGED, first.version_id, 1, ((Outcome.UNCHANGED, "déjà à jour"),))
    assert [await rows(pool, table) for table in ("codec", "codec_version", "device_profile")] == before


async def test_a_new_source_is_a_new_version_that_no_profile_uses_yet(pool: Pool, profiles_before: int) -> None:
    first = await imported(pool, CODEC, PROFILE)

    done = await imported(pool, replace(CODEC, source="function decodeUplink() { return {} }"), PROFILE)

    assert (done.outcome, done.version) == (Outcome.NEW_VERSION, 2)
    assert done.profiles == ((Outcome.UNCHANGED, "garde sa version : mettez la nouvelle à l'essai"),)
    assert (await rows(pool, "device_profile"))[profiles_before]["codec_version_id"] == first.version_id


async def test_a_profile_of_that_name_with_another_codec_is_left_alone(pool: Pool) -> None:
    tenant = await create_tenant(pool, "brest", "Brest")
    await pool.execute(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec) "
        "VALUES ($1, $2, 'v', 'm', 'elsys.ers')",
        tenant.id,
        PROFILE.name,
    )

    done = await imported(pool, CODEC, PROFILE, tenant_id=tenant.id)

    assert done.profiles == ((Outcome.UNCHANGED, "existe déjà, lu par elsys.ers"),)
    assert done.outcome is Outcome.CREATED


async def test_a_tenant_has_a_codec_of_its_own_beside_the_shared_one(pool: Pool) -> None:
    tenant = await create_tenant(pool, "brest", "Brest")
    shared = await imported(pool, CODEC, PROFILE)

    own = await imported(pool, CODEC, PROFILE, tenant_id=tenant.id)

    assert own.outcome is Outcome.CREATED
    assert own.version_id != shared.version_id
