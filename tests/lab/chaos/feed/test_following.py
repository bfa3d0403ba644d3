"""The outside readers of `chaos feed`: what each finds wrong, against databases that are written down here."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
from standardwebhooks import Webhook

from lab.chaos.feed.following import Measured, Stored, findings
from lab.chaos.feed.readers import Changed, Event, StreamReader, WebhookReader, events_of, key_of, of_key
from lab.simulator.pushed import TYPE, Pushed
from lab.simulator.receiver import Received, receive_webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = datetime(2027, 3, 2, 8, tzinfo=UTC)
LATER = AT + timedelta(minutes=1)
FIRST, SECOND = key_of(1, AT), key_of(1, LATER)
NOTHING = Stored({}, Counter(), Counter())
# Two readings; the second one was corrected by hand to 9.
STORED = Stored({FIRST: Measured(4, 0), SECOND: Measured(9, 68)}, Counter({FIRST: 1, SECOND: 2}), Counter())
BROUGHT = (
    Changed(1, AT, change="late", value=4),
    Changed(1, LATER, change="new", value=5),
    Changed(1, LATER, change="corrected", value=9),
)


def reader_of(*changes: Changed) -> WebhookReader:
    reader = WebhookReader(Pushed(Received(), 1))
    reader.account.record_changes(changes)
    return reader


def test_an_instant_of_a_datastream_is_one_number_and_back() -> None:
    last = datetime(2110, 1, 1, 12, 0, 0, 999_999, tzinfo=UTC)

    assert [of_key(key_of(*one)) for one in ((1, AT), (2**31 - 1, last))] == [(1, AT), (2**31 - 1, last)]


def test_who_has_each_change_once_and_the_last_values_has_nothing_wrong() -> None:
    assert findings(reader_of(*BROUGHT), STORED, NOTHING) == []


def test_what_is_missing_twice_or_another_value_is_found() -> None:
    late, new, corrected = BROUGHT
    wrong = {
        "changements manquants": (late, new),
        "changements en double": (late, new, corrected, corrected),
        "mesures jamais reçues": (late, corrected, corrected),
        "mesures reçues deux fois": (late, new, new, corrected),
        "valeurs qui ne sont pas celles enregistrées": (late, corrected, new),
        "rien n'est arrivé en retard": (new, corrected),
    }

    for what, changes in wrong.items():
        assert what in "; ".join(findings(reader_of(*changes), STORED, NOTHING))


def delivery(number: int, *, sequence: int, value: float) -> tuple[bytes, dict[str, str]]:
    """Signed by the published reference library."""
    item = {"datastream_id": 1, "time": AT.isoformat(), "change": "new", "value": value}
    data = {"measurement_webhook": 1, "sequence": sequence, "items": [item]}
    body, at = json.dumps({"type": TYPE, "data": data}), datetime.now(UTC)
    signature = Webhook(SECRET).sign(f"msg_{number}", at, body)
    signed = {"webhook-id": f"msg_{number}", "webhook-timestamp": str(int(at.timestamp()))}
    return body.encode(), signed | {"webhook-signature": signature}


def test_a_webhook_that_comes_again_counts_once_and_is_reported() -> None:
    received = Received(SECRET, loses_answer_every=2)
    reader = WebhookReader(Pushed(received, 1))
    answers = [
        received.record_delivery(*delivery(number, sequence=number, value=number))[0] for number in (1, 2, 2, 3)
    ]
    reader.count()

    assert answers == [204, 503, 204, 204]  # Taken all the same: who sent it does not know.
    assert (reader.account.times.total(), reader.repeated, reader.wrong) == (3, 1, [])


def test_an_id_that_comes_again_with_another_content_is_wrong() -> None:
    received = Received(SECRET)
    received.record_delivery(*delivery(1, sequence=1, value=4))
    received.record_delivery(*delivery(1, sequence=1, value=5))

    assert WebhookReader(Pushed(received, 1)).wrong == ["1 messages répétés avec un autre contenu"]


def test_what_is_signed_by_another_or_comes_before_its_secret_is_not_taken() -> None:
    """The second with octets of the body changed under a signature that was right."""
    received, early = Received(SECRET), Received()
    body, headers = delivery(1, sequence=1, value=4)
    answers = [
        received.record_delivery(body, headers)[0],
        received.record_delivery(body.replace(b"4", b"5"), headers)[0],
        early.record_delivery(body, headers)[0],
    ]

    assert answers == [204, 401, 503]
    assert (received.wrong, early.wrong) == (["1 messages mal signés"], [])


async def test_a_delivery_that_is_cut_off_in_its_body_is_none() -> None:
    received = Received(SECRET)
    body, headers = delivery(1, sequence=1, value=4)
    async with receive_webhooks(received) as url:
        parts = urlsplit(url)
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"POST /alertes HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode())
        writer.write(body[: len(body) // 2])
        await writer.drain()
        writer.close()
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(url, content=body, headers=headers)

    assert (answer.status_code, received.wrong, received.ids) == (204, [], {"msg_1": 1})


async def lines(text: str) -> AsyncIterator[str]:
    for line in text.split("\n"):
        yield line


async def test_an_event_that_its_connection_did_not_end_is_none() -> None:
    whole = "retry: 900\n\nid: 7\nevent: values\ndata: [1,\ndata: 2]\n\nevent: beat\ndata: \n\n"
    text = f"{whole}id: 8\nevent: values\ndata: [3]"

    found = [event async for event in events_of(lines(text))]

    assert found == [Event("values", "[1,\n2]", "7"), Event("beat", "", "")]


async def test_a_stream_goes_on_behind_the_last_event_that_has_an_id() -> None:
    async with httpx.AsyncClient() as client:
        reader = StreamReader(client, "first", 5)
        item = [{"datastream_id": 1, "time": AT.isoformat(), "change": "new", "value": 4}]
        for event in (
            Event("values", json.dumps(item), "second"),
            Event("alert", '{"id": 12}', "third"),
            Event("beat", "", ""),
        ):
            reader.record_event(event)

    assert (reader.cursor, dict(reader.account.times)) == ("third", {FIRST: 1})
    assert dict(reader.account.subjects) == {("alert", 12): 1}
