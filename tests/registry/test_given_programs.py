"""Programs of lamps that go along with a cabinet to another tenant."""

from core.runtime.postgres import Pool
from tests.entering import transfer

NAME = "Coupure de nuit " * 12  # 192 characters, of which 160 are kept.
TENANTS = "INSERT INTO tenant (slug, name) VALUES ('a', 'A'), ('b', 'B') RETURNING id"
FOLLOW = """
WITH p AS (INSERT INTO lighting_program (tenant_id, name) VALUES ($1, $3) RETURNING id),
v AS (INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author)
      SELECT $1, id, 1, jsonb_build_object('default', '{}'::jsonb, 'coefficient', $4::float8), 'x' FROM p
      RETURNING id)
INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by) SELECT $1, $2, id, 'x' FROM v
"""


async def test_a_cabinet_that_goes_to_and_fro_brings_its_program_each_time_whatever_names_are_taken(
    pool: Pool, api_pool: Pool
) -> None:
    giver, receiver = [row["id"] for row in await pool.fetch(TENANTS)]
    add = "INSERT INTO asset (tenant_id, kind, name) VALUES ($1, 'lighting_cabinet', $2) RETURNING id"
    asset, theirs = await pool.fetchval(add, giver, "ARM-1"), await pool.fetchval(add, receiver, "ARM-2")
    await pool.execute(FOLLOW, receiver, theirs, NAME[:160], 0.1)

    for coefficient in (0.2, 0.3, 0.4):
        await pool.execute(
            "UPDATE lighting_assignment SET ended_at = now(), ended_by = 'x' WHERE asset_id = $1", asset
        )
        await pool.execute("UPDATE lighting_program SET archived_at = now() WHERE tenant_id = $1", giver)
        await pool.execute(FOLLOW, giver, asset, NAME, coefficient)
        await transfer(pool, giver, asset, receiver)
        await transfer(pool, receiver, asset, giver)

    given = await pool.fetch(
        "SELECT DISTINCT p.name, v.program FROM lighting_program p JOIN lighting_program_version v "
        "ON v.program_id = p.id WHERE p.tenant_id = $1 ORDER BY p.name",
        receiver,
    )
    assert [(row["name"].removeprefix(NAME[:160]), row["program"]["coefficient"]) for row in given] == [
        ("", 0.1),
        (f" (repris avec {asset})", 0.2),
        (f" (repris avec {asset}, 2)", 0.3),
        (f" (repris avec {asset}, 3)", 0.4),
    ]
