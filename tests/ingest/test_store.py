import pytest

from core.messages.measurements import Measurement
from core.registry import datastreams, devices
from core.runtime.postgres import Pool
from ingest import store
from ingest.batch import Batch

STATEMENTS = {
    name: statement
    for module in (store, datastreams, devices)
    for name, statement in vars(module).items()
    if name.isupper() and isinstance(statement, str) and ("SELECT" in statement or "INSERT" in statement)
}


@pytest.mark.parametrize("name", sorted(STATEMENTS))
async def test_a_statement_fits_the_migrated_schema(pool: Pool, name: str) -> None:
    async with pool.acquire() as connection:
        statement = await connection.prepare(STATEMENTS[name])
        described = statement.get_attributes()

    assert (len(described) > 0) == ("RETURNING" in STATEMENTS[name] or STATEMENTS[name].split()[0] == "SELECT")


async def test_an_empty_batch_is_written_as_nothing(pool: Pool) -> None:
    assert not await store.write_batch(pool, [], Batch())


async def test_the_last_of_each_datastream_is_latest_in_the_order_of_their_ids() -> None:
    rows = [Measurement(9, 5, 1.0, 0), Measurement(2, 7, 2.0, 0), Measurement(9, 4, 3.0, 0)]
    past = Measurement(2, 6, 4.0, 0)

    batch = Batch(
        measurements={(row.datastream_id, row.time_us): row for row in rows},
        history={(past.datastream_id, past.time_us): past},
    )

    assert batch.latest() == [rows[1], rows[0]]
