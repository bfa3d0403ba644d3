"""Hands the feed to those who follow it by server-sent events: one reader for all who may see the same.

Each process has one loop. What an audience (a tenant, the kinds that its key is limited to, and what is asked
for) may see is read once, under its row security, however many follow; another audience is another query: the
database decides who sees what, not this process. The cursor is the feed's: who comes back goes on where it was.
Pages of the console listen: they are notified that something has changed, and render it by their own queries.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Literal

import msgspec
import structlog
from prometheus_client import Gauge

from api.asset_state_store import Wanted, list_states
from api.auth import Caller
from api.dependencies import Dependencies
from api.event_stream import EventStream, encode_event
from api.feed_store import read_alerts, read_commands
from core.runtime.http.errors import Problem
from core.runtime.postgres import DATABASE_AWAY, Connection
from registry.changed_measurements import OF_MEASUREMENTS, changed_measurements
from registry.cursors import feed_cursor
from registry.feed import Entry, FeedState, Part, Position, WantedChanges, read_changes, read_state

What = Literal["values", "alerts", "commands", "states"]
EVERYTHING: tuple[What, ...] = ("values", "alerts", "commands", "states")
ORIGINS: dict[What, tuple[str, ...]] = {
    "values": OF_MEASUREMENTS,
    "alerts": ("alert",),
    "commands": ("command",),
    "states": ("alert", "command"),
}
MOST_READERS = 500
MOST_OF_A_KEY = 8
LOOK_EVERY_S = 0.5
CHECK_EVERY_S = 2.0
MOST_AT_ONCE = 1_000
MOST_OF_AN_EVENT = 500
# While a reader catches up, it is given as much as it takes.
ROOM = 4
TOO_SLOW = encode_event("dropped", "trop lent : reprenez avec Last-Event-ID, rien n'est perdu")
ENDED = encode_event("ended", "cette clé ou cette session n'a plus ce droit")

READERS = Gauge("territoire_api_followers", "Open event streams of the feed")

log = structlog.get_logger()
Tenant = tuple[int, tuple[str, ...]]
_Audience = tuple[Tenant, WantedChanges, frozenset[str]]


def origins_of(kinds: Iterable[What]) -> tuple[str, ...]:
    """Which entries of the feed these are about."""
    return tuple(sorted({origin for one in kinds for origin in ORIGINS[one]}))


# What a page of the console listens to: the same as a stream without a filter.
ANYTHING = WantedChanges(origins_of(EVERYTHING))
BEFORE_ALL = Position(0, 0, 0)


@dataclass(eq=False, slots=True)
class _Seat:
    """One stream, whose it is, and what it has been given."""

    stream: EventStream
    caller: Caller
    wanted: WantedChanges
    kinds: frozenset[str]
    epoch: str
    position: Position
    read_on: date = date.min
    read: set[int] = field(default_factory=set[int])
    """Datastreams of which this reading is recorded, on that day."""

    @property
    def audience(self) -> _Audience:
        """Who else is given the same."""
        return _tenant_of(self.caller), self.wanted, self.kinds


@dataclass(eq=False, slots=True)
class Listener:
    """Is notified that something of all that this caller may see has changed, and not what."""

    caller: Caller
    when_changed: Callable[[], None]

    @property
    def audience(self) -> _Audience:
        """Who else is notified at the same time."""
        return _tenant_of(self.caller), ANYTHING, frozenset(EVERYTHING)


def _tenant_of(caller: Caller) -> Tenant:
    return caller.principal.tenant_id, caller.principal.asset_kinds


@dataclass(eq=False, slots=True)
class _Group:
    """Readers who have all been given what comes before `position`, and listeners who were notified of it."""

    epoch: str = ""
    """Empty: nobody has read for it yet."""
    position: Position = BEFORE_ALL
    seats: list[_Seat] = field(default_factory=list[_Seat])
    listeners: list[Listener] = field(default_factory=list[Listener])
    settled: int = -1
    """Where the feed was when they were last given all of it: of who has just come that is not known."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Who reads for them, or joins them."""

    def notify(self) -> None:
        """Something has changed."""
        for listener in self.listeners:
            listener.when_changed()


