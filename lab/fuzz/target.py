"""What is fuzzed without a process around it: cases from a seed, what becomes of each, and a good one after it."""

import gc
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

NOW_US = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
ANSWERED_WITHIN_S = 0.1
GOOD_EVERY = 10
# Caches, tables of interned names and the like have filled by then; from there on nothing may stay behind.
WARM_SHARE = 0.3
KEPT_BLOCKS_A_CASE = 0.05
KEPT_BLOCKS = 3_000
LONGEST_SHOWN = 300
MOST_DEFECTS = 20


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of input. `take` returns what became of a case, and raises nothing that its readers may raise.

    `good` raises when a good message is not read as it should be.
    """

    name: str
    title: str
    make: Callable[[random.Random], Any]
    take: Callable[[Any], str]
    good: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Defect:
    """A case that did what it must not; `--case` plays it alone."""

    case: int
    what: str
    shown: str


@dataclass(slots=True)
class Findings:
    """What so many cases of one kind have shown."""

    name: str
    title: str
    cases: int = 0
    became: Counter[str] = field(default_factory=Counter[str])
    good: int = 0
    slowest_good_s: float = 0.0
    kept: str = ""
    """How much memory stayed behind, in words."""
    defects: list[Defect] = field(default_factory=list[Defect])
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong, every case is counted, and a good message was always answered in time."""
        is_in_time = self.slowest_good_s <= ANSWERED_WITHIN_S and self.good > 0
        return not self.defects and is_in_time and self.became.total() == self.cases

    def report(self, case: int, what: str, shown: object) -> None:
        """Keep a defect; of very many the first ones."""
        if len(self.defects) < MOST_DEFECTS:
            self.defects.append(Defect(case, what, repr(shown)[:LONGEST_SHOWN]))

    @property
    def line(self) -> str:
        """For people."""
        became = ", ".join(f"{what} {count}" for what, count in sorted(self.became.items()))
        return (
            f"{self.title} : {self.cases} cas ({became}), bon en {1_000 * self.slowest_good_s:.1f} ms, {self.kept}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "name": self.name,
            "cases": self.cases,
            "became": dict(self.became),
            "good": self.good,
            "slowest_good_ms": round(self.slowest_good_s * 1_000, 1),
            "kept": self.kept,
            "defects": [{"case": one.case, "what": one.what, "shown": one.shown} for one in self.defects],
            "holds": self.holds,
            "seconds": round(self.seconds, 1),
        }


def source_of(seed: str, target: str, case: int) -> random.Random:
    """Every case has a source of its own, so that it can be played alone."""
    return random.Random(f"{seed} {target} {case}")


def play(target: Target, cases: int, seed: str, first: int = 0) -> Findings:
    """Play these cases; how long one takes is its own CPU time and that of the good message behind it."""
    findings, began = Findings(target.name, target.title), time.monotonic()
    warm_from, blocks = first + max(1, round(cases * WARM_SHARE)), 0
    for case in range(first, first + cases):
        if case == warm_from:
            blocks = _blocks()
        _play_one(target, case, seed, findings, with_good=case % GOOD_EVERY == 0)
    if cases > GOOD_EVERY:
        _judge_memory(findings, _blocks() - blocks, first + cases - warm_from)
    findings.seconds = time.monotonic() - began
    return findings


def _play_one(target: Target, case: int, seed: str, findings: Findings, *, with_good: bool) -> None:
    made = target.make(source_of(seed, target.name, case))
    findings.cases += 1
    before = time.thread_time()
    try:
        findings.became[target.take(made)] += 1
    except Exception as defect:  # noqa: BLE001 - This is what is looked for.
        findings.became["defect"] += 1
        findings.report(case, "".join(traceback.format_exception(defect)[-3:]), made)
    if with_good:
        try:
            target.good()
        except Exception as defect:  # noqa: BLE001 - As above.
            findings.report(case, f"good message afterwards: {defect!r}", made)
        findings.good += 1
    took = time.thread_time() - before
    if with_good:
        findings.slowest_good_s = max(findings.slowest_good_s, took)
    if took > ANSWERED_WITHIN_S:
        findings.report(case, f"{took * 1_000:.0f} ms of CPU: what comes next waits for it", made)


def _blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def _judge_memory(findings: Findings, kept: int, cases: int) -> None:
    findings.kept = f"{kept} blocs après {cases} cas"
    if kept > KEPT_BLOCKS + KEPT_BLOCKS_A_CASE * cases:
        findings.report(findings.cases - 1, f"memory: {kept} blocks stay behind after {cases} cases", "")
