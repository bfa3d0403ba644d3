from core.runtime.postgres import Pool
from lab.load.latency import READ_LATENCY


async def test_the_statement_about_commits_is_one_that_the_server_understands(pool: Pool) -> None:
    async with pool.acquire() as connection:
        prepared = await connection.prepare(READ_LATENCY)
        columns = [column.name for column in prepared.get_attributes()]

    assert columns == ["stored", "in_time", "seconds"]
