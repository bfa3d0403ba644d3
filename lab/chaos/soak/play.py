"""A stack that carries ten times the pilot for long: whether anything in it grows, with a report of curves."""

import asyncio
import time
from pathlib import Path

from lab.chaos.case import Case
from lab.chaos.outcome import Outcome
from lab.chaos.soak.goals import FAILED, findings, judge
from lab.chaos.soak.report import write_report
from lab.chaos.soak.samples import Samples
from lab.chaos.stage import Stage, reason_of

# A part of a soak is judged on its own and forgotten: a day's account would not fit into memory.
PART_S = 3_600.0
WARM_UP_SHARE, MOST_WARM_UP_S = 0.3, 1_800.0
# A short soak is looked at more often than a usual one, a day seldom enough for a page.
FEWEST_SAMPLES, MOST_SAMPLES, LOOK_EVERY_S = 30, 720, 10.0
REPORT = "soak.html"


async def soak(stage: Stage, seconds: float, folder: Path) -> list[Outcome]:
    """Play the load in parts, look at the stack meanwhile, judge and write the report."""
    samples, outcomes, ends = Samples(), list[Outcome](), time.monotonic() + seconds
    left_s = seconds
    looking = asyncio.create_task(_look(stage, samples, seconds), name="look at the stack")
    try:
        while not outcomes or left_s > LOOK_EVERY_S:
            part = Case(f"soak-{len(outcomes) + 1}", f"{stage.rate:g} trames/s", min(PART_S, left_s))
            outcomes.append(await stage.play(part, part.seconds))
            stage.forget()
            left_s = ends - time.monotonic()
    finally:
        looking.cancel()
        (ended,) = await asyncio.gather(looking, return_exceptions=True)
        # Also of a soak that ended before its time: hours of curves are worth more than none.
        warm_up_s = min(WARM_UP_SHARE * seconds, MOST_WARM_UP_S)
        judged = judge(list(samples.curves.values()), warm_up_s)
        report = folder / REPORT
        write_report(report, samples, judged, warm_up_s, outcomes)
    last = outcomes[-1]
    last.notes.append(f"rapport : {report}")
    last.notes += [one.line for one in judged if one.curve.goal == "memory" or one.verdict in FAILED]
    last.differences += findings(judged)
    last.differences += [f"{name} : relancé" for name, pids in sorted(samples.pids.items()) if len(pids) > 1]
    if isinstance(ended, Exception):
        last.differences.append(f"les mesures ont cessé avant la fin : {reason_of(ended)}")
    return outcomes


async def _look(stage: Stage, samples: Samples, seconds: float) -> None:
    every_s = min(max(LOOK_EVERY_S, seconds / MOST_SAMPLES), seconds / FEWEST_SAMPLES)
    while True:
        due = time.monotonic() + every_s
        await samples.take_samples(stage.processes.run, stage.pool, stage.bus)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
