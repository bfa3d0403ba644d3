"""A database as an older program left it."""

from core.runtime.postgres import connect
from registry.schema import CREATE_LEDGER, apply_step, migrations

# 0009 begins by adding these, and waits for other tables afterwards.
HAS_TAGS = """
SELECT EXISTS (SELECT FROM information_schema.columns WHERE table_name = 'asset' AND column_name = 'tags')
"""


# Programs of then knew no other columns.
WRITE_LEDGER = "INSERT INTO schema_migration (number, name, checksum) VALUES ($1, $2, $3)"


async def migrate_up_to(number: int, database_url: str, *, after: int = 0) -> None:
    """Apply the first `number` files, as the program of then did, but for the first `after`, which are there."""
    connection = await connect(database_url)
    await connection.execute(CREATE_LEDGER)
    for migration in migrations()[after:number]:
        for step in migration.steps:
            await apply_step(connection, step)
        if not migration.steps:
            await connection.execute(migration.sql.replace("{shards}", "4"))
        await connection.execute(WRITE_LEDGER, migration.number, migration.name, migration.checksum)
    await connection.close()
