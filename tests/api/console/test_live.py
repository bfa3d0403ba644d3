"""The event stream of pages, over a real socket: once rendered for all who may see the same, for nobody else."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from api import change_stream, event_stream
from api.console.live import broadcast
from api.console.live.fragments import Rendering
from api.cookies import LOOPBACK_COOKIE
from api.event_stream import MOST_WAITING, EventStream
from core.messages import topics
from core.messages.live_frames import NO_MORE_LOOKS, LiveFrame, Look, decode_look, encode_live
from core.runtime.bus import Bus
from core.runtime.health import serve_http
from core.runtime.http.head_deadline import ABORT
from core.runtime.postgres import Pool
from ingest.insertion import insert_measurements
from lorawan.instants import to_us

PATIENCE_S = 30
STREAM = "/v1/stream"


@dataclass
class Reader:
    """A browser at the stream: what came, by event, and whether it goes on."""

    headers: httpx.Headers
    heard: list[tuple[str, str]] = field(default_factory=list)
    has_ended: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, answer: httpx.Response) -> None:
        name, lines = "", list[str]()
        with suppress(httpx.RemoteProtocolError):
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    lines.append(line[6:])
                elif not line and name:
                    self.heard.append((name, "\n".join(lines)))
                    name, lines = "", list[str]()
                    self._news.set()
        self.has_ended = True
        self._news.set()

    def of(self, name: str) -> list[str]:
        return [text for event, text in self.heard if event == name]

    async def until(self, seen: Callable[["Reader"], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not seen(self):
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def port(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[int]:
    for pace in ("CHECK_EVERY_S", "RENDER_EVERY_S", "AGAIN_S"):
        monkeypatch.setattr(broadcast, pace, 0.1)
    monkeypatch.setattr(change_stream, "LOOK_EVERY_S", 0.05)
    app.state.changes = change_stream.ChangeStreams(app.state.platform)
    app.state.broadcast = broadcast.Broadcast(app.state.platform, app.state.changes)
    async with serve_http(app, "127.0.0.1", 0, shutdown_timeout_s=1) as bound:
        yield bound
        app.state.changes.close()
        app.state.broadcast.close()


@pytest.fixture
def reading(port: int) -> Callable[[httpx.AsyncClient, int], object]:
    """A browser of `enter` opens the stream of a page of this tenant."""

    @asynccontextmanager
    async def opened(browser: httpx.AsyncClient, tenant_id: int, path: str = "/direct") -> AsyncGenerator[Reader]:
        cookies = {"Cookie": f"{LOOPBACK_COOKIE}={token_of(browser)}", "Accept": "text/event-stream"}
        async with (
            httpx.AsyncClient(base_url=f"http://localhost:{port}", headers=cookies, timeout=PATIENCE_S) as client,
            client.stream("GET", path, params={} if path == STREAM else {"collectivite": tenant_id}) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            reader = Reader(answer.headers)
            following = asyncio.create_task(reader.follow(answer))
            yield reader
            following.cancel()
            await asyncio.wait({following})

    return opened


def token_of(browser: httpx.AsyncClient) -> str:
    return browser.cookies.get(LOOPBACK_COOKIE, domain="localhost.local") or ""


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_what_changes_is_rendered_once_for_all_of_a_tenant_and_role_and_reaches_no_other_tenant(
    enter, reading, registry, observations, tenancy, other_tenancy, pool: Pool
) -> None:
    dwelling = await registry.asset(kind="dwelling", name="Appartement 12", privacy_class=2)
    first, second = [await enter(tenancy.id, "reader") for _ in range(2)]
    before = counted("territoire_api_live_renderings_total")
    page = (await first.get("/supervision")).text

    async with reading(first, tenancy.id) as one, reading(second, tenancy.id) as two:
        for reader in (one, two):
            await reader.until(lambda reader: bool(reader.of("at")))
        alert = await observations.alert(tenancy.id, dwelling["id"])
        for reader in (one, two):
            await reader.until(lambda reader: f"/alertes/{alert}" in reader.of("alerts")[-1])
        rendered = counted("territoire_api_live_renderings_total") - before
        async with reading(await enter(other_tenancy.id, "reader"), other_tenancy.id) as other:
            await other.until(lambda reader: bool(reader.of("at")))

    assert f'data-stream="/direct?collectivite={tenancy.id}"' in page
    assert {part for part in ("figures", "alerts", "todo", "count") if f'data-live="{part}"' in page} <= {
        name for name, _ in one.heard
    }
    assert page.count("aria-live") == 1  # A screen reader is told the number of alerts, and nothing else.
    assert one.headers["content-type"].startswith("text/event-stream")
    assert one.of("alerts")[-1] == two.of("alerts")[-1]
    assert one.of("count")[-1] == "1 alerte ouverte"
    assert len(set(one.of("states"))) == 2  # On the map it has another state.
    assert rendered <= len({*one.of("at"), *two.of("at")}) + 1  # Once for both; the last may still be on its way.
    assert (other.of("count"), other.of("alerts")[0].count("Appartement")) == (["Aucune alerte ouverte"], 0)
    # Who reads of a dwelling is recorded, whoever's session it was rendered by.
    names = await pool.fetch(
        "SELECT DISTINCT details->>'person' AS who FROM audit WHERE action = 'read' AND entity_id = $1",
        str(dwelling["id"]),
    )
    assert len(names) == 2


async def test_an_audience_is_rendered_again_when_the_feed_has_news_of_its_tenant_and_for_no_other_s(
    enter, reading, registry, observations, tenancy, other_tenancy, pool: Pool, app: FastAPI, monkeypatch
) -> None:
    monkeypatch.setattr(broadcast, "RENDER_AT_LEAST_EVERY_S", 1_000)
    asset = await registry.asset()
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")

    async def store() -> None:
        async with pool.acquire() as connection:
            await insert_measurements(connection, [(stream, to_us(datetime.now(UTC)), 40, 0)])

    async def is_quiet() -> bool:
        before = counted("territoire_api_live_renderings_total")
        await asyncio.sleep(0.5)  # Ten looks, of which nothing comes: there is no event of that.
        return counted("territoire_api_live_renderings_total") == before

    async with (
        reading(await enter(other_tenancy.id, "reader"), other_tenancy.id) as other,
        reading(await enter(tenancy.id, "reader"), tenancy.id) as reader,
        reading(await enter(tenancy.id, "reader"), tenancy.id, STREAM) as follower,
    ):
        for one in (other, reader):
            await one.until(lambda one: bool(one.of("at")))
        audiences = len(app.state.changes._groups)
        async with asyncio.timeout(PATIENCE_S):
            while not await is_quiet():  # Whatever writes in the cluster holds the news of what was just made.
                pass
        shown, of_others = len(reader.of("at")), len(other.of("at"))
        await store()
        await reader.until(lambda reader: len(reader.of("at")) > shown)
        await follower.until(lambda follower: bool(follower.of("values")))
        # A transaction that still writes holds what was committed after it began: nothing is told before its end.
        slow = await pool.acquire()
        try:
            writing = slow.transaction()
            await writing.start()
            await slow.fetchval("SELECT pg_current_xact_id()")
            alert = await observations.alert(tenancy.id, asset["id"])
            assert await is_quiet()
            await writing.rollback()
        finally:
            await pool.release(slow)
        await reader.until(lambda reader: f"/alertes/{alert}" in reader.of("alerts")[-1])
        # Whom it is given to is news, too.
        await pool.execute("UPDATE alert SET assignee = 'Équipe de nuit' WHERE id = $1", alert)
        await reader.until(lambda reader: "Équipe de nuit" in reader.of("alerts")[-1])
        assert await is_quiet()

    assert audiences == 2  # Of two tenants, whatever reads: a page and a stream of one are told by one reading.
    assert len(other.of("at")) == of_others
    assert len(follower.of("alert")) == 2
    async with asyncio.timeout(PATIENCE_S):
        while app.state.changes._groups:  # noqa: ASYNC110 - The server sees that the readers are gone.
            await asyncio.sleep(0.01)


async def test_stream_ends_with_its_session_and_with_a_role_that_is_withdrawn_and_others_go_on(
    enter, reading, tenancy, pool: Pool, app: FastAPI
) -> None:
    closed, changed, kept = [await enter(tenancy.id, "reader") for _ in range(3)]
    person = "(SELECT person_id FROM person_session WHERE token_sha256 = sha256($1::text::bytea))"

    async with (
        reading(closed, tenancy.id) as of_closed,
        reading(changed, tenancy.id) as of_changed,
        reading(kept, tenancy.id) as of_kept,
    ):
        for reader in (of_closed, of_changed, of_kept):
            await reader.until(lambda reader: bool(reader.of("at")))
        await pool.execute(
            "DELETE FROM person_session WHERE token_sha256 = sha256($1::text::bytea)", token_of(closed)
        )
        await pool.execute(f"UPDATE membership SET role = 'auditor' WHERE person_id = {person}", token_of(changed))
        for reader in (of_closed, of_changed):
            await reader.until(lambda reader: reader.has_ended)
        again = await closed.get("/direct?collectivite=1", headers={"Accept": "text/event-stream"})
        part = await closed.get("/supervision/chiffres", headers={"HX-Request": "true"})
        elsewhere = await kept.get(f"/direct?collectivite={tenancy.id + 1}")

        assert not of_kept.has_ended
        assert [seat.session.role for seat in app.state.broadcast.seats] == ["reader"]
    assert (again.status_code, part.status_code, elsewhere.status_code) == (401, 401, 204)
    # At the latest this long after: what is rendered reaches nobody whose session was not seen open lately.
    assert broadcast.CHECKED_WITHIN_S <= 5


async def test_database_and_bus_that_are_away_leave_streams_open_and_it_is_said_since_when(
    enter, reading, registry, observations, tenancy, app: FastAPI, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset, browser, live = await registry.asset(), await enter(tenancy.id, "reader"), app.state.broadcast
    real = live._render

    async def fail(*_: object) -> Rendering:
        raise ConnectionRefusedError

    async with reading(browser, tenancy.id) as reader:
        await reader.until(lambda reader: bool(reader.of("at")))
        monkeypatch.setattr(live, "_render", fail)
        await observations.alert(tenancy.id, asset["id"])
        await reader.until(lambda reader: bool(reader.of("away")))
        of_database, shown = reader.of("away")[-1], list(reader.heard)
        monkeypatch.setattr(live, "_render", real)
        await reader.until(lambda reader: "database" in reader.of("back"))
        with monkeypatch.context() as cut:
            cut.setattr(type(bus), "is_connected", property(lambda _: False))
            await reader.until(lambda reader: len(reader.of("away")) > 1)
        of_bus = reader.of("away")[-1].split(" ")
        await reader.until(lambda reader: "bus" in reader.of("back"))

    assert of_database == f"database {reader.of('at')[0]}"
    assert [name for name, _ in shown if name != "beat"][-1] == "away"
    assert of_bus[0] == "bus"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(of_bus[1])).total_seconds() < PATIENCE_S


async def test_reader_who_takes_too_little_is_dropped_and_counted_and_nothing_waits_for_it() -> None:
    taken, over = asyncio.Event(), list[EventStream]()
    cut = asyncio.Event()
    sent: list[bytes] = []

    async def receive() -> dict[str, str]:
        await cut.wait()
        return {"type": "http.disconnect"}

    async def send(message) -> None:
        if message["type"] == "http.response.body" and not cut.is_set():
            taken.set()
            sent.append(message["body"])
            await cut.wait()  # As a server whose reader takes nothing more.

    before = counted("territoire_api_slow_streams_total")
    stream = EventStream(over.append)
    answering = asyncio.create_task(stream({"type": "http", "extensions": {ABORT: cut.set}}, receive, send))
    await taken.wait()
    for _ in range(MOST_WAITING):
        stream.put(b"x")
    assert not stream.is_over
    stream.put(b"one too many")
    async with asyncio.timeout(PATIENCE_S):
        await answering

    assert counted("territoire_api_slow_streams_total") == before + 1
    assert (len(sent), over, len(stream._waiting)) == (1, [stream], 0)


async def test_stream_says_something_every_few_seconds_and_a_browser_has_few(
    enter, reading, tenancy, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "BEAT_EVERY_S", 0.05)
    monkeypatch.setattr(broadcast, "MOST_OF_A_SESSION", 1)
    browser = await enter(tenancy.id, "reader")

    async with reading(browser, tenancy.id) as former:
        await former.until(lambda reader: "beat" in [name for name, _ in reader.heard])
        async with reading(browser, tenancy.id) as latter:
            await former.until(lambda reader: reader.has_ended)
            monkeypatch.setattr(broadcast, "MOST_STREAMS", 1)
            refused = await browser.get(f"/direct?collectivite={tenancy.id}")
            assert not latter.has_ended
    async with asyncio.timeout(PATIENCE_S):
        while app.state.broadcast.seats:  # noqa: ASYNC110 - The server sees that the reader is gone.
            await asyncio.sleep(0.01)

    assert refused.status_code == 503
    assert app.state.broadcast._tasks == []


def test_of_frames_as_they_come_too_a_browser_has_few(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that opens ever more takes the seats of nobody else."""
    monkeypatch.setattr(broadcast, "MOST_OF_A_SESSION", 2)
    live = broadcast.Broadcast(app.state.platform, app.state.changes)

    async def feed(_stream: EventStream) -> None:
        """Nothing comes."""

    streams = [live.open_fed(digest, feed) for digest in (b"a", b"b", b"a", b"a", b"a")]

    assert [stream is not None and stream.is_over for stream in streams] == [True, False, True, False, False]
    assert len(live._fed) == 3


