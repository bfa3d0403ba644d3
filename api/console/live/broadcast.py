"""Renders what changes by itself once for all who may see the same, while somebody looks, and hands it to each.

Renderings follow the feed: an audience is rendered again when something has changed that its tenant may see, a
value, an alert, a command. A text that has not changed is not sent. What is in no feed is seen at the latest ten
seconds later: frames a minute, gateways, the registry, and what happens by the passing of time alone.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial

import structlog
from prometheus_client import Counter, Gauge

from api.auth import Caller
from api.change_stream import ChangeStreams, Listener
from api.console.language import Language
from api.console.live.fragments import Rendering, render_fragments
from api.console.visits import PersonsVisit
from api.dependencies import Dependencies
from api.event_stream import EventStream, encode_event
from core.runtime.errors import describe
from core.runtime.http.errors import Problem
from core.runtime.postgres import DATABASE_AWAY
from registry.sessions import SEEN_EVERY, Session, find_sessions, record_use

MOST_STREAMS = 1_000
# A browser has one; while it changes which tab holds it, two. The oldest goes.
MOST_OF_A_SESSION = 4
RENDER_EVERY_S = 1.0
RENDER_AT_LEAST_EVERY_S = 10.0
# While something is away.
AGAIN_S = 2.0
# What is rendered for all groups takes half of one connection's time at most.
REST_PER_WORK, LONGEST_REST_S = 1, 2.0
# A rendering that takes longer waits for a database that does not answer.
PATIENCE_S = 5.0
CHECK_EVERY_S, CHECKED_WITHIN_S = 2.0, 5.0

STREAMS = Gauge("territoire_api_live_streams", "Open event streams of browsers")
RENDERED = Counter("territoire_api_live_renderings_total", "Renderings of what changes by itself")

log = structlog.get_logger()
Render = Callable[[Caller, Language], Awaitable[Rendering]]


@dataclass(frozen=True, slots=True)
class Audience:
    """Who sees the same texts."""

    tenant_id: int
    role: str
    extra_rights: tuple[str, ...]
    language: str


@dataclass(eq=False, slots=True)
class _Seat:
    """One stream, and whose it is."""

    stream: EventStream
    caller: Caller
    language: Language
    session: Session
    digest: bytes
    listener: Listener
    checked_at: float
    is_new: bool = True
    read_on: date = date.min
    read: set[int] = field(default_factory=set[int])
    """Assets of which this person's reading is recorded, on that day."""


@dataclass(eq=False, slots=True)
class _Group:
    """An audience that has at least one stream, and what it was sent last."""

    seats: list[_Seat] = field(default_factory=list[_Seat])
    sent: dict[str, bytes] = field(default_factory=dict[str, bytes])
    shown_at: datetime | None = None
    rendered_at: float = -RENDER_EVERY_S
    due_at: float = 0.0

    def want(self, at: float) -> None:
        """To be rendered at that time, or as soon after it as the pace allows."""
        self.due_at = min(self.due_at, max(at, self.rendered_at + RENDER_EVERY_S))


