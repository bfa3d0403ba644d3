"""Webhooks of measurements as an application has them: each change once, signed, and only what may be seen."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import msgspec
import pytest
from standardwebhooks import Webhook

from alerting import measurement_cursors
from alerting.background import keep_dispatching_measurements
from alerting.measurement_batches import dispatch_measurements, warn_of_late_webhooks
from alerting.notifications import endpoints_of
from alerting.queue import decode_message
from api.measurement_messages import MeasurementsMessage
from api.webhook_messages import DeliveryWarning
from core.runtime.health import serve_http
from core.runtime.postgres import Pool, connect, open_pool
from ingest.insertion import insert_measurements
from lab.simulator.pushed import Pushed
from lab.simulator.receiver import Received, receive_webhooks
from lorawan.instants import to_us
from registry.keys import KeyWrap
from registry.tenants import create_api_key
from tests.alerting.crashes import Crash, Fuse, MortalPool
from tests.alerting.sending import until, working
from tests.api.conftest import KEK, person_client
from tests.proved import prove_all

PATH = "/v1/measurement-webhooks"
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def alerting(database) -> AsyncGenerator[Pool]:
    """As the service that sends, which may do what `registry.rights` says."""
    async with open_pool(database.url_of("alerting"), "territoire-tests", size=3) as pool:
        yield pool


@pytest.fixture
async def stream(registry, observations) -> int:
    return await make_stream(registry, observations)


async def make_stream(registry, observations, quantity: str = "fill_level", unit: str = "%", **fields: Any) -> int:
    asset = await registry.asset(**({"tags": ["centre"]} | fields))
    device = await registry.device(asset_id=asset["id"])
    return await observations.datastream(device["dev_eui"], asset["id"], quantity, unit)


async def store(pool: Pool, *readings: tuple[int, timedelta, float]) -> None:
    """As ingest does with what may be there already."""
    async with pool.acquire() as connection:
        await insert_measurements(connection, [(id_, to_us(NOW - ago), value, 0) for id_, ago, value in readings])


async def address(client: httpx.AsyncClient, pool: Pool, **fields: Any) -> dict[str, Any]:
    body = {"url": "https://si.example.fr/mesures", "purpose": "measurements"} | fields
    answer = await client.post("/v1/webhook-endpoints", json=body)
    assert answer.status_code == 201, answer.text
    await pool.execute("UPDATE webhook_endpoint SET state = 'enabled', proved_at = now() WHERE state = 'unproved'")
    await pool.execute("DELETE FROM jobs.pgqueuer WHERE dedupe_key IS NULL")
    return answer.json()


async def subscribe(client: httpx.AsyncClient, pool: Pool, **fields: Any) -> dict[str, Any]:
    endpoint_id = fields.pop("endpoint_id", None) or (await address(client, pool))["id"]
    answer = await client.post(PATH, json={"endpoint_id": endpoint_id, "batch_seconds": 1} | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


@dataclass
class Queue:
    """Takes messages out of the queue, as if their receivers had taken them."""

    pool: Pool
    alerting: Pool

    async def take_messages(self) -> list[dict[str, Any]]:
        """The messages that wait, checked against the reference; those about measurements alone."""
        rows = await self.pool.fetch("DELETE FROM jobs.pgqueuer RETURNING id, payload")
        messages = [decode_message(row["payload"]) for row in sorted(rows, key=lambda row: row["id"])]
        bodies = [(one.message_id, msgspec.json.decode(one.body), one.body) for one in messages]
        found: list[dict[str, Any]] = []
        for message_id, content, body in bodies:
            if content["type"] == "measurements.changed":
                MeasurementsMessage.model_validate_json(body)
                found.append(content["data"] | {"id": message_id})
        return found

    async def turn(self) -> list[dict[str, Any]]:
        """One turn of the dispatcher, whatever the seconds."""
        await self.pool.execute("UPDATE measurement_webhook SET next_at = now()")
        await dispatch_measurements(self.alerting, datetime.now(UTC))
        return await self.take_messages()

    async def all(self) -> list[dict[str, Any]]:
        """Batch after batch, until there is none."""
        found: list[dict[str, Any]] = []
        while batch := await self.turn():
            found += batch
        return found


@pytest.fixture
def queue(pool: Pool, alerting: Pool) -> Queue:
    return Queue(pool, alerting)


def said(batches: list[dict[str, Any]]) -> list[tuple[int, float | None, str]]:
    return [(item["datastream_id"], item["value"], item["change"]) for batch in batches for item in batch["items"]]


async def shown(client: httpx.AsyncClient, webhook: dict[str, Any]) -> dict[str, Any]:
    return (await client.get(f"{PATH}/{webhook['id']}")).json()


async def test_what_changes_is_queued_once_in_batches_and_says_what_it_is(
    client, stream: int, pool: Pool, queue: Queue
) -> None:
    await store(pool, (stream, 90 * MINUTE, 1))  # Of before: nothing of it is sent.
    webhook = await subscribe(client, pool, batch_most=3)
    assert (webhook["state"], webhook["batches"], webhook["to_do"]) == ("active", 0, None)
    assert await queue.turn() == []

    await store(pool, (stream, MINUTE, 10), (stream, 60 * MINUTE, 11))
    path = f"/v1/datastreams/{stream}/manual-readings"
    for ago, value in ((2 * MINUTE, 12), (MINUTE, 13)):
        answer = await client.post(path, json={"time": (NOW - ago).isoformat(), "value": value})
        assert answer.status_code == 201, answer.text
    await store(pool, (stream, MINUTE, 10))  # Delivered once more.
    first = await queue.turn()
    then = await queue.all()

    # What has changed twice meanwhile has the value that is in force, both times.
    assert said(first) == [(stream, 13, "new"), (stream, 11, "late"), (stream, 12, "manual")]
    assert said(then) == [(stream, 13, "corrected")]
    assert [(one["sequence"], one["has_more"], one["tenant"]) for one in first + then] == [
        (1, True, "sdef"),
        (2, False, "sdef"),
    ]
    assert first[0]["id"] != then[0]["id"]
    # Its cursors are the feed's.
    page = (await client.get("/v1/measurements", params={"after": first[0]["next"]})).json()
    assert [one["value"] for one in page["items"]] == [13]
    state = await shown(client, webhook)
    assert (state["batches"], state["readings"], state["state"]) == (2, 4, "active")
    assert (await client.get("/v1/measurements", params={"after": state["cursor"]})).json()["items"] == []
    batches = (await client.get(f"{PATH}/{webhook['id']}/batches", params={"limit": 1})).json()
    assert [(one["number"], one["readings"], one["attempts"]) for one in batches["items"]] == [(2, 1, 0)]
    rest = await client.get(f"{PATH}/{webhook['id']}/batches", params={"cursor": batches["next"]})
    assert [one["number"] for one in rest.json()["items"]] == [1]
    # Decoded again, and gone.
    await pool.execute(
        "INSERT INTO observation.feed (origin, datastream_ids, times) "
        "VALUES ('redecoded', ARRAY[$1::int, $1], $2)",
        stream,
        [NOW - 60 * MINUTE, NOW - 61 * MINUTE],
    )
    assert said(await queue.all()) == [(stream, 11, "redecoded"), (stream, None, "removed")]


async def test_filters_choose_and_what_nobody_wants_is_passed(
    client, registry, observations, pool: Pool, queue: Queue
) -> None:
    bin_ = await make_stream(registry, observations)
    room = await make_stream(registry, observations, "temperature", "Cel", kind="room", tags=[], commune="Brest")
    of_room = await pool.fetchval("SELECT asset_id FROM datastream WHERE id = $1", room)
    endpoint = (await address(client, pool))["id"]
    wanted: dict[int, list[int]] = {}
    for fields, streams in (
        ({}, [bin_, room]), ({"datastream_ids": [bin_]}, [bin_]), ({"asset_ids": [of_room]}, [room]),
        ({"asset_kind": "room"}, [room]), ({"quantity": "fill_level"}, [bin_]), ({"tag": "centre"}, [bin_]),
        ({"commune": "Brest"}, [room]), ({"commune": "Brest", "quantity": "fill_level"}, []),
    ):  # fmt: skip
        made = await subscribe(client, pool, endpoint_id=endpoint, **fields)
        wanted[made["id"]] = streams

    await store(pool, (bin_, MINUTE, 1), (room, MINUTE, 2))
    batches = await queue.turn()

    found = {one["measurement_webhook"]: [item["datastream_id"] for item in one["items"]] for one in batches}
    assert found == {webhook: streams for webhook, streams in wanted.items() if streams}
    for webhook in wanted:  # Also those that got nothing are behind it.
        params = {"after": (await shown(client, {"id": webhook}))["cursor"]}
        assert (await client.get("/v1/measurements", params=params)).json()["items"] == []
    assert await queue.turn() == []
    # Changed, it goes on from where it is.
    path = f"{PATH}/{min(wanted)}"
    answer = await client.patch(path, json={"quantity": "temperature", "batch_most": 1})
    assert (answer.status_code, answer.json()["quantity"]) == (200, "temperature")
    assert (await client.patch(path, json={"quantity": None})).json()["quantity"] is None
    await client.patch(path, json={"quantity": "temperature"})
    await store(pool, (bin_, 2 * MINUTE, 1), (room, 2 * MINUTE, 2))
    assert said([one for one in await queue.turn() if one["measurement_webhook"] == min(wanted)]) == [
        (room, 2, "new")
    ]


BAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"endpoint_id": 999}, "adresse 999 introuvable"),
    ({"quantity": "bruit"}, "grandeur inconnue"),
    ({"key_id": "absente"}, "aucune clé de ce nom"),
    ({"batch_most": 0}, ""),
    ({"batch_most": 1001}, ""),
    ({"batch_seconds": 0}, ""),
    ({"batch_seconds": "10"}, ""),
    ({"datastream_ids": []}, ""),
    ({"datastream_ids": list(range(1, 2002))}, ""),
    ({"from": "hier"}, ""),
    ({"inconnu": 1}, ""),
)


async def test_what_cannot_be_subscribed_is_refused_in_french(
    client, other_client, pool: Pool, tenancy, client_with
) -> None:
    endpoint = (await address(client, pool))["id"]
    theirs = (await address(other_client, pool))["id"]
    alerts = await client.post("/v1/webhook-endpoints", json={"url": "https://si.example.fr/alertes"})
    wrong = (*BAD, ({"endpoint_id": theirs}, "introuvable"), ({"endpoint_id": alerts.json()["id"]}, "purpose"))
    for fields, words in wrong:
        answer = await client.post(PATH, json={"endpoint_id": endpoint} | fields)
        assert (answer.status_code, words in answer.text) == (422, True), (fields, answer.text)
    chat = await client.post(
        "/v1/webhook-endpoints", json={"url": "https://si.example.fr/t", "form": "chat", "purpose": "measurements"}
    )
    assert (chat.status_code, "à un logiciel" in chat.text) == (422, True)
    made = await subscribe(client, pool, endpoint_id=endpoint)
    assert (await client.patch(f"{PATH}/{made['id']}", json={"personal": None})).status_code == 422
    assert (await client.patch(f"{PATH}/{made['id']}", json={"quantity": "bruit"})).status_code == 422
    # Their address is in use, and another's subscription is none.
    used = await client.delete(f"/v1/webhook-endpoints/{endpoint}")
    assert (used.status_code, "webhooks de mesures" in used.text) == (409, True)
    for method, path in (("get", ""), ("patch", ""), ("post", "/stop"), ("post", "/restart"), ("get", "/batches")):
        body = {"json": {"batch_most": 3} if method == "patch" else {}} if method != "get" else {}
        answer = await getattr(other_client, method)(f"{PATH}/{made['id']}{path}", **body)
        assert answer.status_code == 404, (method, path, answer.text)
    assert (await other_client.get(PATH)).json()["items"] == []
    async with client_with("read") as reader:
        assert (await reader.get(PATH)).status_code == 200
        assert (await reader.post(PATH, json={"endpoint_id": endpoint})).status_code == 403
    await pool.execute(
        "INSERT INTO quota (tenant_id, kind, most) VALUES ($1, 'measurement_webhooks', 1)", tenancy.id
    )
    full = await client.post(PATH, json={"endpoint_id": endpoint})
    assert (full.status_code, "webhooks de mesures au plus" in full.text) == (409, True)
    assert (await client.delete(f"{PATH}/{made['id']}")).status_code == 204
    assert (await client.delete(f"/v1/webhook-endpoints/{endpoint}")).status_code == 204
    # Alerts do not go where measurements do.
    await address(client, pool)
    assert await pool.fetchval("SELECT count(*) FROM webhook_endpoint WHERE purpose = 'measurements'") == 2


async def test_rights_are_asked_with_each_batch(
    client, app, stream: int, registry, observations, tenancy, pool: Pool, queue: Queue
) -> None:
    room = await make_stream(registry, observations, "temperature", "Cel", kind="room")
    limited = await create_api_key(pool, tenancy.id, "salles", ("read",), asset_kinds=("room",))
    endpoint = (await address(client, pool))["id"]
    of_key = await subscribe(client, pool, endpoint_id=endpoint, key_id=limited.split("_")[1])
    both = {"endpoint_id": endpoint, "datastream_ids": [stream, room]}
    named = await subscribe(client, pool, **both)
    person = await person_client(app, pool, tenancy.id, "service_manager")
    async with person:
        of_person = await subscribe(person, pool, **both)

    async def sent(ago: int) -> dict[int, list[int]]:
        await store(pool, (stream, ago * MINUTE, 1), (room, ago * MINUTE, 2))
        found = await queue.all()
        return {one["measurement_webhook"]: [item["datastream_id"] for item in one["items"]] for one in found}

    assert await sent(1) == {of_key["id"]: [room], named["id"]: [stream, room], of_person["id"]: [stream, room]}
    # One of two becomes personal data.
    await pool.execute("UPDATE datastream SET privacy_class = 2 WHERE id = $1", room)
    assert await sent(2) == {named["id"]: [stream], of_person["id"]: [stream]}
    assert [(await shown(client, one))["withheld"] for one in (of_key, named)] == [0, 1]
    await client.patch(f"{PATH}/{named['id']}", json={"personal": True})
    assert (await sent(3))[named["id"]] == [stream, room]
    reads = "SELECT count(*) FROM audit WHERE action = 'read' AND actor = $1"
    await pool.execute("UPDATE asset SET privacy_class = 2 WHERE kind = 'room'")
    assert (await sent(4))[named["id"]] == [stream, room]
    assert await pool.fetchval(reads, f"webhook de mesures {named['id']}") == 1
    # All of what it names.
    await pool.execute("UPDATE datastream SET privacy_class = 2 WHERE id = $1", stream)
    assert of_person["id"] not in await sent(5)
    state = await shown(client, of_person)
    assert (state["state"], state["reason"], state["withheld"]) == ("stopped", "personal", 2)
    assert "classe 2" in state["to_do"]
    # The key is revoked, and the person loses the role.
    assert (await client.delete(f"/v1/api-keys/{of_key['key_id']}")).status_code in {200, 204}
    await pool.execute("DELETE FROM membership")
    await client.post(f"{PATH}/{of_person['id']}/restart", json={"from": "now"})
    await pool.execute(
        "UPDATE measurement_webhook SET key_id = NULL, person_id = 1 WHERE id = $1", of_person["id"]
    )
    await sent(6)
    assert [(await shown(client, one))["reason"] for one in (of_key, of_person)] == ["key_ended", "person_gone"]
    told = await pool.fetch("SELECT entity_id FROM audit WHERE entity = 'measurement_webhook'")
    assert len(told) >= 5
    # Restarted, it has the rights of who restarts it.
    again = await client.post(f"{PATH}/{of_key['id']}/restart", json={})
    assert (again.status_code, again.json()["webhook"]["key_id"]) == (200, tenancy.key.split("_")[1])


async def test_what_was_shared_stops_with_the_grant(
    client, other_client, other_tenancy, registry, observations, pool: Pool, queue: Queue
) -> None:
    mine = await make_stream(registry, observations)
    given = await pool.fetchval("SELECT asset_id FROM datastream WHERE id = $1", mine)
    hidden = await make_stream(registry, observations)
    period = {"data_from": (NOW - 10 * MINUTE).isoformat(), "data_to": (NOW - 2 * MINUTE).isoformat()}
    grant = await client.post("/v1/grants", json={"tenant": other_tenancy.slug, "asset_id": given} | period)
    assert grant.status_code == 201, grant.text
    accepted = await other_client.post(f"/v1/grants/{grant.json()['id']}/accept", json={})
    assert accepted.status_code == 200, accepted.text
    endpoint = (await address(other_client, pool))["id"]
    named = await subscribe(other_client, pool, endpoint_id=endpoint, datastream_ids=[mine, hidden])
    everything = await subscribe(other_client, pool, endpoint_id=endpoint)

    await store(pool, *((one, ago * MINUTE, ago) for one in (mine, hidden) for ago in (1, 3, 9, 11)))
    batches = await queue.all()
    ended = await client.delete(f"/v1/grants/{grant.json()['id']}")
    assert ended.status_code in {200, 204}, ended.text
    await store(pool, (mine, 4 * MINUTE, 1))

    # What it measured in the period of the grant, and nothing of the other.
    assert {one["measurement_webhook"] for one in batches} == {named["id"], everything["id"]}
    assert all(said([one]) == [(mine, 3, "new"), (mine, 9, "new")] for one in batches)
    assert await queue.all() == []
    state = await shown(other_client, named)
    assert (state["state"], state["reason"]) == ("stopped", "withdrawn")
    assert (await shown(other_client, everything))["state"] == "active"


async def test_a_cursor_that_is_lost_stops_it_and_says_what_to_do(
    client, stream: int, pool: Pool, queue: Queue, database
) -> None:
    await client.post("/v1/webhook-endpoints", json={"url": "https://si.example.fr/alertes"})
    await prove_all(pool)
    endpoint = (await address(client, pool))["id"]
    forgotten = await subscribe(client, pool, endpoint_id=endpoint)
    await store(pool, (stream, MINUTE, 1))
    admin = await connect(database.admin_url)
    await admin.execute(
        "WITH f AS (DELETE FROM observation.feed RETURNING xid, number) "
        "UPDATE observation.feed_state SET forgotten_xid = f.xid, forgotten_number = f.number FROM f"
    )
    await store(pool, (stream, 2 * MINUTE, 2))
    await dispatch_measurements(queue.alerting, NOW)
    warned = [decode_message(row[0]) for row in await pool.fetch("SELECT payload FROM jobs.pgqueuer")]
    state = await shown(client, forgotten)

    assert (state["state"], state["reason"], "sept jours" in state["to_do"]) == ("stopped", "forgotten", True)
    assert [DeliveryWarning.model_validate_json(one.body).type for one in warned] == [
        "measurement_webhook.stopped"
    ]
    assert warned[0].endpoint_id != endpoint
    path = f"{PATH}/{forgotten['id']}/restart"
    refused = await client.post(path, json={"from": "cursor"})
    assert (refused.status_code, "oldest" in refused.text) == (409, True)
    assert (await client.post(path, json={"from": "oldest"})).status_code == 200
    assert said(await queue.all()) == [(stream, 2, "new")]
    # A restore makes another epoch.
    await admin.execute("SELECT renew_feed()")
    await admin.close()
    await dispatch_measurements(queue.alerting, NOW)
    state = await shown(client, forgotten)
    assert (state["reason"], "restaurée" in state["to_do"]) == ("restored", True)
    assert (await client.post(path, json={"from": "now"})).status_code == 200
    await store(pool, (stream, 3 * MINUTE, 3))
    assert said(await queue.all()) == [(stream, 3, "new")]


async def test_one_that_was_stopped_goes_on_where_it_was_or_elsewhere(
    client, stream: int, pool: Pool, queue: Queue
) -> None:
    webhook = await subscribe(client, pool)
    path = f"{PATH}/{webhook['id']}"
    assert (await client.post(f"{path}/stop")).json()["reason"] == "asked"
    assert (await client.post(f"{path}/stop")).status_code == 409
    await store(pool, (stream, MINUTE, 1))
    assert await queue.all() == []
    assert (await client.post(f"{path}/restart", json={})).json()["webhook"]["state"] == "active"
    assert said(first := await queue.all()) == [(stream, 1, "new")]
    await client.post(f"{path}/restart", json={"from": "oldest"})
    again = await queue.all()
    # It is said once more, by another message of the next number.
    assert said(again) == [(stream, 1, "new")]
    assert (again[0]["id"] != first[0]["id"], again[0]["sequence"]) == (True, 2)
    await store(pool, (stream, 2 * MINUTE, 2))
    await client.post(f"{path}/restart", json={"from": "now"})
    assert await queue.all() == []


async def test_a_receiver_that_is_away_is_waited_for_and_people_are_notified(
    client, stream: int, pool: Pool, alerting: Pool, queue: Queue
) -> None:
    await client.post("/v1/webhook-endpoints", json={"url": "https://si.example.fr/alertes"})
    await prove_all(pool)
    webhook = await subscribe(client, pool)
    path = f"{PATH}/{webhook['id']}"
    await store(pool, (stream, MINUTE, 1))
    await dispatch_measurements(alerting, NOW)
    for ago in (2, 3):  # They wait in the feed.
        await store(pool, (stream, ago * MINUTE, ago))
        await pool.execute("UPDATE measurement_webhook SET next_at = now()")
        assert await dispatch_measurements(alerting, NOW) == 0
    assert (await shown(client, webhook))["state"] == "waiting"
    await warn_of_late_webhooks(alerting, NOW)
    assert await pool.fetchval("SELECT count(*) FROM jobs.pgqueuer") == 1
    # Five days later.
    await pool.execute("UPDATE measurement_webhook SET reached_at = reached_at - interval '5 days 1 minute'")
    for _ in range(2):
        await warn_of_late_webhooks(alerting, datetime.now(UTC))
    rows = await pool.fetch("SELECT payload FROM jobs.pgqueuer ORDER BY id")
    types = [msgspec.json.decode(decode_message(row[0]).body)["type"] for row in rows]
    assert types == ["measurements.changed", "measurement_webhook.late"]
    # Given up, as the worker leaves it.
    entrypoint = f"webhook/{webhook['endpoint_id']}"
    await pool.execute("UPDATE jobs.pgqueuer SET status = 'failed' WHERE entrypoint = $1", entrypoint)
    state = await shown(client, webhook)
    assert (state["state"], "relancez" in state["to_do"]) == ("abandoned", True)
    restarted = (await client.post(f"{path}/restart", json={})).json()
    assert (restarted["replayed"], restarted["webhook"]["state"]) == (1, "waiting")
    assert said(await queue.take_messages()) == [(stream, 1, "new")]
    assert said(await queue.all()) == [(stream, 2, "new"), (stream, 3, "new")]
    assert (await shown(client, webhook))["state"] == "active"
    # Out of service, nothing is made; and what was thrown away is passed.
    await client.patch(f"/v1/webhook-endpoints/{webhook['endpoint_id']}", json={"enabled": False})
    await store(pool, (stream, 4 * MINUTE, 4))
    assert (await queue.turn(), (await shown(client, webhook))["state"]) == ([], "suspended")


async def test_nothing_is_lost_and_nothing_doubled_wherever_it_dies(
    client, stream: int, pool: Pool, alerting: Pool, queue: Queue
) -> None:
    webhook = await subscribe(client, pool, batch_most=7)
    mortal = cast(Pool, MortalPool(alerting, Fuse(19, 20)))
    written: list[str] = []
    deaths = 0
    taken: list[dict[str, Any]] = []
    for round_ in range(60):
        instants = [timedelta(seconds=round_ * 10 + place) for place in range(5)]
        await store(pool, *((stream, ago, 1) for ago in instants))
        written += [(NOW - ago).isoformat().replace("+00:00", "Z") for ago in instants]
        await pool.execute("UPDATE measurement_webhook SET next_at = now()")
        try:
            await dispatch_measurements(mortal, NOW)
        except Crash:
            deaths += 1
        taken += await queue.take_messages()
    taken += await queue.all()

    assert deaths > 20
    assert sorted(item["time"] for batch in taken for item in batch["items"]) == sorted(written)
    assert [batch["sequence"] for batch in taken] == list(range(1, len(taken) + 1))
    assert len({batch["id"] for batch in taken}) == len(taken)
    assert (await shown(client, webhook))["readings"] == len(written)


class Meddled:
    """A pool, and its connections, of which somebody does something else before a statement."""

    def __init__(self, inner: Any, before: str, meddle: Callable[[], Awaitable[object]]) -> None:
        self._inner, self._before, self._meddle = inner, before, meddle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @asynccontextmanager
    async def acquire(self) -> AsyncGenerator["Meddled"]:
        async with self._inner.acquire() as connection:
            yield Meddled(connection, self._before, self._meddle)

    async def fetchval(self, statement: str, *arguments: object) -> Any:
        if statement == self._before:
            await self._meddle()
        return await self._inner.fetchval(statement, *arguments)


async def test_nothing_stays_of_a_batch_that_somebody_overtakes(
    client, stream: int, pool: Pool, alerting: Pool, queue: Queue
) -> None:
    webhook = await subscribe(client, pool)
    path = f"{PATH}/{webhook['id']}"
    for verb, body in (("stop", None), ("restart", {"from": "oldest"})):
        await client.post(f"{path}/restart", json={"from": "now"})
        await store(pool, (stream, MINUTE if verb == "stop" else 2 * MINUTE, 1))

        async def meddle(verb: str = verb, body: Any = body) -> None:
            answer = await client.post(f"{path}/{verb}", json=body)
            assert answer.status_code == 200, answer.text

        meddled = cast(Pool, Meddled(alerting, measurement_cursors.ADVANCE_BY_BATCH, meddle))
        assert await dispatch_measurements(meddled, NOW) == 0
        assert await queue.take_messages() == []
        assert (await shown(client, webhook))["batches"] == 0
    assert len(said(await queue.all())) == 2  # From the oldest on.


async def test_an_address_for_measurements_is_for_nothing_else(client, pool: Pool) -> None:
    endpoint = (await address(client, pool))["id"]
    await client.post("/v1/webhook-endpoints", json={"url": "https://si.example.fr/alertes"})
    await prove_all(pool)
    team = (await client.post("/v1/teams", json={"name": "Voirie"})).json()["id"]
    contact = {"name": "SI", "webhook_endpoint_id": endpoint}
    operator = await client.put(f"/v1/webhook-endpoints/{endpoint}/operator", json={"for_operator": True})

    assert (await client.post(f"/v1/teams/{team}/contacts", json=contact)).status_code == 422
    assert (operator.status_code, "reçoit des mesures" in operator.text) == (422, True)
    async with pool.acquire() as connection:
        told = await endpoints_of(connection, await pool.fetchval("SELECT min(id) FROM tenant"), None, 0, 0)
    assert told == [endpoint + 1]


async def test_an_erasure_makes_the_batch_that_waits_anew(
    client, stream: int, registry, observations, pool: Pool, queue: Queue
) -> None:
    other = await make_stream(registry, observations)
    await subscribe(client, pool)
    await store(pool, (stream, MINUTE, 1), (other, MINUTE, 2))
    await dispatch_measurements(queue.alerting, NOW)
    step = await pool.fetchval("SELECT statement FROM erasure_step WHERE relation = 'measurement_webhook'")
    scope = step.replace("($1).datastream_ids", f"ARRAY[{stream}]").replace(
        "($1).span_datastream_ids", "'{}'::int[]"
    )
    assert await pool.fetchval(scope) == 1
    await pool.execute("DELETE FROM observation.measurement WHERE datastream_id = $1", stream)

    assert said(await queue.all()) == [(stream, None, "removed"), (other, 2, "new")]


@dataclass
class Batches:
    """A receiver of CloudEvents that believes only signatures, and reads batches."""

    secret: str = ""
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    types: set[str] = field(default_factory=set[str])

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str]:
        async def app(_scope: dict[str, Any], receive: Callable[[], Any], send: Callable[..., Any]) -> None:
            body, more = b"", True
            while more:
                part = await receive()
                body, more = body + part.get("body", b""), part.get("more_body", False)
            headers = {name.decode(): value.decode() for name, value in _scope["headers"]}
            self.events += Webhook(self.secret).verify(body, headers)
            self.types.add(headers["content-type"])
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        async with serve_http(app, "127.0.0.1", 0, shutdown_timeout_s=1) as port:
            yield f"http://127.0.0.1:{port}/"


async def test_receivers_verify_what_is_sent_in_either_form(
    client, stream: int, tenancy, pool: Pool, alerting: Pool, database
) -> None:
    await pool.execute("UPDATE tenant SET webhook_allow_list = '{127.0.0.1/32}' WHERE id = $1", tenancy.id)
    keys, received, batches = KeyWrap("kek-1", KEK), Received(), Batches()
    url = database.url_of("alerting")
    async with receive_webhooks(received) as standard_url, batches.serving() as events_url:
        standard = await address(client, pool, url=standard_url)
        events = await address(client, pool, url=events_url, form="cloudevents")
        received.secret, batches.secret = standard["secret"], events["secret"]
        one = await subscribe(client, pool, endpoint_id=standard["id"], batch_most=2)
        await subscribe(client, pool, endpoint_id=events["id"])
        await store(pool, *((stream, place * MINUTE, place) for place in range(1, 6)))
        async with working(alerting, url, keys=keys):
            pushed = Pushed(received, one["id"])

            async def all_arrived() -> bool:
                await dispatch_measurements(alerting, datetime.now(UTC))
                return len(pushed.items) == 5 and len(batches.events) == 5

            await until(all_arrived)

    assert (pushed.wrong, set(pushed.counted("new").values()), received.forged) == ([], {1}, 0)
    assert [len(batch["items"]) for batch in pushed.batches] == [2, 2, 1]
    assert batches.types == {"application/cloudevents-batch+json; charset=utf-8"}
    assert {event["type"] for event in batches.events} == {"fr.territoire.measurement.new"}
    assert [event["data"]["value"] for event in batches.events] == [1, 2, 3, 4, 5]
    assert len({event["id"] for event in batches.events}) == 5
    assert batches.events[0]["subject"] == f"datastreams/{stream}"
    listed = (await client.get(f"{PATH}/{one['id']}/batches")).json()["items"]
    assert [(batch["attempts"], batch["status"], batch["delivered_at"] is not None) for batch in listed] == [
        (1, 204, True)
    ] * 3


async def test_it_holds_up_no_reader_of_the_feed_and_waits_for_who_has_not_committed(
    client, stream: int, pool: Pool, queue: Queue, database
) -> None:
    await subscribe(client, pool)
    slow = await connect(database.service_url)
    await slow.execute("BEGIN")
    await slow.execute("SELECT pg_current_xact_id()")
    await store(pool, (stream, MINUTE, 1))
    assert await queue.all() == []
    await slow.execute("COMMIT")
    await slow.close()
    assert said(await queue.all()) == [(stream, 1, "new")]


async def test_two_replicas_make_each_batch_once(
    client, stream: int, pool: Pool, alerting: Pool, queue: Queue
) -> None:
    await subscribe(client, pool, batch_most=2)
    await store(pool, *((stream, place * MINUTE, 1) for place in range(1, 21)))
    taken: list[dict[str, Any]] = []
    while len(said(taken)) < 20:
        await pool.execute("UPDATE measurement_webhook SET next_at = now()")
        await asyncio.gather(*(dispatch_measurements(alerting, NOW) for _ in range(3)))
        taken += await queue.take_messages()

    assert [batch["sequence"] for batch in taken] == list(range(1, 11))
    assert len({item["time"] for batch in taken for item in batch["items"]}) == 20


async def test_who_is_behind_is_sent_batches_as_fast_as_they_are_taken(
    client, stream: int, pool: Pool, alerting: Pool, queue: Queue
) -> None:
    """Each is taken half a second after it was queued, and by the clock there is no second look."""
    await subscribe(client, pool, batch_most=2)
    await store(pool, *((stream, place * MINUTE, 1) for place in range(1, 9)))
    dispatching = asyncio.create_task(keep_dispatching_measurements(alerting, 3600.0))
    taken: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while len(said(taken)) < 8:
            await asyncio.sleep(0.5)
            taken += await queue.take_messages()
    dispatching.cancel()
    await asyncio.gather(dispatching, return_exceptions=True)

    assert [batch["sequence"] for batch in taken] == [1, 2, 3, 4]
