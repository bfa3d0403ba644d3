import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from standardwebhooks import Webhook

from core.runtime.postgres import Pool
from tests.api.conftest import client_of

RAISED = {
    "type": "alarm.raised",
    "data": {"alarm": "intrusion", "message": "porte forcée", "severity": "critical"},
}
CLEARED = {"type": "alarm.cleared", "data": {"alarm": "intrusion"}}
Post = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def source(client) -> dict[str, Any]:
    return (await client.post("/v1/event-sources", json={"name": "Hypervision"})).json()


@pytest.fixture
def post(app: FastAPI, source: dict[str, Any]) -> Post:
    """As the partner does: without a key."""

    async def send(
        event: Any,
        message_id: str = "msg_1",
        *,
        at: datetime | None = None,
        secret: str = "",
        posted: bytes | None = None,
        to: int = 0,
    ) -> httpx.Response:
        at = at or datetime.now(UTC)
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "content-type": "application/json",
            "webhook-signature": Webhook(secret or source["secret"]).sign(message_id, at, body.decode()),
        }
        async with client_of(app, None) as partner:
            path = f"/v1/partner-events/{to or source['id']}"
            return await partner.post(path, content=posted or body, headers=headers)

    return send


async def alerts(client) -> list[dict[str, Any]]:
    return (await client.get("/v1/alerts")).json()["items"]


async def test_a_signed_alarm_is_an_alert_with_a_rule_of_its_own(client, source, post: Post) -> None:
    answer = await post(RAISED)
    [alert] = await alerts(client)
    rule = (await client.get(f"/v1/alert-rules/{alert['rule_id']}")).json()

    assert (answer.status_code, answer.json()) == (202, {"taken": True})
    assert alert["message"].startswith("Hypervision : porte forcée, depuis le ")
    assert (alert["severity"], alert["condition"], alert["workflow"]) == (
        "critical",
        "firing",
        "open",
    )
    assert (rule["name"], rule["kind"]) == (f"partner{source['id']}_intrusion", "partner")
    assert (await client.get(f"/v1/event-sources/{source['id']}")).json()["last_event_at"] is not None


async def test_what_is_sent_again_under_its_id_counts_once(client, post: Post) -> None:
    answers = [(await post(RAISED)).json()["taken"] for _ in range(3)]
    other = await post(RAISED, "msg_2")
    [alert] = await alerts(client)

    assert (answers, other.json()["taken"]) == ([True, False, False], True)
    assert alert["occurrences"] == 2


async def test_an_alarm_that_is_over_waits_for_the_engine_to_say_so(client, post: Post, pool: Pool) -> None:
    before = await post(CLEARED, "msg_0")  # What never began.
    await post(RAISED)
    await post(CLEARED, "msg_2")
    [alert] = await alerts(client)

    assert before.json() == {"taken": True}
    assert (alert["condition"], alert["workflow"]) == ("ok", "open")


async def test_each_asset_has_its_own_alert_and_another_tenants_asset_has_none(
    client, registry, other_registry, post: Post
) -> None:
    first, second = await registry.asset(), await registry.asset()
    theirs = await other_registry.asset()

    def about(asset: dict[str, Any]) -> dict[str, Any]:
        return {"type": "alarm.raised", "data": {"alarm": "feu", "asset_id": asset["id"]}}

    answers = [await post(about(asset), f"msg_{asset['id']}") for asset in (first, second, theirs)]
    refused = await post(about(theirs), f"msg_{theirs['id']}")

    assert [answer.status_code for answer in answers] == [202, 202, 422]
    assert refused.status_code == 422  # A rejected message was not applied.
    assert {alert["asset_id"] for alert in await alerts(client)} == {first["id"], second["id"]}


async def test_two_doors_are_two_alerts_and_the_end_of_one_ends_that_one(client, registry, post: Post) -> None:
    asset = await registry.asset()
    doors = [{"source": "centrale-2", "subject": "porte-3"}, {"source": "centrale-2", "subject": "porte-4"}]
    for number, door in enumerate([*doors, {}, {"subject": "porte-3"}]):
        await post(RAISED | door, f"msg_raised_{number}")
    here = RAISED | doors[0] | {"data": RAISED["data"] | {"asset_id": asset["id"]}}
    await post(here, "msg_here")
    await post(CLEARED | doors[0], "msg_cleared")  # Wherever it is: the partner's own name is enough.
    found = [(alert["subject"], alert["asset_id"], alert["condition"]) for alert in await alerts(client)]

    assert found == [
        ("centrale-2 › porte-3", asset["id"], "ok"),
        ("porte-3", None, "firing"),
        (None, None, "firing"),
        ("centrale-2 › porte-4", None, "firing"),
        ("centrale-2 › porte-3", None, "ok"),
    ]


async def test_an_end_without_a_name_ends_nothing_that_has_one(client, post: Post) -> None:
    await post(RAISED | {"subject": "porte-3"})
    await post(CLEARED, "msg_2")
    [alert] = await alerts(client)

    assert alert["condition"] == "firing"


async def test_what_is_raised_again_within_a_day_is_the_same_alert(client, post: Post, pool: Pool) -> None:
    door = {"subject": "porte-3"}
    await post(RAISED | door)
    [alert] = await alerts(client)
    path = f"/v1/alerts/{alert['id']}"
    await client.post(f"{path}/acknowledge")
    await client.post(f"{path}/resolve", json={"cause": "porte refermée"})
    await post(RAISED | door, "msg_2")
    [again] = await alerts(client)
    events = (await client.get(f"{path}/events")).json()["items"]
    await client.post(f"{path}/resolve", json={"cause": "porte refermée"})
    await pool.execute("UPDATE alert SET resolved_at = resolved_at - interval '25 h'")
    await post(RAISED | door, "msg_3")

    assert (again["id"], again["workflow"], again["occurrences"]) == (alert["id"], "open", 2)
    assert (again["acknowledged_at"], again["resolved_cause"], again["reopen_at"]) == (None, None, None)
    assert [event["action"] for event in events] == ["opened", "acknowledged", "resolved", "reopened"]
    assert [one["id"] == alert["id"] for one in await alerts(client)] == [False, True]