class Broadcast:
    """Every open stream of this process; another replica has its own, and needs to know of none of these."""

    def __init__(
        self, dependencies: Dependencies, changes: ChangeStreams, render: Render = render_fragments
    ) -> None:
        self._dependencies = dependencies
        self._changes = changes
        self._render = render
        self._groups: dict[Audience, _Group] = {}
        self._fed: dict[EventStream, bytes] = {}
        """Streams that are fed by somebody else, the oldest first, and of which session each is."""
        self._tasks: list[asyncio.Task[None]] = []
        self._woken = asyncio.Event()
        self._away: dict[str, str] = {}
        """What does not answer, with the instant of which the last figures are."""
        self._is_closed = False

    @property
    def seats(self) -> list[_Seat]:
        """Of every audience."""
        return [seat for group in self._groups.values() for seat in group.seats]

    def open(self, visit: PersonsVisit) -> EventStream | None:
        """A stream for this visitor; None: there are too many, or the process is about to end."""
        seats = self.seats
        if self._is_full:
            return None
        session = visit.caller.person()
        of_session = [seat for seat in seats if seat.digest == session.digest]
        for seat in of_session[: len(of_session) - MOST_OF_A_SESSION + 1]:
            self._remove(seat)
        now = time.monotonic()
        stream = EventStream(self._forget)
        audience = Audience(session.row.tenant_id, session.row.role, session.row.extra_rights, visit.language.code)
        group = self._groups.setdefault(audience, _Group())
        listener = self._changes.listen(visit.caller, partial(self._want, group))
        group.seats.append(_Seat(stream, visit.caller, visit.language, session.row, session.digest, listener, now))
        group.want(now)
        STREAMS.inc()
        for away, since in self._away.items():
            stream.put(encode_event("away", f"{away} {since}"))
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._follow(), name="render live fragments"),
                asyncio.create_task(self._watch(), name="check sessions of streams"),
            ]
        self._woken.set()
        return stream

    def open_fed(self, digest: bytes, feed: Callable[[EventStream], Awaitable[None]]) -> EventStream | None:
        """A stream whose events `feed` makes, and sees whether its reader may have them; None as of `open`."""
        if self._is_full:
            return None
        of_session = [stream for stream, other in self._fed.items() if other == digest]
        for former in of_session[: len(of_session) - MOST_OF_A_SESSION + 1]:
            self._end_fed(former)
        stream = EventStream(self._end_fed, feed)
        self._fed[stream] = digest
        return stream

    def _end_fed(self, stream: EventStream) -> None:
        stream.end()
        self._fed.pop(stream, None)

    @property
    def _is_full(self) -> bool:
        return self._is_closed or len(self.seats) + len(self._fed) >= MOST_STREAMS

    def close(self) -> None:
        """End every stream at once; browsers come back by themselves, to a process that is left."""
        self._is_closed = True
        for stream in self._fed:
            stream.end()
        for seat in self.seats:
            self._remove(seat)

    def _forget(self, stream: EventStream) -> None:
        for seat in [seat for seat in self.seats if seat.stream is stream]:
            self._remove(seat)

    def _remove(self, seat: _Seat) -> None:
        """End a stream; with the last one nothing is rendered any more."""
        seat.stream.end()
        for audience, group in list(self._groups.items()):
            if seat in group.seats:
                group.seats.remove(seat)
                self._changes.leave(seat.listener)
                STREAMS.dec()
                if not group.seats:
                    del self._groups[audience]
        if not self._groups:
            for task in self._tasks:
                task.cancel()
            self._tasks = []
            self._away = {}

    async def _follow(self) -> None:
        """Render what is due, until cancelled."""
        while True:
            self._show_bus()
            started = time.monotonic()
            for group in [group for group in self._groups.values() if group.due_at <= started]:
                try:
                    await self._serve(group)
                except Exception:
                    log.exception("live_rendering_failed")
                    group.rendered_at = time.monotonic()
                    group.due_at = group.rendered_at + RENDER_AT_LEAST_EVERY_S
            worked = time.monotonic() - started
            await asyncio.sleep(min(REST_PER_WORK * worked, LONGEST_REST_S))
            await self._until_due()

    async def _until_due(self) -> None:
        """Until a group is due, at most for a second: then the bus is looked at again."""
        due_at = min((group.due_at for group in self._groups.values()), default=0.0)
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(due_at - time.monotonic(), 0.0), 1.0)):
                await self._woken.wait()

    def _want(self, group: _Group) -> None:
        """The feed has something new of what this audience sees."""
        group.want(time.monotonic())
        self._woken.set()

    async def _serve(self, group: _Group) -> None:
        """Render for a group, by the session of one of its seats, and hand it to all."""
        group.due_at = math.inf
        while group.seats:
            reader = group.seats[0]
            reading = asyncio.create_task(self._read(group, reader), name="live rendering")
            try:
                await asyncio.wait({reading}, timeout=PATIENCE_S)
                if not reading.done():
                    self._show_away("database", group.shown_at)
                    await asyncio.wait({reading})
                rendering = reading.result()
            except Problem as rejected:  # Their session has ended since.
                log.info("live_reader_rejected", status=rejected.status)
                self._remove(reader)
                continue
            except DATABASE_AWAY as away:
                if "database" not in self._away:
                    log.warning("live_database_away", error=describe(away))
                self._show_away("database", group.shown_at)
                break
            finally:
                reading.cancel()
            self._show_back("database")
            self._hand_out(group, rendering)
            break
        group.rendered_at = time.monotonic()
        later_s = AGAIN_S if self._away else RENDER_AT_LEAST_EVERY_S
        group.due_at = max(group.rendered_at + RENDER_EVERY_S, min(group.due_at, group.rendered_at + later_s))

    async def _read(self, group: _Group, reader: _Seat) -> Rendering:
        """The rendering, after it is recorded who reads about which dwellings."""
        rendering = await self._render(reader.caller, reader.language)
        RENDERED.inc()
        today, others = rendering.at.date(), list[_Seat]()
        for seat in group.seats:
            if seat.read_on != today:
                seat.read_on, seat.read = today, set()
            if seat is not reader and not rendering.assets <= seat.read:
                others.append(seat)
        if others:
            async with reader.caller.reading() as connection:
                for seat in others:
                    await seat.caller.audit_personal(connection, assets=sorted(rendering.assets - seat.read))
        for seat in (reader, *others):
            seat.read |= rendering.assets
        return rendering

    def _hand_out(self, group: _Group, rendering: Rendering) -> None:
        """The same octets to all: to who is new everything, to the others what has changed."""
        texts = {name: encode_event(name, text) for name, text in rendering.texts.items()}
        at = encode_event("at", rendering.at.isoformat())
        whole = b"".join([*texts.values(), at])
        changed = b"".join([*(octets for name, octets in texts.items() if group.sent.get(name) != octets), at])
        group.sent, group.shown_at = texts, rendering.at
        checked_since = time.monotonic() - CHECKED_WITHIN_S
        for seat in list(group.seats):
            # Of whom nobody knows any more whether they may see it: everything, when that is known again.
            is_sure = seat.checked_at >= checked_since and rendering.assets <= seat.read
            if is_sure:
                seat.stream.put(whole if seat.is_new else changed)
            seat.is_new = not is_sure
            if seat.stream.is_over:
                self._remove(seat)

    def _show_bus(self) -> None:
        if self._dependencies.bus.is_connected:
            self._show_back("bus")
        else:
            self._show_away("bus", datetime.now(UTC))

    def _show_away(self, what: str, since: datetime | None) -> None:
        if what not in self._away:
            self._away[what] = "" if since is None else since.isoformat()
            self._put_all(encode_event("away", f"{what} {self._away[what]}"))

    def _show_back(self, what: str) -> None:
        if self._away.pop(what, None) is not None:
            self._put_all(encode_event("back", what))

    def _put_all(self, octets: bytes) -> None:
        for seat in self.seats:
            seat.stream.put(octets)

    async def _watch(self) -> None:
        """End the streams of sessions that are over or may other things than before, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            try:
                await self._check()
            except DATABASE_AWAY:
                continue  # Nothing is rendered either.
            except Exception:
                log.exception("live_check_failed")

    async def _check(self) -> None:
        seats, asked_at = self.seats, time.monotonic()
        pool = self._dependencies.pool
        found = await find_sessions(pool, list({seat.digest for seat in seats}))
        for seat in seats:
            now = found.get(seat.digest)
            if now is None or _rights(now) != _rights(seat.session) or seat.stream.is_over:
                self._remove(seat)
                continue
            seat.checked_at = asked_at
            if datetime.now(UTC) - now.last_seen_at > SEEN_EVERY:
                await record_use(pool, seat.digest, seat.caller.address)


def _rights(session: Session) -> tuple[int, str, tuple[str, ...]]:
    return session.tenant_id, session.role, session.extra_rights
