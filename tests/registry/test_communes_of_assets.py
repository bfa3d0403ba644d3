"""Which commune an asset is in: by its position and the outlines, also when they change and after the upgrade."""

from typing import Any

from core.model.outlines import read_outline
from core.runtime.postgres import Connection, Pool, connect, open_pool
from registry import outlines
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

ASSET = """
INSERT INTO asset (tenant_id, kind, name, commune, insee, longitude, latitude, parent_id)
VALUES ($1, 'room', $2, $3, $4, $5, $6, $7) RETURNING id
"""
ALL = "SELECT name, commune, insee, position_insee, commune_by_position FROM asset ORDER BY id"
BEFORE = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('a', 'A') RETURNING id),
o AS (INSERT INTO commune_outline (tenant_id, insee, name, polygons, west, south, east, north)
      SELECT id, '29001', 'Ouest', '[[[[-4, 48], [-3.9, 48], [-3.9, 48.1], [-4, 48.1], [-4, 48]]]]',
             -4, 48, -3.9, 48.1 FROM t)
INSERT INTO asset (tenant_id, kind, name, commune, longitude, latitude)
SELECT t.id, 'room', name, commune, -3.95, 48.05
FROM t, (VALUES ('unstated', ''), ('stated', 'ouést'), ('wrong', 'Est')) AS of (name, commune)
"""


def square(west: float, south: float, side: float) -> list[list[float]]:
    east, north = round(west + side, 6), round(south + side, 6)
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


async def save_outline(
    connection: Connection, tenant_id: int | None, insee: str, name: str, *polygons: Any
) -> None:
    given = {"insee": insee, "nom": name}
    shape = {"type": "MultiPolygon", "coordinates": list(polygons)}
    outline = read_outline({"type": "Feature", "properties": given, "geometry": shape})
    await outlines.take_in(connection, tenant_id, outline)


async def test_assets_know_their_commune_by_position_and_what_was_stated_stays(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("INSERT INTO tenant (slug, name) VALUES ('a', 'A'), ('b', 'B')")
        # Two neighbours, one of two polygons with a hole, and in the hole a third.
        await save_outline(
            connection,
            1,
            "29001",
            "Ouest",
            [square(-4, 48, 0.1), square(-3.97, 48.03, 0.04)],
            [square(-3, 48, 0.1)],
        )
        await save_outline(connection, 1, "29002", "Est", [square(-3.9, 48, 0.1)])
        await save_outline(connection, None, "29003", "Trou", [square(-3.97, 48.03, 0.04)])

        async def make_asset(
            name: str, x: float | None, y: float | None, *stated: Any, parent: int | None = None
        ) -> int:
            commune, insee = stated or ("", None)
            return await connection.fetchval(ASSET, 1, name, commune, insee, x, y, parent)

        async def known(name: str) -> tuple[Any, ...]:
            row = await connection.fetchrow(ALL.replace("ORDER BY id", "WHERE name = $1"), name)
            return tuple(row or ())[1:]

        for name, x, y, insee in (
            ("ring", -3.99, 48.01, "29001"),
            ("islet", -2.95, 48.05, "29001"),
            ("hole", -3.95, 48.05, "29003"),
            ("border", -3.9, 48.05, "29001"),
            ("40 m west of the border", -3.9005, 48.05, "29001"),
            ("40 m east of the border", -3.8995, 48.05, "29002"),
            ("sea", -5.0, 48.05, None),
            ("nowhere", None, None, None),
        ):
            await make_asset(name, x, y)
            commune, code, by_position, is_derived = await known(name)
            assert (name, code, by_position, is_derived, bool(commune)) == (
                name,
                insee,
                insee,
                True,
                insee is not None,
            )
        await make_asset("stated", -3.99, 48.01, "OUEST", None)
        await make_asset("wrong", -3.99, 48.01, "Est", None)
        await make_asset("coded", None, None, "", "29002")
        lamp = await make_asset("lamp at sea", -5.0, 48.06, parent=await make_asset("cabinet", -3.85, 48.05))
        assert await known("stated") == ("OUEST", "29001", "29001", False)
        assert await known("wrong") == ("Est", "29002", "29001", False)
        assert await known("coded") == ("Est", "29002", None, False)
        assert await known("lamp at sea") == ("Est", "29002", None, True)

        await connection.execute("UPDATE asset SET longitude = -3.85 WHERE name IN ('ring', 'stated')")
        assert await known("ring") == ("Est", "29002", "29002", True)
        assert await known("stated") == ("OUEST", "29001", "29002", False)
        await connection.execute("UPDATE asset SET commune = '' WHERE id = $1 OR name = 'wrong'", lamp)
        assert await known("wrong") == ("Ouest", "29001", "29001", True)

        # An outline that changes: by the job, which then has nothing to do.
        assert await outlines.settle(pool) == 0
        await save_outline(connection, 1, "29001", "Ouest-Ville", [square(-4, 48, 0.2)])
        await connection.execute("UPDATE commune_outline SET taken_in_at = now() WHERE settled_at IS NULL")
        assert await outlines.settle(pool) > 0
        assert await outlines.settle(pool) == 0
        assert await known("ring") == ("Ouest-Ville", "29001", "29001", True)
        assert await known("islet") == ("", None, None, True)
        assert await known("hole") == ("Ouest-Ville", "29001", "29001", True)
        # Another tenant has what is offered to all, and not this one's.
        await connection.execute(ASSET, 2, "other", "", None, -3.95, 48.05, None)
        assert await known("other") == ("Trou", "29003", "29003", True)


async def test_assets_of_before_get_communes_by_the_upgrade_and_what_was_stated_stays(
    empty_database_url: str,
) -> None:
    await migrate_up_to(98, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(BEFORE)
    await connection.close()

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=1) as pool:
        await outlines.settle(pool)
        assert [tuple(row) for row in await pool.fetch(ALL)] == [
            ("unstated", "Ouest", "29001", "29001", True),
            ("stated", "ouést", "29001", "29001", False),
            ("wrong", "Est", None, "29001", False),
        ]
