"""Who follows the feed from outside, in its three forms: by pages, by server-sent events, by signed webhooks.

Each keeps its cursor with what it has taken, as docs/api.md says, and an account of it: how often each instant of
a datastream came, and what it holds of it now.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Protocol

import httpx
import msgspec

from lab.simulator.pushed import Pushed

PATH, STREAM = "/v1/measurements", "/v1/stream"
READS_EVERY_S = 0.2
# It beats every five seconds.
SILENT_FOR_S = 15.0
LIVE = frozenset({"new", "late"})
LOST_CURSOR = frozenset({HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY})

# One instant of a datastream as a number: of a million of them each reader has three tables.
Key = int
EPOCH, MICROSECOND, BITS_OF_TIME = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1), 52


def key_of(datastream_id: int, at: datetime) -> Key:
    """Unique of both."""
    return datastream_id << BITS_OF_TIME | (at - EPOCH) // MICROSECOND


def of_key(key: Key) -> tuple[int, datetime]:
    """Both again."""
    return key >> BITS_OF_TIME, EPOCH + (key & (1 << BITS_OF_TIME) - 1) * MICROSECOND


class Changed(msgspec.Struct):
    """One change of a measurement, as far as it is counted."""

    datastream_id: int
    time: datetime
    change: str
    value: float | None


class Subject(msgspec.Struct):
    """An alert or a command."""

    id: int


class Page(msgspec.Struct):
    """One answer of the feed."""

    items: list[Changed]
    next: str
    has_more: bool


@dataclass(slots=True)
class Account:
    """What one reader has taken, whole, and once for each cursor."""

    times: Counter[Key] = field(default_factory=Counter[Key])
    live: Counter[Key] = field(default_factory=Counter[Key])
    """Of these, what the radio brought."""
    values: dict[Key, float | None] = field(default_factory=dict[Key, float | None])
    """What came last, as a copy of the history would hold it."""
    changes: Counter[str] = field(default_factory=Counter[str])
    subjects: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    """Alerts and commands, by how often a change of each came."""

    def record_changes(self, items: Sequence[Changed]) -> None:
        """Count what came under one cursor."""
        for one in items:
            key = key_of(one.datastream_id, one.time)
            self.times[key] += 1
            self.changes[one.change] += 1
            if one.change in LIVE:
                self.live[key] += 1
            if one.change != "meter_change":
                self.values[key] = one.value


class Reader(Protocol):
    """One of them."""

    account: Account

    @property
    def name(self) -> str:
        """For the report."""
        ...

    @property
    def wrong(self) -> Sequence[str]:
        """What was answered, or came, that may not be."""
        ...

    async def follow(self) -> None:
        """Read on, until cancelled."""
        ...


@dataclass(slots=True)
class PageReader:
    """Asks again where it got no answer."""

    client: httpx.AsyncClient
    limit: int
    cursor: str
    account: Account = field(default_factory=Account)
    failures: int = 0
    wrong: list[str] = field(default_factory=list[str])

    @property
    def name(self) -> str:
        """For the report."""
        return f"fil par {self.limit}"

    async def follow(self) -> None:
        """Read on, until cancelled."""
        while True:
            page = await self._ask()
            if page is not None:
                self.cursor = page.next
                self.account.record_changes(page.items)
            await asyncio.sleep(0 if page is not None and page.has_more else READS_EVERY_S)

    async def _ask(self) -> Page | None:
        try:
            answer = await self.client.get(PATH, params={"after": self.cursor, "limit": self.limit})
        except httpx.HTTPError:
            self.failures += 1
            return None
        if answer.status_code == HTTPStatus.OK:
            return msgspec.json.decode(answer.content, type=Page)
        self.failures += 1
        if answer.status_code in LOST_CURSOR:
            self.wrong.append(answer.text[:200])
        return None


@dataclass(slots=True)
class StreamReader:
    """Takes an event when its empty line is there, and comes back with the id of the last one that it took."""

    client: httpx.AsyncClient
    cursor: str
    hangs_up_after: int
    """So many events, by itself: it comes back as after any other end."""
    account: Account = field(default_factory=Account)
    connections: int = 0
    failures: int = 0
    wrong: list[str] = field(default_factory=list[str])

    @property
    def name(self) -> str:
        """For the report."""
        return f"flux quitté tous les {self.hangs_up_after}"

    async def follow(self) -> None:
        """Read on, until cancelled."""
        while True:
            try:
                await self._read_stream()
            except httpx.HTTPError:
                self.failures += 1
            await asyncio.sleep(READS_EVERY_S)

    async def _read_stream(self) -> None:
        headers, timeout = {"Last-Event-ID": self.cursor}, httpx.Timeout(SILENT_FOR_S)
        async with self.client.stream("GET", STREAM, headers=headers, timeout=timeout) as answer:
            if answer.status_code != HTTPStatus.OK:
                self.failures += 1
                if answer.status_code in LOST_CURSOR:
                    self.wrong.append((await answer.aread())[:200].decode())
                return
            self.connections += 1
            taken = 0
            async for event in events_of(answer.aiter_lines()):
                self.record_event(event)
                taken += event.name != "beat"
                if taken == self.hangs_up_after:
                    return

    def record_event(self, event: "Event") -> None:
        """Count one whole event, and go on behind it from now on."""
        match event.name:
            case "values":
                self.account.record_changes(msgspec.json.decode(event.data, type=list[Changed]))
            case "alert" | "command":
                self.account.subjects[event.name, msgspec.json.decode(event.data, type=Subject).id] += 1
            case "ended":
                self.wrong.append(event.data)
            case _:  # It beats, or was too slow; the states that follow from alerts are no changes of their own.
                pass
        self.cursor = event.id or self.cursor


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; without an id it is none of the feed."""

    name: str
    data: str
    id: str


async def events_of(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """The events that are whole (WHATWG HTML, section 9.2.6): what an empty line does not end is none."""
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, text = line.partition(":")
            text = text.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{text}" if name == "data" and "data" in fields else text
        elif "data" in fields:
            yield Event(fields.get("event", "message"), fields["data"], fields.get("id", ""))
            fields = {}
        else:
            fields = {}


@dataclass(slots=True)
class WebhookReader:
    """A receiver that takes each id once; alerting posts to it, so it asks for nothing itself."""

    pushed: Pushed
    account: Account = field(default_factory=Account)
    _batches: int = 0

    @property
    def name(self) -> str:
        """For the report."""
        return "webhook"

    @property
    def wrong(self) -> list[str]:
        """Numbers that are not in their order, what is badly signed, and ids that came with another content."""
        return [*self.pushed.wrong, *self.pushed.received.wrong]

    @property
    def repeated(self) -> int:
        """Deliveries of an id that was there already."""
        return sum(times - 1 for times in self.pushed.received.ids.values())

    async def follow(self) -> None:
        """Count what arrives, until cancelled."""
        while True:
            self.count()
            await asyncio.sleep(READS_EVERY_S)

    def count(self) -> None:
        """Count the batches that are new."""
        new = self.pushed.batches[self._batches :]
        for batch in new:
            self.account.record_changes(msgspec.convert(batch["items"], type=list[Changed]))
            batch["items"] = []  # Counted; its number is still looked at.
        self._batches += len(new)
