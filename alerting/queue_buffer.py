"""How pgqueuer writes down what became of jobs: a moment after the first, and no wake-up while there is none.

Its own buffer looks ten times a second whether something is to be written, and has a database that is away for an
error of its own.
"""

import asyncio
import dataclasses
from typing import Any

import structlog
from pgqueuer.core import buffers

from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, PostgresError

log = structlog.get_logger()


@dataclasses.dataclass
class StatusBuffer(buffers.JobStatusLogBuffer):
    """Written down at once when it is full, and `timeout` after what came first; again after a failure."""

    _is_due: bool = dataclasses.field(init=False, default=False)

    async def add(self, item: Any) -> None:
        """As its base class says."""
        await super().add(item)
        self._flush_soon()

    async def flush(self) -> None:
        """As its base class says; what is left is tried again."""
        await super().flush()
        if not self.events.empty():
            self._flush_soon()

    async def flush_items(self, items: list[Any]) -> None:
        """As its base class says; what a database that is away did not take is tried again."""
        try:
            await super().flush_items(items)
        except (*DATABASE_AWAY, PostgresError) as away:
            log.warning("job_status_not_written", jobs=len(items), error=describe(away))
            for item in items:
                self.events.put_nowait(item)

    async def periodic_flush(self) -> None:
        """Nothing is done by the clock alone."""

    def _flush_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(self.timeout.total_seconds(), self._flush_now)

    def _flush_now(self) -> None:
        self._is_due = False
        if not self.shutdown.is_set():  # Then pgqueuer writes down what is left by itself.
            self.schedule_flush()


@dataclasses.dataclass
class HeartbeatBuffer(buffers.HeartbeatBuffer):
    """What is not written is not tried again: the next sign of life comes by itself."""

    async def flush_items(self, items: list[Any]) -> None:
        """As its base class says."""
        try:
            await super().flush_items(items)
        except (*DATABASE_AWAY, PostgresError) as away:
            log.warning("job_heartbeat_not_written", jobs=len(items), error=describe(away))


def use_buffers() -> None:
    """From now on queues of this process have them: pgqueuer makes its own, and takes none."""
    buffers.JobStatusLogBuffer, buffers.HeartbeatBuffer = StatusBuffer, HeartbeatBuffer
