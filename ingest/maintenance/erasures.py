"""Works off erasures: in batches, each a transaction, so that a kill -9 loses none and repeats none.

Before anything is erased the ledger beside the backups has it. Then the tables are emptied of it; and once what
was inside the streams at that instant has been read, what came of that goes as well, and the receipt is made.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog

from core.runtime.postgres import Pool
from ingest.cold.files import ColdFailure
from ingest.maintenance.cold_erasing import erase_from_files
from registry import erasures
from registry.keys import KeyWrap

MOST_AT_ONCE = 20_000
# Between two batches others have their turn.
PAUSE_S = 0.05

log = structlog.get_logger()


class Streams(Protocol):
    """The streams, as far as an erasure waits for them."""

    async def positions(self) -> dict[str, int]:
        """The last message of each."""
        ...

    async def is_read_up_to(self, positions: dict[str, int]) -> bool:
        """Whether nobody holds what was in the work queues then; copies of measurements are dropped."""
        ...


@dataclass(slots=True)
class Eraser:
    """Erases what was asked for; `ledger` None: this installation keeps none outside its database."""

    pool: Pool
    keys: KeyWrap
    ledger: Path | None
    settle: timedelta
    ask_streams: Callable[[Callable[[Streams], Awaitable[bool]]], Awaitable[bool]]
    cold_folder: Path | None = None
    most: int = MOST_AT_ONCE
    _positions: dict[int, dict[str, int]] = field(default_factory=dict[int, dict[str, int]])

    async def work(self) -> None:
        """One pass over every erasure that is not done.

        Raises:
            ColdFailure: the folder of cold files kept one of them from going on; the others have.
        """
        refused: ColdFailure | None = None
        for one in await erasures.list_under_way(self.pool):
            try:
                await self._go_on(one)
            except ColdFailure as failed:
                refused = refused or failed
        if refused is not None:
            raise refused

    async def _go_on(self, one: erasures.UnderWay) -> None:
        state = await self._begin(one.id) if one.state == "waiting" else one.state
        if state == "running":
            await self._empty(one.id)
            await erasures.settle(self.pool, one.id)
            log.info("erasure_settles", erasure=one.id)
        elif one.settling_since is not None and datetime.now(UTC) >= one.settling_since + self.settle:
            await self._finish(one.id)

    async def _begin(self, erasure_id: int) -> str:
        state, scope = await erasures.begin(self.pool, erasure_id)
        if state != "waiting":
            log.info("erasure_refused", erasure=erasure_id)
            return state
        digests = erasures.digests_of(self.keys, scope)
        if self.ledger is not None:
            await asyncio.to_thread(erasures.append_to_ledger, self.ledger, digests, datetime.now(UTC))
        # Where there is no file, whoever keeps the logs has it.
        log.info("erasure_begins", erasure=erasure_id, digests=[one.hex() for one in digests])
        await erasures.record_digests(self.pool, erasure_id, digests)
        return "running"

    async def _empty(self, erasure_id: int) -> None:
        await erase_from_files(self.pool, self.cold_folder, erasure_id)
        while erased := await erasures.erase_some(self.pool, erasure_id, self.most):
            log.info("rows_erased", erasure=erasure_id, rows=erased)
            await asyncio.sleep(PAUSE_S)

    async def _finish(self, erasure_id: int) -> None:
        async def is_read(streams: Streams) -> bool:
            if erasure_id not in self._positions:
                self._positions[erasure_id] = await streams.positions()
            return await streams.is_read_up_to(self._positions[erasure_id])

        if not await self.ask_streams(is_read):
            return
        await self._empty(erasure_id)
        await erasures.end(self.pool, erasure_id)
        self._positions.pop(erasure_id, None)
        log.info("erasure_done", erasure=erasure_id)
