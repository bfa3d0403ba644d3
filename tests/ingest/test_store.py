from core.runtime.postgres import Pool
from ingest import store
from ingest.batch import Batch


async def test_an_empty_batch_is_written_as_nothing(pool: Pool) -> None:
    assert not await store.write_batch(pool, [], Batch())
