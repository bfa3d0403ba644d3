import pytest

from core.runtime.postgres import Pool
from registry.units import UnitMismatch, require_units
from tests.registry.test_tenancy import plant


async def test_datastreams_in_the_units_of_the_catalogue_are_right(pool: Pool) -> None:
    await plant(pool, "mine")

    async with pool.acquire() as connection:
        assert await require_units(connection) == []


async def test_a_unit_that_the_catalogue_changed_is_rejected(pool: Pool) -> None:
    await plant(pool, "mine")
    await pool.execute("UPDATE datastream SET unit = 'K'")

    async with pool.acquire() as connection:
        with pytest.raises(UnitMismatch, match="temperature in K, not Cel") as refused:
            await require_units(connection)

    assert "temperature en K au lieu de Cel (1 flux" in refused.value.french


async def test_a_quantity_that_left_the_catalogue_is_reported_and_stays(pool: Pool) -> None:
    await plant(pool, "mine")
    await pool.execute("UPDATE datastream SET quantity = 'phlogiston'")

    async with pool.acquire() as connection:
        left = await require_units(connection)

    assert [(one.quantity, one.unit, one.datastreams) for one in left] == [("phlogiston", "Cel", 1)]
