"""What a case is: what it does, on which stack, and how much of it the tests play."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from enum import StrEnum

from lab.chaos.scene import Scene

Act = Callable[[Scene], Awaitable[None]]
Around = Callable[[Scene], AbstractAsyncContextManager[None]]

SHARDED: tuple[str, ...] = ("network", "ingest", "alerting", "lighting")
# At which chains are judged by how long they take.
GOAL_RATE = 2_000


class Layout(StrEnum):
    """The stack that a case needs. Cases of one layout share one."""

    USUAL = "usual"
    """Two replicas of what has shards."""
    DOUBLED = "doubled"
    """Two replicas of every service."""
    CLUSTER = "cluster"
    """As usual, on a bus of three servers."""
    FAILOVER = "failover"
    """As usual, with a database that is another one afterwards."""
    FRESH = "fresh"
    """As usual, with nothing in it that other cases have measured."""
    FORMER = "former"
    """As usual, of the last release."""


@dataclass(frozen=True, slots=True)
class Case:
    """`during` goes on while the load is played, `around` before and after it."""

    name: str
    title: str
    seconds: float
    """How long the load lasts, unless the operator says otherwise."""
    during: Act | None = None
    around: Around | None = None
    on_small_disks: bool = False
    layout: Layout = Layout.USUAL
    p99_goal_ms: float | None = None
    """From datagram to commit at `GOAL_RATE` uplinks per second, behind the lead; None: not looked at."""
    load_goes_on: bool = False
    """The load lasts for as long as `during`, which looks at `seconds` itself."""
    quick_s: float | None = None
    """How long in the tests, whose cases are what continuous integration plays; None: not there."""
    quick_during: Act | None = None
    """In the tests instead of `during`."""
    quick_around: Around | None = None
    rate: float | None = None
    """Uplinks a second, whatever the operator says: played by name only, on a stack of its own."""
    devices: int | None = None
    """How many send at this rate; None: as many as uplinks a second."""
    is_slow: bool = False
    """In the tests with those that take minutes (`./territoire test --browser`)."""

    @property
    def is_alone(self) -> bool:
        """Whether it is played by name only, on a stack of its own."""
        return self.rate is not None

    @property
    def as_selected(self) -> "Case":
        """The share of the tests, for as long as it takes there."""
        return replace(self.quick, seconds=self.quick_s or self.seconds)

    @property
    def quick(self) -> "Case":
        """As the tests play it."""
        return replace(self, during=self.quick_during or self.during, around=self.quick_around or self.around)
