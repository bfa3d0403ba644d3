"""The stream of changes over a real socket: in order, once, to who may see them, until they may no longer."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from asyncpg import DeadlockDetectedError
from fastapi import FastAPI
from structlog.testing import capture_logs

from api import change_stream
from api.event_stream import MOST_WAITING, EventStream
from core.runtime.health import serve_http
from core.runtime.http.head_deadline import ABORT
from core.runtime.postgres import Pool
from ingest.insertion import insert_measurements
from lorawan.instants import to_us
from registry.tenants import create_api_key

PATIENCE_S = 30
NOW = datetime.now(UTC).replace(microsecond=0)


class Follower:
    """What came: event, content, cursor."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any, str]] = []
        self.has_ended = False
        self._news = asyncio.Event()

    async def follow(self, answer: httpx.Response) -> None:
        fields: dict[str, str] = {}
        with suppress(httpx.RemoteProtocolError):
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif fields.get("event", "beat") != "beat":
                    self._record_event(fields)
                    fields = {}
        self.has_ended = True
        self._news.set()

    def _record_event(self, fields: dict[str, str]) -> None:
        text = fields["data"]
        content = json.loads(text) if text[:1] in "[{" else text
        self.heard.append((fields["event"], content, fields.get("id", "")))
        self._news.set()

    @property
    def values(self) -> list[float]:
        return [one["value"] for name, content, _ in self.heard if name == "values" for one in content]

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.heard]

    async def until(self, seen: Callable[["Follower"], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not seen(self):
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def follow(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Callable[..., Any]]:
    """Opens the stream with a key."""
    for pace in ("LOOK_EVERY_S", "CHECK_EVERY_S"):
        monkeypatch.setattr(change_stream, pace, 0.05)

    @asynccontextmanager
    async def opened(key: str, cursor: str | None = None, **asked: object) -> AsyncGenerator[Follower]:
        follower = Follower()
        headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": cursor} if cursor else {})
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client,
            client.stream("GET", "/v1/stream", params=asked, headers=headers) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            task = asyncio.create_task(follower.follow(answer))
            yield follower
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    app.state.changes = change_stream.ChangeStreams(app.state.platform)
    async with serve_http(app, "127.0.0.1", 0, shutdown_timeout_s=1) as port:
        yield opened
        app.state.changes.close()


async def test_everybody_follows_what_they_may_see_once_and_goes_on_where_they_were(
    follow, registry, observations, pool: Pool, tenancy, other_tenancy, other_client, client
) -> None:
    asset = await registry.asset()
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    granted = await client.post(
        "/v1/grants", json={"tenant": other_tenancy.slug, "asset_id": asset["id"], "role": "reader"}
    )
    assert granted.status_code == 201, granted.text
    accepted = await other_client.post(f"/v1/grants/{granted.json()['id']}/accept")
    assert accepted.status_code in {200, 201, 204}, accepted.text
    second = await create_api_key(pool, tenancy.id, "autre", ["read"])

    async def store(*values: float) -> None:
        async with pool.acquire() as connection:
            rows = [(stream, to_us(NOW - timedelta(minutes=value)), value, 0) for value in values]
            await insert_measurements(connection, rows)

    async with (
        follow(tenancy.key) as first,
        follow(second, what="values", quantity="fill_level") as other_key,
        follow(second, what="values", quantity="humidity") as nothing,
        follow(other_tenancy.key) as grantee,
    ):
        await asyncio.gather(*(one.until(lambda _: True) for one in (first, other_key, grantee)))
        await store(1, 2)
        await store(3)
        for one in (first, other_key, grantee):
            await one.until(lambda seen: len(seen.values) >= 3)
            assert one.values == [1, 2, 3]
        alert = await observations.alert(tenancy.id, asset["id"])
        await first.until(lambda seen: "state" in seen.names)
        [(_, said, _)] = [one for one in first.heard if one[0] == "alert"]
        assert (said["id"], said["workflow"]) == (alert, "open")
        [(_, state, _)] = [one for one in first.heard if one[0] == "state"]
        assert (state["id"], state["state"]) == (asset["id"], "warning")
        # A grant that is withdrawn: not one value more.
        assert (await client.delete(f"/v1/grants/{granted.json()['id']}")).status_code in {200, 204}
        await store(4)
        await first.until(lambda seen: 4 in seen.values)
        # A key that is revoked ends its streams, and says so.
        await pool.execute("UPDATE api_key SET revoked_at = now() WHERE name = 'autre'")
        for one in (other_key, nothing):
            await one.until(lambda seen: seen.has_ended)
            assert one.names[-1] == "ended"
        assert 4 not in grantee.values
        assert nothing.values == []
        cursors = [cursor for name, _, cursor in first.heard if name == "values"]
        in_first = next(len(content) for name, content, _ in first.heard if name == "values")
    # Whoever comes back gets what follows the last event, also what came meanwhile; two begin elsewhere.
    await store(5)
    async with follow(tenancy.key, cursors[0]) as again, follow(tenancy.key, cursors[-1], what="values") as late:
        await late.until(lambda seen: 5 in seen.values)
        await again.until(lambda seen: 5 in seen.values)
        await store(6)
        for one, expected in ((late, [5, 6]), (again, [1, 2, 3, 4, 5, 6][in_first:])):
            await one.until(lambda seen: 6 in seen.values)
            assert one.values[-len(expected) :] == expected
            assert len(one.values) == len(set(one.values))


async def test_who_sits_down_while_the_last_of_the_others_leaves_goes_on_alone(
    follow, app: FastAPI, registry, observations, pool: Pool, tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it hears beats, and nothing else, for as long as it stays."""
    asset = await registry.asset()
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    changes = app.state.changes
    read_on, left = changes._read_on, asyncio.Event()

    async def read_while_others_leave(after: Any, seats: Any, until: Any = None) -> Any:
        part = await read_on(after, seats, until)
        if until is not None and not left.is_set():
            left.set()
            for other in [one for one in changes._seats if one is not seats[0].stream]:
                other.end()
                changes._forget(other)
        return part

    async with follow(tenancy.key):
        async with asyncio.timeout(PATIENCE_S):
            while not changes._groups:  # noqa: ASYNC110 - It has no event for it.
                await asyncio.sleep(0.01)
        monkeypatch.setattr(changes, "_read_on", read_while_others_leave)
        async with follow(tenancy.key) as second, asyncio.timeout(PATIENCE_S):
            await left.wait()
            async with pool.acquire() as connection:
                await insert_measurements(connection, [(stream, to_us(NOW), 7, 0)])
            await second.until(lambda seen: 7 in seen.values)


async def test_what_is_stored_while_a_lone_reader_is_about_to_wait_is_not_left_until_the_next_change(
    follow, app: FastAPI, registry, observations, pool: Pool, tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = await registry.asset()
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    changes = app.state.changes
    read_on, read_state, looks = changes._read_on, change_stream.read_state, 0

    async def look(connection: Any) -> Any:
        nonlocal looks
        state = await read_state(connection)
        looks += 1
        return state

    async def read_and_be_overtaken(after: Any, seats: Any, until: Any = None) -> Any:
        part = await read_on(after, seats, until)
        monkeypatch.setattr(changes, "_read_on", read_on)
        async with pool.acquire() as connection:
            await insert_measurements(connection, [(stream, to_us(NOW), 7, 0)])
        until_looks = looks + 3
        while looks < until_looks:  # noqa: ASYNC110 - It has no event for it.
            await asyncio.sleep(0.01)
        return part

    monkeypatch.setattr(change_stream, "read_state", look)
    monkeypatch.setattr(changes, "_read_on", read_and_be_overtaken)
    async with follow(tenancy.key) as alone:
        await alone.until(lambda seen: 7 in seen.values)


async def test_a_stream_whose_database_is_away_while_it_catches_up_ends_without_a_defect(
    follow, app: FastAPI, tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(*_: Any) -> Any:
        raise DeadlockDetectedError("deadlock detected")

    monkeypatch.setattr(app.state.changes, "_read_on", lose)
    with capture_logs() as logs:
        async with follow(tenancy.key) as alone:
            await alone.until(lambda seen: seen.has_ended)

    [said] = [one for one in logs if one["event"].startswith("feed_")]
    assert (said["event"], said["log_level"]) == ("feed_ended_database_away", "warning")


async def test_a_reader_that_takes_nothing_is_told_and_cut_off() -> None:
    cut = asyncio.Event()
    taken: list[bytes] = []
    released, begun = asyncio.Event(), asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and taken:
            await released.wait()
        if message["type"] == "http.response.body":
            taken.append(message["body"])
            begun.set()

    async def receive() -> Any:
        await cut.wait()
        return {"type": "http.disconnect"}

    stream = EventStream(lambda _: None, when_slow=change_stream.TOO_SLOW)
    scope: Any = {"type": "http", "extensions": {ABORT: cut.set}}
    answering = asyncio.create_task(stream(scope, receive, send))
    await begun.wait()
    for number in range(MOST_WAITING + 2):
        stream.put(b"%d" % number)
    assert stream.is_over
    released.set()
    await answering
    assert taken[-2:] == [change_stream.TOO_SLOW, b""]
