"""The same at the ports of a running stack: every message is counted, and a good one behind them answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from lab.chaos.stack.metrics import samples
from lab.chaos.witnesses.latency import SHARE, percentile
from lab.fuzz.target import ANSWERED_WITHIN_S, LONGEST_SHOWN, MOST_DEFECTS, WARM_SHARE, Defect
from lab.simulator.stack_memory import pss_mb
from services.supervisor.run_info import RunInfo

BURST = 20
# A registered gateway may send so many at once, and two thousand a second.
PAUSE_S = 0.02
GIVE_UP_S = 10.0
# Private pages of a process that handles a load swing by so much.
KEPT_MB = 12.0


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
    answered_within_s: float = ANSWERED_WITHIN_S
    defects: list[Defect] = field(default_factory=list[Defect])

    @property
    def holds(self) -> bool:
        """Whether all are counted and the good ones answered in time, where the machine has the time."""
        in_time = percentile(self.answers_s) <= max(self.answered_within_s, percentile(self.alone_s))
        return not self.defects and in_time and self.counted == self.to_count and self.kept_mb <= KEPT_MB

    def report(self, what: str, shown: object = "") -> None:
        """Keep a defect; of very many the first ones."""
        if len(self.defects) < MOST_DEFECTS:
            self.defects.append(Defect(self.cases, what, repr(shown)[:LONGEST_SHOWN]))

    @property
    def line(self) -> str:
        """For people."""
        median, late, slowest = (round(1_000 * percentile(self.answers_s, share), 1) for share in (0.5, SHARE, 1))
        return (
            f"{self.title} : {self.cases} cas, {self.counted} comptés sur {self.to_count}, "
            f"{len(self.answers_s)} bons en {median} ms (99 % {late}, {slowest} au pire ; "
            f"seuls 99 % {round(1_000 * percentile(self.alone_s), 1)}), {self.kept_mb:.1f} Mo de plus"
        )


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
    counted = await port.count()
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
