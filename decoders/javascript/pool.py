"""Spreads calls of vendors' scripts over worker processes (docs/decoders-javascript.md, "Workers")."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import msgspec
import structlog

from decoders.javascript.calls import Answer, Call, Limits, Script
from decoders.javascript.overruns import MOST, Overruns
from decoders.javascript.process import WorkerDied, WorkerProcess
from decoders.javascript.wire import Batch

__all__ = ["Answer", "Call", "CodecPool", "Limits", "PoolUnavailable", "Script"]

BATCH = 64
LOOK_EVERY_S = 0.1
# A worker that grew beyond this is replaced, before the limit of its address space makes neighbours fail.
RESIDENT_MOST = 256 * 1024 * 1024
DEATHS_MOST = 3
RESTART_AFTER_S = (0.0, 0.1, 0.5, 2.0)
STOPPED = f"Version du codec mise en quarantaine : {MOST} dépassements de temps en dix minutes"

log = structlog.get_logger()


class PoolUnavailable(Exception):
    """No worker process comes up: this machine's fault, not a script's. Nothing was answered."""


@dataclass(slots=True)
class _Job:
    """A part of the calls of one `call`, all for one worker; `answers` is shared by the parts."""

    calls: Sequence[Call]
    places: list[int]
    answers: list[Answer | None]
    deaths: int = 0  # Of a worker that had none of its calls in hand.
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class CodecPool:
    """Worker processes, each with the contexts of its scripts.

    `overran` is called with the key of a script that took too long five times in ten minutes; from then on its
    calls fail until ten minutes after the first of these, or until `release`.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        limits: Limits | None = None,
        overran: Callable[[str], None] | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._overran = overran
        self._overruns = Overruns()
        count = workers or os.cpu_count() or 1
        self._queues: list[asyncio.Queue[_Job]] = [asyncio.Queue() for _ in range(count)]
        self._workers: list[WorkerProcess | None] = [None] * count
        self._tasks: list[asyncio.Task[None]] = []
        self.restarts = 0

    async def start(self) -> None:
        """Start every worker.

        Raises:
            PoolUnavailable: one does not come up.
        """
        for number in range(len(self._workers)):
            worker = await self._started(number)
            log.info("codec_worker_started", worker=number, pid=worker.pid, sandbox=worker.reached)
        self._tasks = [
            asyncio.create_task(self._serve(number), name=f"codec-worker-{number}")
            for number in range(len(self._workers))
        ]
        self._tasks.append(asyncio.create_task(self._watch(), name="codec-watch"))

    async def close(self) -> None:
        """End every worker; calls under way are cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for queue in self._queues:
            while not queue.empty():
                queue.get_nowait().done.cancel()
        for number, worker in enumerate(self._workers):
            if worker is not None:
                await worker.end()
                self._workers[number] = None

    @property
    def pids(self) -> list[int]:
        """The worker processes that run."""
        return [worker.pid for worker in self._workers if worker is not None]

    async def call(self, calls: Sequence[Call]) -> list[Answer]:
        """The answers, in order; a script's fault is an answer with `failure`.

        Raises:
            PoolUnavailable: no worker comes up.
        """
        answers: list[Answer | None] = [None] * len(calls)
        of_worker: dict[int, list[int]] = {}
        for place, call in enumerate(calls):
            of_worker.setdefault(crc32(call.script.key.encode()) % len(self._queues), []).append(place)
        jobs: list[_Job] = []
        for number, places in of_worker.items():
            for start in range(0, len(places), BATCH):
                job = _Job(calls, places[start : start + BATCH], answers)
                self._queues[number].put_nowait(job)
                jobs.append(job)
        try:
            await asyncio.gather(*(job.done for job in jobs))
        finally:
            for job in jobs:
                job.done.cancel()
        return [answer for answer in answers if answer is not None]

    def release(self, key: str) -> None:
        """Call this script again: somebody looked at it."""
        self._overruns.release(key)

    async def _serve(self, number: int) -> None:
        """Take the parts for one worker in turn; one whose time is up goes behind those that wait."""
        queue = self._queues[number]
        while True:
            job = await queue.get()
            try:
                if not job.done.done():
                    await self._advance(number, job)
            except asyncio.CancelledError:
                job.done.cancel()
                raise
            except Exception as failed:  # noqa: BLE001 - Of this job: an input that is no JSON, no worker.
                await self._replace(number)  # What it holds is not sure any more.
                if not job.done.done():
                    job.done.set_exception(failed)
            if job.done.done():
                continue  # Nobody waits for it any more.
            if job.places:
                queue.put_nowait(job)
            else:
                job.done.set_result(None)

    async def _advance(self, number: int, job: _Job) -> None:
        """Ask the worker once; places that were answered leave the job."""
        now = asyncio.get_running_loop().time()
        for place in job.places:
            if self._overruns.is_stopped(job.calls[place].script.key, now):
                job.answers[place] = Answer(failure="timeout", reason=STOPPED)
        job.places = [place for place in job.places if job.answers[place] is None]
        if not job.places:
            return
        worker = await self._started(number)
        calls = [job.calls[place] for place in job.places]
        try:
            answered = await worker.ask(_batch(calls, worker.holds))
        except WorkerDied as died:
            await self._bury(number, died)
            if died.place:
                self._fail(job, died)
            elif (deaths := job.deaths + 1) < DEATHS_MOST:
                job.deaths = deaths
            else:
                raise PoolUnavailable("worker processes for vendors' codecs die before their first call") from None
            return
        for place, (octets, cpu_us) in zip(job.places, answered.answers, strict=False):
            answer = job.answers[place] = _answer(octets, cpu_us)
            if answer.failure == "timeout":
                self._record_overrun(job.calls[place].script.key)
        job.places = job.places[len(answered.answers) :]
        worker.holds.difference_update(answered.forgotten)
        if answered.resident > RESIDENT_MOST:
            log.info("codec_worker_recycled", worker=number, resident=answered.resident)
            await self._replace(number)

    def _fail(self, job: _Job, died: WorkerDied) -> None:
        """The call in hand failed; nobody else's did."""
        place = job.places.pop(min(died.place, len(job.places)) - 1)
        what = "il n'a pas rendu la main en une seconde" if died.silent else "le processus s'est arrêté"
        job.answers[place] = Answer(failure="worker", reason=f"Le codec a fait tomber son processus : {what}")
        if died.silent:
            self._record_overrun(job.calls[place].script.key)

    def _record_overrun(self, key: str) -> None:
        if self._overruns.record_overrun(key, asyncio.get_running_loop().time()):
            log.warning("codec_overran", key=key)
            if self._overran is not None:
                self._overran(key)

    async def _bury(self, number: int, died: WorkerDied) -> None:
        self.restarts += 1
        log.warning("codec_worker_died", worker=number, silent=died.silent)
        await self._replace(number)

    async def _replace(self, number: int) -> None:
        """End this worker; the next job starts another."""
        worker, self._workers[number] = self._workers[number], None
        if worker is not None:
            await worker.end()

    async def _started(self, number: int) -> WorkerProcess:
        worker = self._workers[number]
        for pause in RESTART_AFTER_S:
            if worker is not None:
                return worker
            await asyncio.sleep(pause)
            try:
                worker = self._workers[number] = await WorkerProcess.start(self._limits)
            except (WorkerDied, OSError) as failed:
                log.warning("codec_worker_not_started", worker=number, error=str(failed))
        if worker is None:
            raise PoolUnavailable("no worker process for vendors' codecs comes up")
        return worker

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for worker in self._workers:
                if worker is not None:
                    worker.look(loop.time())


def _batch(calls: Sequence[Call], holds: set[str]) -> Batch:
    """These calls, with the scripts that the worker does not hold; from now on it does."""
    scripts: list[Script] = []
    for call in calls:
        if call.script.key not in holds:
            holds.add(call.script.key)
            scripts.append(call.script)
    encode = msgspec.json.encode
    return Batch(scripts, [(call.script.key, call.operation, encode(call.input).decode()) for call in calls])


def _answer(octets: str, cpu_us: int) -> Answer:
    try:
        answer = msgspec.json.decode(octets, type=Answer)
    except (msgspec.DecodeError, UnicodeError):
        return Answer(failure="output", reason="Résultat refusé : il est illisible", cpu_us=cpu_us)
    answer.cpu_us = cpu_us
    return answer