class ChangeStreams:
    """Every open stream of the feed of this process."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._groups: dict[_Audience, _Group] = {}
        self._seats: dict[EventStream, _Seat] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closed = False

    def open(
        self,
        caller: Caller,
        wanted: WantedChanges,
        kinds: frozenset[str],
        state: FeedState,
        position: Position,
    ) -> EventStream | None:
        """A stream from a position on; None: there are too many, or the process is about to end."""
        of_key = sum(seat.caller.principal.proof == caller.principal.proof for seat in self._seats.values())
        if self._is_closed or len(self._seats) >= MOST_READERS or of_key >= MOST_OF_A_KEY:
            return None
        stream = EventStream(self._forget, self._catch_up, when_slow=TOO_SLOW)
        self._seats[stream] = _Seat(stream, caller, wanted, kinds, state.epoch, position)
        READERS.set(len(self._seats))
        self._begin()
        return stream

    def listen(self, caller: Caller, when_changed: Callable[[], None]) -> Listener:
        """Notify this one of changes from now on, until `leave` or until the caller has no right any more."""
        listener = Listener(caller, when_changed)
        self._groups.setdefault(listener.audience, _Group()).listeners.append(listener)
        self._begin()
        return listener

    def leave(self, listener: Listener) -> None:
        """End what `listen` began."""
        self._groups[listener.audience].listeners.remove(listener)
        self._end_if_empty(listener.audience)

    def _begin(self) -> None:
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._follow(), name="follow the feed"),
                asyncio.create_task(self._check(), name="check who follows the feed"),
            ]

    def close(self) -> None:
        """End every stream at once; readers come back by themselves, to a process that is left."""
        self._is_closed = True
        for stream in list(self._seats):
            stream.end()
            self._forget(stream)

    def _forget(self, stream: EventStream) -> None:
        seat = self._seats.pop(stream, None)
        READERS.set(len(self._seats))
        if seat is None:
            return
        group = self._groups.get(seat.audience)
        if group is not None and seat in group.seats:
            group.seats.remove(seat)
        self._end_if_empty(seat.audience)

    def _end_if_empty(self, audience: _Audience) -> None:
        """Nothing is read for nobody."""
        group = self._groups.get(audience)
        if group is not None and not group.seats and not group.listeners:
            del self._groups[audience]
        if not self._seats and not self._groups:
            for task in self._tasks:
                task.cancel()
            self._tasks = []

    async def _catch_up(self, stream: EventStream) -> None:
        """Read for one reader alone until it is where its audience is; then stay until the stream ends."""
        seat = self._seats[stream]
        try:
            while not stream.is_over:
                group = self._groups.get(seat.audience)
                if group is not None and await self._join(group, seat):
                    break
                part = await self._read_on(seat.position, [seat])
                seat.position = part.following
                if part.is_all and seat.audience not in self._groups and not stream.is_over:
                    self._groups[seat.audience] = _Group(seat.epoch, seat.position, [seat])
                    break
                await stream.until_room(ROOM)
            await stream.until_over()
        except Problem:
            stream.leave(ENDED)

    async def _join(self, group: _Group, seat: _Seat) -> bool:
        """Sit down where the others are, who go on together up to now: at most a page before them, or not yet."""
        async with group.turn:
            if not group.epoch:
                group.epoch, group.position = seat.epoch, seat.position
                group.notify()
            await self._serve(group)
            seat.position = (await self._read_on(seat.position, [seat], until=group.position)).following
            # Where the last of the others has left meanwhile, nobody reads for this group any more.
            is_there = self._groups.get(seat.audience) is group
            if not is_there or seat.position < group.position or seat.stream.is_over:
                return False
            group.seats.append(seat)
            return True

    async def _follow(self) -> None:
        """Give every audience what is new, until cancelled. The feed itself is looked at once for all."""
        worked_s = 0.0
        while True:
            # At most half of one connection's time, however many audiences there are.
            await asyncio.sleep(max(LOOK_EVERY_S, worked_s))
            began = time.monotonic()
            try:
                async with self._dependencies.pool.acquire() as connection:
                    state = await read_state(connection)
                for group in list(self._groups.values()):
                    if (group.epoch, group.settled) == (state.epoch, state.settled):
                        continue
                    async with group.turn:
                        if group.epoch == state.epoch:
                            await self._serve(group)
                        else:
                            self._begin_anew(group, state)
                        group.settled = state.settled
            except DATABASE_AWAY:
                pass  # Once it is back they go on where they were.
            except Exception:
                log.exception("feed_not_followed")
            finally:
                worked_s = time.monotonic() - began

    async def _serve(self, group: _Group) -> None:
        """Read by the key or session of one of its readers, hand it to all, and notify who listens."""
        is_all = is_changed = False
        while group.seats and not is_all:
            try:
                part = await self._read_on(group.position, group.seats)
            except Problem:  # It has no right any more.
                group.seats[0].stream.leave(ENDED)
                self._forget(group.seats[0].stream)
            else:
                group.position, is_all = part.following, part.is_all
                is_changed |= bool(part.entries)
        if is_changed or (not is_all and await self._has_changed(group)):
            group.notify()

    async def _has_changed(self, group: _Group) -> bool:
        """Where nobody but listeners is left: whether there is anything, and go on behind all of it."""
        for listener in list(group.listeners):
            try:
                async with listener.caller.reading() as connection:
                    state, part = await read_state(connection), Part([], group.position, is_all=False)
                    while not part.entries and not part.is_all:
                        part = await read_changes(connection, part.following, ANYTHING, 1)
            except Problem:  # Its session is over: who checks that ends its page.
                continue
            group.position = state.now if part.entries else part.following
            return bool(part.entries)
        return False

    def _begin_anew(self, group: _Group, state: FeedState) -> None:
        """A group of listeners that nobody has read for, or one of a database that was restored since."""
        for seat in list(group.seats):
            seat.stream.end()
            self._forget(seat.stream)
        group.epoch, group.position = state.epoch, state.now
        group.notify()

    async def _read_on(self, after: Position, seats: list[_Seat], until: Position | None = None) -> Part:
        """What follows a position goes out to these, who see the same."""
        first = seats[0]
        async with first.caller.reading() as connection:
            entries, position, is_all = await read_changes(connection, after, first.wanted, MOST_AT_ONCE)
            if until is not None and position >= until:
                entries, position = [entry for entry in entries if entry.position < until], until
            octets = b"".join(await _events(connection, first, entries)) if entries else b""
            streams = {entry.datastream_id for entry in entries if entry.datastream_id is not None}
            today = datetime.now(UTC).date()
            for seat in list(seats):
                if seat.read_on != today:
                    seat.read_on, seat.read = today, set()
                if not streams <= seat.read:
                    await seat.caller.audit_personal(connection, streams=sorted(streams - seat.read))
                    seat.read |= streams
        for seat in list(seats):
            if octets:
                seat.stream.put(octets)
            if seat.stream.is_over:
                self._forget(seat.stream)
        return Part(entries, position, is_all)

    async def _check(self) -> None:
        """End the streams of keys and sessions that have no right any more, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            proofs: dict[object, list[_Seat]] = {}
            for seat in list(self._seats.values()):
                proofs.setdefault(seat.caller.principal.proof, []).append(seat)
            for seats in proofs.values():
                try:
                    async with seats[0].caller.reading():
                        pass
                except Problem:
                    for seat in seats:
                        seat.stream.leave(ENDED)
                        self._forget(seat.stream)
                except DATABASE_AWAY:
                    break  # Nothing is read either.
                except Exception:
                    log.exception("followers_not_checked")


