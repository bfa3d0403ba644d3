"""The same at the ports of a running stack: every message is counted, and a good one behind them answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.chaos.processes import samples
from lab.fuzz.target import ANSWERED_WITHIN_S, LONGEST_SHOWN, MOST_DEFECTS, WARM_SHARE, Defect
from lab.simulator.stack_memory import pss_mb
from services.supervisor.run_info import RunInfo

BURST = 20
GIVE_UP_S = 10.0
# Private pages of a process that handles a load swing by so much.
KEPT_MB = 12.0
SHARE_IN_TIME = 0.99


@dataclass(slots=True)
class LiveFindings:
    """What a port has shown."""

    name: str
    title: str
    cases: int = 0
    counted: int = 0
    """How many messages the service counts, of those that it had to."""
    to_count: int = 0
    answers_s: list[float] = field(default_factory=list[float])
    """Behind hostile ones, from sending to the answer."""
    alone_s: list[float] = field(default_factory=list[float])
    """Of good ones behind good ones: what this machine takes anyway."""
    kept_mb: float = 0.0
    connections: int = 1
    answered_within_s: float = ANSWERED_WITHIN_S
    defects: list[Defect] = field(default_factory=list[Defect])
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether all are counted and the good ones answered in time, where the machine has the time."""
        limit_s = max(self.answered_within_s, quantile(self.alone_s, SHARE_IN_TIME))
        in_time = quantile(self.answers_s, SHARE_IN_TIME) <= limit_s
        return not self.defects and in_time and self.counted == self.to_count and self.kept_mb <= KEPT_MB

    def report(self, what: str, shown: object = "") -> None:
        """Keep a defect; of very many the first ones."""
        if len(self.defects) < MOST_DEFECTS:
            self.defects.append(Defect(self.cases, what, repr(shown)[:LONGEST_SHOWN]))

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "name": self.name,
            "cases": self.cases,
            "counted": [self.counted, self.to_count],
            "good": len(self.answers_s),
            "good_ms": [round(1_000 * quantile(self.answers_s, share), 1) for share in (0.5, SHARE_IN_TIME, 1)],
            "good_alone_ms": [
                round(1_000 * quantile(self.alone_s, share), 1) for share in (0.5, SHARE_IN_TIME, 1)
            ],
            "kept_mb": round(self.kept_mb, 1),
            "connections": self.connections,
            "defects": [{"case": one.case, "what": one.what, "shown": one.shown} for one in self.defects],
            "holds": self.holds,
            "seconds": round(self.seconds, 1),
        }


def quantile(values: list[float], share: float) -> float:
    """The smallest value that this share of them does not exceed; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-round(share * 1_000) * len(ordered) // 1_000) - 1))]


@dataclass(frozen=True, slots=True)
class Port:
    """How hostile messages get in, and a good one: `send` that of a case, `ask` returns once it is answered.

    `count` is what the service has counted so far.
    """

    send: Callable[[int], Awaitable[None]]
    ask: Callable[[], Awaitable[None]]
    count: Callable[[], Awaitable[int]]
    service: str


async def play_live(findings: LiveFindings, port: Port, run: RunInfo, cases: int) -> None:
    """Bursts of hostile messages, a good one behind each, and every so often a good one behind that."""
    began, counted = time.monotonic(), await port.count()
    warm, before_mb = max(1, round(cases * WARM_SHARE)), 0.0
    while findings.cases < cases:
        for _ in range(min(BURST, cases - findings.cases)):
            await port.send(findings.cases)
            findings.cases += 1
        await _ask(port, findings, findings.answers_s)
        await _ask(port, findings, findings.alone_s)
        if not before_mb and findings.cases >= warm:
            before_mb = memory_mb(run, port.service)
    findings.kept_mb = max(0.0, memory_mb(run, port.service) - before_mb)
    findings.counted = await port.count() - counted
    findings.seconds = time.monotonic() - began


async def _ask(port: Port, findings: LiveFindings, answers_s: list[float]) -> None:
    asked_at = time.perf_counter()
    try:
        async with asyncio.timeout(GIVE_UP_S):
            await port.ask()
    except TimeoutError:
        findings.report(f"a good message has no answer in {GIVE_UP_S:.0f} s")
        return
    answers_s.append(time.perf_counter() - asked_at)


def memory_mb(run: RunInfo, service: str) -> float:
    """PSS of all replicas of a service."""
    return sum(pss_mb(one.pid) for one in run.replicas(service) if one.pid is not None)


async def figures(run: RunInfo, service: str, prefix: str) -> Mapping[str, int]:
    """The samples of a service's metrics whose line begins so, by name and labels."""
    found = dict[str, int]()
    for replica in run.replicas(service):
        for name, value in (await samples(f"{replica.health_url}/metrics", prefix)).items():
            found[name] = found.get(name, 0) + round(value)
    return found
