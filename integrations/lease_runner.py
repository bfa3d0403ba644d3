"""Runs each item (a source, an application) at the one replica that holds its lease: connection and loops."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
from prometheus_client import Gauge

from core.runtime.errors import describe
from core.runtime.lease import Lease, LeaseLost, keep_lease, release_lease, take_lease
from core.runtime.mqtt import MqttSession
from core.runtime.postgres import DATABASE_AWAY, Pool

LOOK_EVERY_S = 2.0
ONLY_SHARD = 0

ItemT = TypeVar("ItemT")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LeasedWork:
    """What runs for an item while its lease is held: loops by name, and the connection that one of them keeps."""

    loops: Mapping[str, Callable[[], Coroutine[Any, Any, None]]]
    edge: MqttSession | None
    nudge: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class _Running(Generic[ItemT]):
    item: ItemT
    work: LeasedWork
    task: asyncio.Task[None]


class LeaseRunner(ABC, Generic[ItemT]):
    """Takes the items that no other replica holds, and stops those that are no longer wanted or were changed.

    A lease is named by service, kind and id; `changed` is set when `wanted` may return something else.
    """

    def __init__(
        self, pool: Pool, service: str, instance: str, kind: str, changed: asyncio.Event, connected: Gauge
    ) -> None:
        self._pool = pool
        self._service = service
        self._instance = instance
        self._kind = kind
        self._changed = changed
        self._connected = connected
        self._running: dict[int, _Running[ItemT]] = {}

    @abstractmethod
    def wanted(self) -> Mapping[int, ItemT]:
        """The items that one replica each has to hold, by id."""

    @abstractmethod
    def open_work(self, item: ItemT, lease: Lease) -> LeasedWork:
        """The connection and loops of this item; raises ValueError when its settings are unusable."""

    @abstractmethod
    def report_error(self, item: ItemT, french: str) -> None:
        """Save the error beside the item, for the API."""

    def is_same(self, held: ItemT, wanted: ItemT) -> bool:
        """Whether the work that runs for `held` serves `wanted` as well."""
        return held == wanted

    def nudge(self) -> None:
        """Wake the loops that wait for work."""
        for running in self._running.values():
            if running.work.nudge is not None:
                running.work.nudge()

    async def run(self) -> None:
        """Take and hold items until cancelled."""
        try:
            while True:
                self._changed.clear()
                try:
                    await self._look()
                except DATABASE_AWAY as away:
                    log.warning("leases_not_taken", kind=self._kind, error=describe(away))
                edges = [running.work.edge for running in self._running.values()]
                self._connected.set(sum(edge is not None and edge.is_connected for edge in edges))
                try:
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            await self._stop(list(self._running))

    async def _look(self) -> None:
        wanted = self.wanted()
        await self._stop(
            [
                id_
                for id_, running in self._running.items()
                if running.task.done() or id_ not in wanted or not self.is_same(running.item, wanted[id_])
            ]
        )
        for running in self._running.values():
            edge = running.work.edge
            if edge is not None and not edge.is_connected and edge.generation > 1:
                self.report_error(running.item, f"courtier MQTT injoignable : {edge.problem}")
        for id_ in wanted.keys() - self._running.keys():
            lease = await take_lease(self._pool, f"{self._service}_{self._kind}_{id_}", ONLY_SHARD, self._instance)
            if lease is not None:
                await self._start(id_, wanted[id_], lease)

    async def _start(self, id_: int, item: ItemT, lease: Lease) -> None:
        try:
            work = self.open_work(item, lease)
        except ValueError as wrong:
            self.report_error(item, f"{self._kind} inutilisable : {wrong}")
            await release_lease(self._pool, lease)
            return
        name = f"{self._kind} {id_}"
        self._running[id_] = _Running(item, work, asyncio.create_task(self._serve(name, work, lease), name=name))

    async def _stop(self, ids: Iterable[int]) -> None:
        stopping = [self._running.pop(id_) for id_ in ids]
        for running in stopping:
            running.task.cancel()
        await asyncio.gather(*(running.task for running in stopping), return_exceptions=True)

    async def _serve(self, name: str, work: LeasedWork, lease: Lease) -> None:
        """Run one item's loops until cancelled or until another replica has it; a failure ends this one only."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_lease(self._pool, lease), name=f"keep the lease of {name}")
                for what, loop in work.loops.items():
                    tasks.create_task(loop(), name=f"{what} for {name}")
        except* LeaseLost as lost:
            log.warning("lease_lost", of=name, error=str(lost.exceptions[0]))
        except* Exception:
            log.exception("leased_work_failed", of=name)
        finally:
            await release_lease(self._pool, lease)
