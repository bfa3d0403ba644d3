"""Hands rounds to the process that solves them: one at a time, at a low priority, for a while."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from indicators.waste.rounds.model import Routes
from indicators.waste.rounds.planning import Problem

ROOT = str(Path(__file__).resolve().parents[3])
MODULE = "indicators.waste.rounds.solving"
# 250 bins take ten seconds of a processor that others use, too.
WITHIN_S = 300.0
# Who would wait behind more than this many is asked to come again.
WAITING_MOST = 3
NICE = 5

log = structlog.get_logger()


class SolverBusy(Exception):
    """Others wait already."""


class SolverFailed(Exception):
    """It gave no answer, or not in time."""


@dataclass(frozen=True, slots=True)
class Solved:
    """Orders by problem, None where there is none that holds, and what found them."""

    routes: tuple[Routes | None, ...]
    solver: str


class Solver:
    """One process at a time, of a priority below everything that must not wait for it."""

    def __init__(self, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def solve(self, problems: Sequence[Problem], seed: int, iterations: int) -> Solved:
        """The best routes that so many iterations find from this seed on.

        Raises:
            SolverBusy: others wait already.
            SolverFailed: it ended without an answer.
        """
        if self._waiting >= WAITING_MOST:
            raise SolverBusy
        asked = {"problems": [asdict(one) for one in problems], "seed": seed, "iterations": iterations}
        self._waiting += 1
        try:
            async with self._turn:
                answer = json.loads(await self._ask(json.dumps(asked).encode()))
        finally:
            self._waiting -= 1
        return Solved(tuple(answer["routes"]), answer["solver"])

    async def _ask(self, text: bytes) -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            MODULE,
            env={"PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        try:
            async with asyncio.timeout(self._within_s):
                answer, errors = await process.communicate(text)
        except TimeoutError:
            raise SolverFailed(f"no answer within {self._within_s:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            log.error("round_not_solved", status=process.returncode, error=errors.decode(errors="replace")[-2000:])
            raise SolverFailed(f"it ended with {process.returncode}")
        return answer
