"""A simulated clock: what is to happen, and when."""

import heapq
from collections.abc import Callable
from datetime import datetime

from lorawan.instants import from_us, to_us


class Events:
    """The time is that of the last event; between two of them nothing happens."""

    def __init__(self, begin: datetime) -> None:
        self.now_us = to_us(begin)
        self._waiting: list[tuple[int, int, Callable[[], object]]] = []
        self._number = 0

    @property
    def now(self) -> datetime:
        """The time."""
        return from_us(self.now_us)

    def clock(self) -> int:
        """The time, as a `WallClock`."""
        return self.now_us

    def call_at(self, at_us: int, act: Callable[[], object]) -> None:
        """Do it then; what comes at the same instant is done in the order in which it was asked for."""
        self._number += 1
        heapq.heappush(self._waiting, (max(at_us, self.now_us), self._number, act))

    def advance(self) -> bool:
        """Do what comes next, and all that comes at the same instant; False when nothing is waiting."""
        if not self._waiting:
            return False
        self.now_us = self._waiting[0][0]
        while self._waiting and self._waiting[0][0] <= self.now_us:
            heapq.heappop(self._waiting)[2]()
        return True
