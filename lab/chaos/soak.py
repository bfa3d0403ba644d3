"""A stack that carries ten times the pilot for long: whether anything in it grows, with a report of curves."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from lab.chaos.outcome import Outcome
from lab.chaos.slopes import MOST_SHARE, Slope, Verdict, slope
from lab.chaos.soak_report import write_report
from lab.chaos.soak_samples import Curve, Samples
from lab.fleet.pilot import PILOT_DEVICES

if TYPE_CHECKING:
    from lab.chaos.stage import Stage

TIMES_THE_PILOT = 10.0
# So that in the warm-up every device was seen several times.
DEVICE_EVERY_S = 60.0
# A part of a soak is judged on its own and forgotten: a day's account would not fit into memory.
PART_S = 3_600.0
WARM_UP_SHARE, MOST_WARM_UP_S = 0.3, 1_800.0
MOST_SAMPLES, LOOK_EVERY_S = 720, 10.0
# What may rise in ten minutes beside 1 % of its level: of small numbers one more is many per cent.
ALLOWED = {"memory": 0.0, "descriptors": 1.0, "tasks": 2.0, "connections": 1.0, "backlog": 20.0, "bloat": 1.0}
REPORT = "soak.html"


class SoakLoad(TypedDict):
    """How many devices send, and how many uplinks a second."""

    devices: int
    rate: float


def soak_load(times: float = TIMES_THE_PILOT) -> SoakLoad:
    """So many times the pilot, each device once a minute."""
    devices = round(times * PILOT_DEVICES)
    return {"devices": devices, "rate": round(devices / DEVICE_EVERY_S, 1)}


@dataclass(frozen=True, slots=True)
class Judged:
    """A curve, how it rises, and whether that is allowed."""

    curve: Curve
    slope: Slope
    allowed: float
    verdict: Verdict

    @property
    def line(self) -> str:
        """For people."""
        one = self.slope
        return (
            f"{self.curve.goal} {self.curve.name} : {one.level:.1f} {self.curve.unit}, "
            f"{one.per_period:+.3f} en 10 min "
            f"[{one.low:+.3f} ; {one.high:+.3f}], {self.allowed:.3f} permis : {self.verdict.value}"
        )


def judge(curves: Sequence[Curve], warm_up_s: float) -> list[Judged]:
    """Each curve that has a goal, behind the warm-up."""
    judged = list[Judged]()
    for curve in curves:
        if curve.goal in ALLOWED:
            rises = slope(*curve.after(warm_up_s))
            allowed = max(MOST_SHARE * rises.level, ALLOWED[curve.goal])
            judged.append(Judged(curve, rises, allowed, rises.verdict(allowed)))
    return judged


async def soak(stage: "Stage", seconds: float, folder: Path) -> list[Outcome]:
    """Play the load in parts, look at the stack meanwhile, judge and write the report."""
    from lab.chaos.cases import Case

    samples, outcomes, ends = Samples(), list[Outcome](), time.monotonic() + seconds
    looking = asyncio.create_task(_look(stage, samples, seconds), name="look at the stack")
    try:
        while (left_s := ends - time.monotonic()) > LOOK_EVERY_S:
            part = Case(f"soak-{len(outcomes) + 1}", f"{stage.rate:g} trames/s", min(PART_S, left_s))
            outcomes.append(await stage.play(part, part.seconds))
            stage.forget()
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        # Also of a soak that ended before its time: hours of curves are worth more than none.
        warm_up_s = min(WARM_UP_SHARE * seconds, MOST_WARM_UP_S)
        judged = judge(list(samples.curves.values()), warm_up_s)
        report = folder / REPORT
        write_report(report, samples, judged, warm_up_s, outcomes)
    last = outcomes[-1]
    last.notes.append(f"rapport : {report}")
    last.notes += [one.line for one in judged if one.curve.goal == "memory" or one.verdict is Verdict.MISSED]
    last.differences += [one.line for one in judged if one.verdict is Verdict.MISSED]
    last.differences += [f"{name} : relancé" for name, pids in sorted(samples.pids.items()) if len(pids) > 1]
    return outcomes


async def _look(stage: "Stage", samples: Samples, seconds: float) -> None:
    every_s = max(LOOK_EVERY_S, seconds / MOST_SAMPLES)
    while True:
        due = time.monotonic() + every_s
        await samples.take(stage.processes.run, stage.pool, stage.bus)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