async def _events(connection: Connection, seat: _Seat, entries: Sequence[Entry]) -> list[bytes]:
    """As they go out, each with the cursor behind it: values by the hundred, alerts and commands one by one."""

    def cursor(position: Position) -> str:
        return feed_cursor(seat.epoch, seat.caller.principal.tenant_id, position)

    alerts = await read_alerts(connection, _subjects(entries, "alert"))
    commands = await read_commands(connection, _subjects(entries, "command"))
    octets: list[bytes] = []
    for is_value, run in groupby(entries, lambda entry: entry.subject is None):
        if is_value:
            octets += _values(list(run), cursor)
            continue
        for entry in run:
            found = (alerts if entry.origin == "alert" else commands).get(entry.subject or 0)
            if found is not None and f"{entry.origin}s" in seat.kinds:
                octets.append(_event(entry.origin, found, cursor(entry.position)))
    touched = sorted({entry.asset_id for entry in entries if entry.subject is not None and entry.asset_id})
    if "states" in seat.kinds and touched:
        states = await list_states(connection, Wanted(ids=touched), most=len(touched))
        octets += [_event("state", one, cursor(entries[-1].position)) for one in states]
    return octets


def _subjects(entries: Sequence[Entry], origin: str) -> list[int]:
    return sorted({entry.subject for entry in entries if entry.origin == origin and entry.subject is not None})


def _values(entries: Sequence[Entry], cursor: Callable[[Position], str]) -> Iterator[bytes]:
    for begin in range(0, len(entries), MOST_OF_AN_EVENT):
        part = entries[begin : begin + MOST_OF_AN_EVENT]
        yield _event("values", list(changed_measurements(part)), cursor(part[-1].position))


def _event(name: str, content: object, cursor: str) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), name.encode(), msgspec.json.encode(content))