async def test_a_system_that_invents_names_is_stopped(client, post: Post, pool: Pool) -> None:
    await post(RAISED | {"subject": "porte-0"})
    await pool.execute(
        "INSERT INTO alert (tenant_id, rule_id, severity, message, condition, opened_at, subject) "
        "SELECT tenant_id, rule_id, severity, message, condition, opened_at, n::text "
        "FROM alert, generate_series(1, 499) n"
    )
    another = await post(RAISED | {"subject": "porte-501"}, "msg_2")
    known = await post(RAISED | {"subject": "porte-0"}, "msg_3")
    ended = await post(CLEARED | {"subject": "porte-0"}, "msg_4")

    assert (another.status_code, known.status_code, ended.status_code) == (422, 202, 202)
    assert "500 alarmes" in another.text


async def test_a_secret_is_changed_while_the_partner_goes_on(client, other_client, source, post: Post) -> None:
    path = f"/v1/event-sources/{source['id']}/secret"
    rotated = (await client.post(path, json={"keep_former_hours": 1})).json()
    shown = (await client.get(f"/v1/event-sources/{source['id']}")).json()
    during = [await post(RAISED, "msg_1"), await post(RAISED, "msg_2", secret=rotated["secret"])]
    again = (await client.post(path, json={"keep_former_hours": 0})).json()
    after = [
        await post(RAISED, "msg_3"),
        await post(RAISED, "msg_4", secret=rotated["secret"]),
        await post(RAISED, "msg_5", secret=again["secret"]),
    ]
    strangers = await other_client.post(path, json={})

    assert shown["previous_until"] == rotated["previous_until"]
    assert [answer.status_code for answer in during] == [202, 202]
    assert [answer.status_code for answer in after] == [401, 401, 202]
    assert strangers.status_code == 404
    assert "secret" not in shown


async def test_what_is_not_signed_by_the_source_now_is_rejected(client, other_client, source, post: Post) -> None:
    other = (await other_client.post("/v1/event-sources", json={"name": "Autre"})).json()
    now = datetime.now(UTC)
    answers = [
        await post(RAISED, secret=other["secret"]),
        await post(RAISED, to=other["id"]),
        await post(RAISED, to=999_999),
        await post(RAISED, at=now - timedelta(minutes=6)),
        await post(RAISED, at=now + timedelta(minutes=6)),
        await post(RAISED, posted=json.dumps(CLEARED).encode()),
        await post(RAISED, "m" * 201),
    ]
    await client.patch(f"/v1/event-sources/{source['id']}", json={"enabled": False})
    answers.append(await post(RAISED))

    assert [answer.status_code for answer in answers] == [401] * 8
    assert await alerts(client) == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,x"},
        {"webhook-id": "a", "webhook-timestamp": "inf", "webhook-signature": "v1,x"},
        {"webhook-id": "a", "webhook-timestamp": "1e300", "webhook-signature": "v1"},
        {
            "webhook-id": "a",
            "webhook-timestamp": str(int(datetime.now(UTC).timestamp())),
            "webhook-signature": "v1",
        },
    ],
)
async def test_odd_headers_are_rejected(app: FastAPI, source, headers: dict[str, str]) -> None:
    async with client_of(app, None) as partner:
        answer = await partner.post(f"/v1/partner-events/{source['id']}", json=RAISED, headers=headers)

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (b"{", 422),
        (b"[]", 422),
        ({"type": "alarm.raised", "data": {"alarm": "Feu !"}}, 422),
        ({"type": "alarm.raised", "data": {"alarm": "feu", "asset_id": 999_999}}, 422),
        (RAISED | {"subject": ""}, 422),
        (RAISED | {"subject": "p" * 99}, 422),
        (RAISED | {"subject": "porte\0"}, 422),
        (json.dumps(RAISED).encode() + b" " * 20_000, 413),
    ],
)
async def test_what_is_signed_and_makes_no_sense_is_rejected(client, post: Post, event: Any, status: int) -> None:
    answer = await post(event)

    assert (answer.status_code, await alerts(client)) == (status, [])
    assert "should" not in answer.text


async def test_the_rule_that_an_alarm_brought_is_adjusted_and_switched_off(client, post: Post) -> None:
    await post(RAISED)
    [alert] = await alerts(client)
    path = f"/v1/alert-rules/{alert['rule_id']}"
    changed = await client.patch(path, json={"severity": "info", "enabled": False})
    await post(RAISED, "msg_2")
    [still] = await alerts(client)

    assert changed.status_code == 200, changed.text
    assert still["occurrences"] == 1


async def test_a_source_is_made_listed_and_removed(client, other_client, source) -> None:
    nowhere = await client.post("/v1/event-sources", json={"name": "a", "team_id": 999_999})
    listed = (await client.get("/v1/event-sources")).json()["items"]
    removed = await client.delete(f"/v1/event-sources/{source['id']}")

    assert source["secret"].startswith("whsec_")
    assert nowhere.status_code == 422
    assert [one["name"] for one in listed] == ["Hypervision"]
    assert "secret" not in listed[0]
    assert removed.status_code == 204
    assert (await client.get("/v1/event-sources")).json()["items"] == []
