"""A batch asks the workers once about all its uplinks of vendors' codecs; what keeps timing out is suspended.

A script that takes its time holds up nobody: its uplinks become a batch of their own when it has answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from core.messages.uplinks import Uplink
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY
from decoders.javascript.pool import STOPPED, Answer, Call, PoolUnavailable
from ingest.batch import UplinkMessage
from ingest.pipeline import KnownDevice, Read, problem_of, says_something
from ingest.telemetry import SCRIPTS_FAILED
from ingest.vendor_codecs import VendorCodec, version_of
from registry.changes import Change

# A codec has so long for what a batch asks of it; then its frames are stored undecoded, to be decoded again.
ANSWERS_WITHIN_S = 10.0
TRY_AGAIN_S = 1.0

log = structlog.get_logger()


class Workers(Protocol):
    """Who runs scripts: `decoders.javascript.pool.CodecPool`."""

    async def call(self, calls: Sequence[Call]) -> list[Answer]:
        """Answers in the order of the calls; raises PoolUnavailable for no script's fault."""
        ...

    def release(self, key: str) -> None:
        """Call this script again, which had timed out too often."""
        ...


Reads = dict[bytes, Read]


class Asked(NamedTuple):
    """An uplink, the script that reads it, and what that is asked."""

    uplink: Uplink
    vendor: VendorCodec
    call: Call


class Later(NamedTuple):
    """Uplinks, by their ids, whose script is still at it."""

    uplinks: frozenset[bytes]
    answering: asyncio.Task[Reads]


@dataclass(slots=True)
class Answers:
    """What scripts say of a batch, without those uplinks that must wait, and what they will say."""

    reads: Reads = field(default_factory=dict[bytes, Read])
    later: list[Later] = field(default_factory=list[Later])


class Scripts:
    """The vendors' codecs of a replica.

    `overruns` are keys of scripts that the workers no longer call, because they timed out too often;
    `suspend_version` suspends their versions for everybody.
    """

    def __init__(
        self,
        workers: Workers,
        overruns: "asyncio.Queue[str]",
        suspend_version: Callable[[int], Awaitable[None]],
    ) -> None:
        self._workers = workers
        self._overruns = overruns
        self._suspend_version = suspend_version
        self._stopped: set[str] = set()
        self._late: dict[str, asyncio.Task[Reads]] = {}

    async def suspend(self) -> None:
        """Suspend the versions that overran, until cancelled; a database that is away is tried again."""
        while True:
            key = await self._overruns.get()
            self._stopped.add(key)
            while True:
                try:
                    await self._suspend_version(version_of(key))
                    break
                except DATABASE_AWAY as away:
                    log.warning("codec_not_suspended", key=key, error=describe(away))
                    await asyncio.sleep(TRY_AGAIN_S)

    def apply(self, changes: Iterable[Change]) -> None:
        """A version was suspended or released: from now on the registry says whether it may run."""
        for change in changes:
            if change.entity == "codec_version":
                for key in [key for key in self._stopped if version_of(key) == change.entity_id]:
                    self._stopped.discard(key)
                    self._workers.release(key)

    async def read_all(
        self,
        messages: Sequence[UplinkMessage],
        devices: Mapping[int, KnownDevice],
        patience_s: float | None = None,
    ) -> Answers:
        """What the scripts say of these uplinks; a script that takes longer than `patience_s` answers later.

        One that has not answered an earlier batch is not waited for at all.
        """
        asked: dict[str, list[Asked]] = {}
        for message in messages:
            for uplink in message.uplinks:
                device = devices.get(uplink.device_id)
                if device is None or device.vendor is None:
                    continue
                if not uplink.late and says_something(uplink) and problem_of(uplink) is None:
                    one = Asked(uplink, device.vendor, call_of(uplink, device, device.vendor))
                    asked.setdefault(device.vendor.script.key, []).append(one)
        tasks = {key: asyncio.create_task(self._read(of_script)) for key, of_script in asked.items()}
        prompt = [task for key, task in tasks.items() if patience_s is None or not self._is_late(key)]
        if prompt:
            await asyncio.wait(prompt, timeout=patience_s)
        answers = Answers()
        for key, task in tasks.items():
            if task.done():
                answers.reads.update(task.result())
            else:
                self._late[key] = task
                answers.later.append(Later(frozenset(one.uplink.uplink_id for one in asked[key]), task))
        return answers

    def _is_late(self, key: str) -> bool:
        """Whether the script is still at what it was asked before."""
        task = self._late.get(key)
        return task is not None and not task.done()

    async def _read(self, asked: Sequence[Asked]) -> Reads:
        """What one script says, without those uplinks that must wait."""
        answers = await self._ask_script([one.call for one in asked])
        return {
            one.uplink.uplink_id: partial(one.vendor.read, answer, one.uplink.time_us)
            for one, answer in zip(asked, answers, strict=True)
            if answer is not None
        }

    async def ask(self, calls: Sequence[Call]) -> list[Answer | None]:
        """An answer for each call; None for what must wait: no workers, too slow, or stopped for its overruns."""
        of_script: dict[str, list[int]] = {}
        for place, call in enumerate(calls):
            of_script.setdefault(call.script.key, []).append(place)
        asking = (self._ask_script([calls[place] for place in places]) for places in of_script.values())
        answers: list[Answer | None] = [None] * len(calls)
        for places, answered in zip(of_script.values(), await asyncio.gather(*asking), strict=True):
            for place, answer in zip(places, answered, strict=True):
                answers[place] = answer
        return answers

    async def _ask_script(self, calls: Sequence[Call]) -> list[Answer | None]:
        """As `ask`, of calls of one script. It raises nothing: whatever fails, these frames wait."""
        key, none = calls[0].script.key, [None] * len(calls)
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                answered = await self._workers.call(calls)
        except TimeoutError:
            log.warning("codec_too_slow", key=key, calls=len(calls))
            return [*none]
        except PoolUnavailable as away:
            log.warning("codec_workers_away", calls=len(calls), error=str(away))
            return [*none]
        except Exception:
            log.exception("codec_workers_failed", calls=len(calls))
            return [*none]
        for answer in answered:
            if answer.failure is not None:
                SCRIPTS_FAILED.labels(answer.failure).inc()
        return [None if answer.reason == STOPPED else answer for answer in answered]


def call_of(uplink: Uplink, device: KnownDevice, vendor: VendorCodec) -> Call:
    """What a script is asked about this uplink."""
    return vendor.call(
        uplink.f_port, uplink.payload, uplink.time_us, device.codec_options, device.dev_eui, device.name
    )
