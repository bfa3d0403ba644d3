"""Spreads calls of vendors' scripts over worker processes (docs/decoders-javascript.md, "Workers")."""

import asyncio
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import msgspec
import structlog

from decoders.javascript.calls import Answer, Call, Limits, Script
from decoders.javascript.overruns import MOST, Overruns
from decoders.javascript.process import WorkerDied, WorkerProcess
from decoders.javascript.wire import Answered, Batch

__all__ = ["Answer", "Call", "CodecPool", "Limits", "PoolUnavailable", "Script"]

BATCH = 64
LOOK_EVERY_S = 0.1
# After so long at one call, while others wait, the standby goes on with theirs: a call has 100 ms of CPU.
HAND_OVER_S = 0.12
POLL_S = 0.02
# A worker that grew beyond this is replaced, before the limit of its address space makes neighbours fail.
RESIDENT_MOST = 256 * 1024 * 1024
DEATHS_MOST = 3
RESTART_AFTER_S = (0.0, 0.1, 0.5, 2.0)
# What of a script is counted: it takes more than it may have, whether it ends by itself or not.
OVERRUNS = ("timeout", "memory")
STOPPED = f"Version du codec mise en quarantaine : {MOST} dépassements de temps ou de mémoire en dix minutes"

log = structlog.get_logger()


class PoolUnavailable(Exception):
    """No worker process comes up: this machine's fault, not a script's. Nothing was answered."""


@dataclass(slots=True)
class _Job:
    """The calls that one `call` has for one worker of one tenant's scripts; `answers` is shared by the parts."""

    tenant: str
    calls: Sequence[Call]
    places: list[int]
    answers: list[Answer | None]
    deaths: int = 0  # Of a worker that had none of its calls in hand.
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Lane:
    """A worker and the jobs that wait for it. Tenants take turns; of one tenant only one job is in hand."""

    def __init__(self) -> None:
        self.worker: WorkerProcess | None = None
        self.away: WorkerProcess | None = None  # Still at a call that took too long; its tenant's job is in hand.
        self.back: WorkerProcess | None = None  # It was away, and takes its place again before the next job.
        self.in_hand: _Job | None = None
        self.free = asyncio.Event()  # That job has ended, or goes on with the worker that is away.
        self._waiting: OrderedDict[str, deque[_Job]] = OrderedDict()
        self._busy: set[str] = set()  # Tenants of jobs that have not ended.
        self._changed = asyncio.Event()

    def put(self, job: _Job) -> None:
        """Behind the other jobs of its tenant."""
        self._waiting.setdefault(job.tenant, deque()).append(job)
        self._changed.set()

    async def next_job(self) -> _Job:
        """The next tenant's first job; until `release`, its others wait."""
        while True:
            self._changed.clear()
            tenant = next((tenant for tenant in self._waiting if tenant not in self._busy), None)
            if tenant is not None:
                jobs = self._waiting.pop(tenant)
                job = jobs.popleft()
                if jobs:
                    self._waiting[tenant] = jobs
                self._busy.add(tenant)
                return job
            await self._changed.wait()

    def release(self, job: _Job) -> None:
        """The job is no longer in hand; its tenant takes its turn behind those that wait."""
        self._busy.discard(job.tenant)
        if job.tenant in self._waiting:
            self._waiting.move_to_end(job.tenant)
        self._changed.set()

    def has_others(self) -> bool:
        """Whether a tenant waits of which no job is in hand."""
        return any(tenant not in self._busy for tenant in self._waiting)

    def cancel(self) -> None:
        """Nobody answers what waits here any more."""
        for jobs in self._waiting.values():
            for job in jobs:
                job.done.cancel()
        self._waiting.clear()


