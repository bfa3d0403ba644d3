"""A process that does re-decodes until it is killed: run as a module, with DATABASE_URL in its environment."""

import asyncio
import os

from core.runtime.postgres import open_pool
from decoders.javascript.pool import CodecPool
from ingest.redecode import redecode_next


async def main() -> None:
    """Say when it begins, then never end."""
    workers = CodecPool(1)
    await workers.start()
    async with open_pool(os.environ["DATABASE_URL"], "redecode") as pool:
        print("ready", flush=True)  # noqa: T201 - Whoever kills it reads this.
        while True:
            await redecode_next(pool, workers, "killed")
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main())
