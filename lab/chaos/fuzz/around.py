"""Hostile messages of every kind: for readers in processes of their own, then at the ports of the stack."""

import asyncio
import multiprocessing
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager

from lab.chaos.case import Around
from lab.chaos.checks import LogWatch
from lab.chaos.fuzz.live import LiveFindings
from lab.chaos.fuzz.lns import play_lns
from lab.chaos.fuzz.radio import play_radio
from lab.chaos.fuzz.station import play_station
from lab.chaos.fuzz.udp import play_udp
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.fuzz.target import Findings, play
from lab.fuzz.targets import TARGETS

CASES = 20_000
WORKERS = 2
LIVE: Sequence[Callable[[Scene, int, str], Awaitable[LiveFindings]]] = (
    play_udp,
    play_station,
    play_lns,
    play_radio,
)


def fuzzing(cases: int = CASES, seed: str = "") -> Around:
    """So many cases of each kind, from this seed or a new one, which is noted; then the load is played."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        chosen = seed or secrets.token_hex(4)
        scene.notes.append(f"graine {chosen}")
        logs = LogWatch()
        logs.begin(scene.processes.run)
        found: list[Findings | LiveFindings] = list(await _play_pure(cases, chosen))
        found += [await play_one(scene, cases, chosen) for play_one in LIVE]
        yield
        scene.notes += [one.line for one in found]
        tracebacks = logs.tracebacks(scene.processes.run, ())
        wrong = [f"{one.name} : {_why(one)}" for one in found if not one.holds]
        wrong += [f"trace d'erreur de {name} : {' | '.join(ends)}" for name, ends in tracebacks.items()]
        if wrong:
            raise CaseFailed("; ".join(wrong))

    return around


async def _play_pure(cases: int, seed: str) -> list[Findings]:
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as workers:
        playing = [loop.run_in_executor(workers, play_named, name, cases, seed) for name in TARGETS]
        return await asyncio.gather(*playing)


def play_named(name: str, cases: int, seed: str) -> Findings:
    """`play` of the target of this name, in a process of its own."""
    return play(TARGETS[name], cases, seed)


def _why(found: Findings | LiveFindings) -> str:
    defects = [f"cas {one.case} : {one.what.strip().splitlines()[-1]} {one.shown}" for one in found.defects[:3]]
    return " / ".join(defects) or found.line
