"""How pgqueuer writes down what became of jobs: a moment after the first, and no wake-up while there is none.

Its own buffer looks ten times a second whether something is to be written.
"""

import asyncio
import dataclasses
from typing import Any

from pgqueuer.core import buffers


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


def use_status_buffer() -> None:
    """From now on queues of this process have it: pgqueuer makes its own, and takes none."""
    buffers.JobStatusLogBuffer = StatusBuffer
