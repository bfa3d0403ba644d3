"""What a case has shown: its account, what the tables say, how long recovery took."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.simulator.account import Account

RECOVERS_WITHIN_S = 60.0


class NotRun(Exception):
    """This machine does not allow the case. The message says in French why."""


class CaseFailed(Exception):
    """What was to be done to the stack could not be done. The message says in French what."""


@dataclass(slots=True)
class Outcome:
    """One line of the table. A case that could not be run here has a reason, and has shown nothing."""

    name: str
    title: str
    account: Account = field(default_factory=Account)
    not_run: str = ""
    edge_dropped: int = 0
    """Receptions that the bridge dropped and counted, and datagrams that its socket had no room for."""
    recovery_s: float | None = None
    """From the stroke, or from the end of what lasted, until the chain kept up again."""
    recoveries: dict[str, float | None] = field(default_factory=dict[str, float | None])
    """Of a case with several faults, from each; `recovery_s` is the longest then."""
    drained: bool = False
    counters_went_back: int = 0
    differences: list[str] = field(default_factory=list[str])
    """Last values, rollups and dirty marks that are not what raw measurements give."""
    unready: list[str] = field(default_factory=list[str])
    tracebacks: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """In the logs of services that the case did not strike: of each the last lines, and how many."""
    notes: list[str] = field(default_factory=list[str])
    p99_ms: float | None = None
    """From datagram to commit; None: not looked at."""
    took_s: float = 0.0

    @property
    def ours(self) -> int:
        """Received by a gateway, less what the radio edge may have lost."""
        return self.account.heard - self.account.left_out

    @property
    def holds(self) -> bool:
        """Whether all of it is as promised, to the last uplink."""
        return (
            not self.not_run
            and self.account.heard > 0
            and self.account.balances
            and self.drained
            and not (self.counters_went_back or self.differences or self.unready or self.tracebacks)
            and not self.recovered_late
        )

    @property
    def recovered_late(self) -> bool:
        """Whether the chain took longer than it may."""
        each = [math.inf if one is None else one for one in self.recoveries.values()]
        return max([self.recovery_s or 0.0, *each]) > RECOVERS_WITHIN_S

    @property
    def status(self) -> str:
        """For the report."""
        return "not_run" if self.not_run else "ok" if self.holds else "failed"

    def subtract_counted_drops(self) -> None:
        """What found no room in a socket that nobody read was never ours, and no more than is counted of that.

        Only of a case that strikes the bridge: one that works drops nothing.
        """
        excused = min(self.account.missing, self.edge_dropped)
        self.account.missing -= excused
        self.account.left_out += excused

    def judge_latency(self, p99_ms: float, goal_ms: float, *, binds: bool) -> None:
        """From datagram to commit; beyond the goal the case fails, where the load is the one of the goal."""
        self.p99_ms = round(p99_ms, 1)
        said = f"p99 du datagramme au commit {p99_ms:.0f} ms (but : {goal_ms:.0f})"
        (self.differences if binds and p99_ms >= goal_ms else self.notes).append(said)

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        account = asdict(self.account)
        return {
            "name": self.name,
            "title": self.title,
            "status": self.status,
            "sent": account.pop("sent"),
            "heard": account.pop("heard"),
            "ours": self.ours,
            **account,
            "edge_dropped": self.edge_dropped,
            "recovery_s": self.recovery_s,
            "recoveries": self.recoveries,
            "p99_ms": self.p99_ms,
            "drained": self.drained,
            "counters_went_back": self.counters_went_back,
            "differences": self.differences,
            "unready": self.unready,
            "tracebacks": self.tracebacks,
            "notes": self.notes,
            "not_run": self.not_run,
            "took_s": round(self.took_s, 1),
        }