async def test_frames_follow_each_other_on_one_stream_until_the_session_is_over(
    enter, reading, tenancy, other_tenancy, bus: Bus, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that finds as many as may be waits for its turn, and says so."""
    monkeypatch.setattr("api.console.frames.views.LOOK_AGAIN_S", 0.1)
    looks, closed = asyncio.Queue[Look](), asyncio.Event()
    refused = 0

    async def follow_look(_subject: str, data: bytes) -> None:
        nonlocal refused
        look = decode_look(data)
        if look.seconds == 0:
            closed.set()
        elif refused < 2:
            refused += 1
            await bus.nudge(topics.live_frames(look.id), NO_MORE_LOOKS)
        else:
            looks.put_nowait(look)

    async def show(f_cnt: int) -> None:
        frame = LiveFrame("data_up", 1_795_597_200_123_456, "accepted", 23, 868_100_000, 7, [], f_cnt=f_cnt)
        await bus.nudge(topics.live_frames(look.id), encode_live(frame))

    def counts(reader: Reader) -> list[int]:
        return [item["f_cnt"] for text in reader.of("frames") for item in json.loads(text)["items"]]

    subscription = await bus.subscribe(topics.LIVE_LOOKS, follow_look)
    browser = await enter(tenancy.id, "reader")
    gone = await browser.get(f"/trames/direct?collectivite={other_tenancy.id}")
    async with reading(browser, tenancy.id, "/trames/direct") as reader, asyncio.timeout(PATIENCE_S):
        look = await looks.get()
        for f_cnt in (7, 8):
            await show(f_cnt)
            await reader.until(lambda reader, f_cnt=f_cnt: f_cnt in counts(reader))
        await pool.execute("DELETE FROM person_session")
        await show(9)
        await reader.until(lambda reader: reader.has_ended)
        await closed.wait()

    assert (gone.status_code, look.tenant_ids, counts(reader)) == (204, [tenancy.id], [7, 8])
    assert reader.of("full") == ["", ""]
    await subscription.unsubscribe()
