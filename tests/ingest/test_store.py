from core.runtime.postgres import Pool
from ingest.batch import Prepared
from ingest.store import Store


async def test_an_empty_batch_is_written_as_nothing(pool: Pool) -> None:
    written = await Store(pool).write([], Prepared())

    assert not written.was_repeated