class CodecPool:
    """Worker processes, each with the contexts of its scripts, and one that stands by.

    A call that takes too long holds up its own tenant only: the standby goes on with the others' calls until the
    worker is free, or was killed and replaced. `overran` is called once with the key of a script that took too
    long, or too much memory, five times in ten minutes; from then on its calls fail until ten minutes after the
    first of these, or until `release`.
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
        self._lanes = [_Lane() for _ in range(workers or os.cpu_count() or 1)]
        self._standby: WorkerProcess | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()
        self.restarts = 0

    async def start(self) -> None:
        """Start every worker.

        Raises:
            PoolUnavailable: one does not come up.
        """
        for number, lane in enumerate(self._lanes):
            worker = await self._started(lane)
            log.info("codec_worker_started", worker=number, pid=worker.pid, sandbox=worker.reached)
        self._tasks = [
            asyncio.create_task(self._serve(lane), name=f"codec-worker-{number}")
            for number, lane in enumerate(self._lanes)
        ]
        self._tasks.append(asyncio.create_task(self._watch(), name="codec-watch"))
        self._run(self._stand_by())

    async def close(self) -> None:
        """End every worker; calls under way are cancelled."""
        tasks = [*self._tasks, *self._running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = []
        for lane in self._lanes:
            lane.cancel()
            for worker in (lane.worker, lane.away, lane.back):
                if worker is not None:
                    await worker.end()
            lane.worker = lane.away = lane.back = None
        if self._standby is not None:
            await self._standby.end()
            self._standby = None

    @property
    def pids(self) -> list[int]:
        """The worker processes that run, without the one that stands by."""
        return [lane.worker.pid for lane in self._lanes if lane.worker is not None]

    async def call(self, calls: Sequence[Call]) -> list[Answer]:
        """The answers, in order; a script's fault is an answer with `failure`.

        Raises:
            PoolUnavailable: no worker comes up.
        """
        answers: list[Answer | None] = [None] * len(calls)
        shares: dict[tuple[int, str], list[int]] = {}
        for place, call in enumerate(calls):
            key = call.script.key
            lane = crc32(key.encode()) % len(self._lanes)
            shares.setdefault((lane, key.partition("/")[0]), []).append(place)
        jobs: list[_Job] = []
        for (lane, tenant), places in shares.items():
            for start in range(0, len(places), BATCH):
                job = _Job(tenant, calls, places[start : start + BATCH], answers)
                self._lanes[lane].put(job)
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

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _serve(self, lane: _Lane) -> None:
        """Take the jobs of a lane in turn; the standby goes on where one takes too long and others wait."""
        while True:
            job = await lane.next_job()
            if lane.back is not None:
                self._standby, lane.worker, lane.back = lane.worker, lane.back, None
                if self._standby is None:
                    self._run(self._stand_by())
            lane.in_hand = job
            lane.free.clear()
            self._run(self._answer(lane, job))
            while not lane.free.is_set():
                try:
                    async with asyncio.timeout(POLL_S):
                        await lane.free.wait()
                except TimeoutError:
                    self._hand_over_if_stuck(lane)

    async def _answer(self, lane: _Lane, job: _Job) -> None:
        """Advance a job; one whose time is up goes behind those that wait."""
        try:
            if not job.done.done():
                await self._advance(lane, job)
        except asyncio.CancelledError:
            job.done.cancel()
            raise
        except Exception as failed:  # noqa: BLE001 - Of this job: an input that is no JSON, no worker.
            if not job.done.done():
                job.done.set_exception(failed)
        finally:
            lane.release(job)
            if lane.in_hand is job:
                lane.in_hand = None
                lane.free.set()
        if job.done.done():
            return  # Nobody waits for it any more.
        if job.places:
            lane.put(job)
        else:
            job.done.set_result(None)

    def _hand_over_if_stuck(self, lane: _Lane) -> None:
        """Give the lane to the standby when its worker is at one call for long, and others wait."""
        worker, now = lane.worker, asyncio.get_running_loop().time()
        if worker is None or not self._may_hand_over(lane) or not lane.has_others():
            return
        worker.look(now)
        if worker.asked_for(now) > HAND_OVER_S and worker.in_hand_for(now) > HAND_OVER_S / 2:
            self._hand_over(lane)

    def _may_hand_over(self, lane: _Lane) -> bool:
        return lane.away is None and (lane.back or self._standby) is not None

    def _hand_over(self, lane: _Lane) -> None:
        lane.away = lane.worker
        if lane.back is not None:
            lane.worker, lane.back = lane.back, None
        else:
            lane.worker, self._standby = self._standby, None
        lane.in_hand = None
        lane.free.set()

    async def _advance(self, lane: _Lane, job: _Job) -> None:
        """Ask the worker once; places that were answered leave the job."""
        self._reject_stopped(job)
        if not job.places:
            return
        worker = await self._started(lane)
        calls = [job.calls[place] for place in job.places]
        try:
            answered = await worker.ask(_batch(calls, worker.holds))
        except WorkerDied as died:
            await self._bury(lane, worker, died)
            if died.place:
                self._fail(job, died)
            elif (deaths := job.deaths + 1) < DEATHS_MOST:
                job.deaths = deaths
            else:
                raise PoolUnavailable("worker processes for vendors' codecs die before their first call") from None
            return
        except Exception:
            await self._replace(lane, worker)  # What it holds is not sure any more.
            raise
        self._record(job, answered)
        worker.holds.difference_update(answered.forgotten)
        if answered.resident > RESIDENT_MOST:
            log.info("codec_worker_recycled", pid=worker.pid, resident=answered.resident)
            await self._replace(lane, worker)
        elif lane.away is worker:
            lane.away, lane.back = None, worker

    def _reject_stopped(self, job: _Job) -> None:
        now = asyncio.get_running_loop().time()
        for place in job.places:
            if self._overruns.is_stopped(job.calls[place].script.key, now):
                job.answers[place] = Answer(failure="timeout", reason=STOPPED)
        job.places = [place for place in job.places if job.answers[place] is None]

    def _record(self, job: _Job, answered: Answered) -> None:
        for place, (octets, cpu_us) in zip(job.places, answered.answers, strict=False):
            answer = job.answers[place] = _answer(octets, cpu_us)
            if answer.failure in OVERRUNS:
                self._record_overrun(job.calls[place].script.key)
        job.places = job.places[len(answered.answers) :]

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

    async def _bury(self, lane: _Lane, worker: WorkerProcess, died: WorkerDied) -> None:
        """A script that ended its worker waits until there is a standby again; the others do not."""
        self.restarts += 1
        log.warning("codec_worker_died", pid=worker.pid, silent=died.silent)
        if died.place and self._may_hand_over(lane):
            self._hand_over(lane)
        await self._replace(lane, worker)

    async def _replace(self, lane: _Lane, worker: WorkerProcess) -> None:
        """End this worker; another takes its place, in the lane before the next job or as the standby now."""
        await worker.end()
        if lane.away is worker:
            await self._stand_by()
            lane.away = None
        elif lane.worker is worker:
            lane.worker = None

    async def _stand_by(self) -> None:
        """A worker for whatever happens; without one, a call that takes long holds up its lane."""
        try:
            self._standby = await WorkerProcess.start(self._limits)
        except (WorkerDied, OSError) as failed:
            log.warning("codec_standby_not_started", error=str(failed))

    async def _started(self, lane: _Lane) -> WorkerProcess:
        for pause in RESTART_AFTER_S:
            if lane.worker is not None:
                return lane.worker
            await asyncio.sleep(pause)
            try:
                lane.worker = await WorkerProcess.start(self._limits)
            except (WorkerDied, OSError) as failed:
                log.warning("codec_worker_not_started", error=str(failed))
        if lane.worker is None:
            raise PoolUnavailable("no worker process for vendors' codecs comes up")
        return lane.worker

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for lane in self._lanes:
                for worker in (lane.worker, lane.away):
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
