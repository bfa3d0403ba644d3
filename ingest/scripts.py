"""A batch asks the workers once about all its uplinks of vendors' codecs; what keeps timing out is suspended."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

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

# One codec that takes its time may hold up a batch for so long; its frames wait then, and the others' do not.
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
        self, messages: Sequence[UplinkMessage], devices: Mapping[int, KnownDevice]
    ) -> dict[bytes, Read]:
        """What the scripts say of these uplinks, by the uplink's id; nothing of those that must wait."""
        scripted = {id_: device for id_, device in devices.items() if device.vendor is not None}
        if not scripted:
            return {}
        asked: list[tuple[Uplink, VendorCodec]] = []
        calls: list[Call] = []
        for message in messages:
            for uplink in message.uplinks:
                device = scripted.get(uplink.device_id)
                if device is None or uplink.late or not says_something(uplink) or problem_of(uplink) is not None:
                    continue
                assert device.vendor is not None  # noqa: S101 - Chosen above.
                asked.append((uplink, device.vendor))
                calls.append(call_of(uplink, device, device.vendor))
        answers = await self.ask(calls)
        return {
            uplink.uplink_id: partial(vendor.read, answer, uplink.time_us)
            for (uplink, vendor), answer in zip(asked, answers, strict=True)
            if answer is not None
        }

    async def ask(self, calls: Sequence[Call]) -> list[Answer | None]:
        """An answer for each call; None for what must wait: no workers, too slow, or stopped for its overruns."""
        of_script: dict[str, list[int]] = {}
        for place, call in enumerate(calls):
            of_script.setdefault(call.script.key, []).append(place)
        answers: list[Answer | None] = [None] * len(calls)
        asking = {
            asyncio.create_task(self._workers.call([calls[place] for place in places])): places
            for places in of_script.values()
        }
        if not asking:
            return answers
        try:
            _, late = await asyncio.wait(asking, timeout=ANSWERS_WITHIN_S)
        finally:
            for task in asking:
                task.cancel()
        for task, places in asking.items():
            if task in late or task.cancelled():
                log.warning("codec_too_slow", key=calls[places[0]].script.key, calls=len(places))
                continue
            try:
                answered = task.result()
            except PoolUnavailable as away:
                log.warning("codec_workers_away", calls=len(places), error=str(away))
                continue
            except Exception:
                log.exception("codec_workers_failed", calls=len(places))
                continue
            for place, answer in zip(places, answered, strict=True):
                if answer.failure is not None:
                    SCRIPTS_FAILED.labels(answer.failure).inc()
                answers[place] = None if answer.reason == STOPPED else answer
        return answers


def call_of(uplink: Uplink, device: KnownDevice, vendor: VendorCodec) -> Call:
    """What a script is asked about this uplink."""
    return vendor.call(
        uplink.f_port, uplink.payload, uplink.time_us, device.codec_options, device.dev_eui, device.name
    )
