"""Work orders over the API: made, done, reported by a CMMS, photographed; another tenant's do not exist."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from standardwebhooks import Webhook

from core.runtime.postgres import Pool
from tests.api.conftest import Observations, Registry, Tenancy, client_of
from tests.api.photos import ONE_PIXEL, jpeg

PATH = "/v1/work-orders"


async def test_a_work_order_from_an_alert_is_assigned_done_and_has_its_history(
    client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    registry: Registry,
    observations: Observations,
    tenancy: Tenancy,
    client_with: Any,
) -> None:
    asset = await registry.asset(latitude=48.45, longitude=-4.25)
    alert = await observations.alert(tenancy.id, asset["id"])
    team = (await client.post("/v1/teams", json={"name": "Voirie"})).json()
    due = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    async with client_with("read", "field") as agent:
        made = await agent.post(
            PATH, json={"title": "Voir sur place", "alert_ids": [alert], "team_id": team["id"], "due_at": due}
        )
        assert made.status_code == 201, made.text
        order = made.json()
        assert (order["state"], order["origin"], order["asset_ids"], order["commune"], order["team"]) == (
            "open",
            "person",
            [asset["id"]],
            "Landerneau",
            "Voirie",
        )
        path = f"{PATH}/{order['id']}"
        assigned = (await agent.patch(path, json={"assignee": "M. Le Goff"})).json()
        refused = await agent.patch(path, json={"state": "done"})
        done = {"state": "done", "resolution": "Pile changée\r\net capot refermé", "team_id": None, "due_at": None}
        ended = (await agent.patch(path, json=done)).json()
    assert assigned["state"] == "assigned"
    assert (refused.status_code, "ce qui a été fait" in refused.text) == (422, True)
    # Null empties, absent leaves.
    assert (ended["team_id"], ended["due_at"], ended["assignee"]) == (None, None, "M. Le Goff")
    assert ended["resolution"] == "Pile changée\net capot refermé"
    assert (await client.get(f"/v1/alerts/{alert}")).json()["workflow"] == "resolved"
    assert (await client.post(f"{path}/comments", json={"text": "Facture reçue"})).status_code == 201

    events = (await client.get(f"{path}/events")).json()["items"]
    assert [event["action"] for event in events] == ["opened", "assigned", "done", "commented"]
    assert [event["version"] for event in events] == [1, 2, 3, 4]
    assert events[2]["changes"]["state"] == ["assigned", "done"]

    second = (await client.post(PATH, json={"title": "Autre", "asset_ids": [asset["id"]], "due_at": due})).json()
    for query, found in (
        ({"state": ["open", "assigned"]}, [second["id"]]),
        ({"state": "done", "assignee": "M. Le Goff"}, [order["id"]]),
        ({"asset_id": asset["id"], "limit": 1}, [second["id"]]),
        ({"alert_id": alert, "bbox": "-4.3,48.4,-4.2,48.5"}, [order["id"]]),
        ({"late": True}, [second["id"]]),
        ({"commune": "Brest"}, []),
    ):
        listed = (await client.get(PATH, params=query)).json()
        assert [one["id"] for one in listed["items"]] == found, query
    # What is not there is named, nothing half made; another tenant sees and changes none.
    for wrong in ({"asset_ids": [asset["id"], 999_999]}, {"alert_ids": [999_999]}, {"team_id": 999_999}):
        answer = await client.post(PATH, json={"title": "x", **wrong})
        assert (answer.status_code, "999999 introuvable" in answer.text) == (422, True)
    assert len((await client.get(PATH)).json()["items"]) == 2
    theirs = await other_client.post(PATH, json={"title": "x", "asset_ids": [asset["id"]]})
    assert theirs.status_code == 422
    assert (await other_client.get(PATH)).json()["items"] == []
    assert (await other_client.patch(path, json={"state": "open"})).status_code == 404
    unnamed = await client.patch(path, json={"title": None})
    assert (unnamed.status_code, "ne se vide pas" in unnamed.text) == (422, True)


async def test_a_cmms_reports_the_state_signed_once_and_in_order(
    app: FastAPI, client: httpx.AsyncClient, pool: Pool
) -> None:
    source = (await client.post("/v1/event-sources", json={"name": "GMAO", "purpose": "work_orders"})).json()
    alarms = (await client.post("/v1/event-sources", json={"name": "Centrale"})).json()
    order = (await client.post(PATH, json={"title": "Voir"})).json()
    now = datetime.now(UTC)

    async def report(
        data: dict[str, Any],
        message_id: str,
        at: datetime = now,
        sender: dict[str, Any] = source,
        sent: datetime | None = None,
    ) -> httpx.Response:
        body = json.dumps({"type": "work_order.status", "timestamp": at.isoformat(), "data": data})
        sent = sent or datetime.now(UTC)
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(sent.timestamp())),
            "content-type": "application/json",
            "webhook-signature": Webhook(sender["secret"]).sign(message_id, sent, body),
        }
        async with client_of(app, None) as cmms:
            return await cmms.post(f"/v1/work-order-reports/{sender['id']}", content=body, headers=headers)

    named = {"work_order": order["id"], "reference": "OT-42", "status": "in_progress", "assignee": "Équipe 2"}
    first = await report(named, "m1")
    again = await report(named, "m1")
    done = await report({"reference": "OT-42", "status": "done", "comment": "remplacé"}, "m2")
    late = await report(
        {"reference": "OT-42", "status": "in_progress", "comment": "parti"}, "m3", now - timedelta(1)
    )
    unknown = await report({"reference": "OT-43", "status": "done"}, "m4")
    replayed = await report(named, "m5", sent=now - timedelta(minutes=10))
    not_its_purpose = await report(named, "m6", sender=alarms)

    assert (first.status_code, first.json()) == (202, {"taken": True, "state": "in_progress"})
    assert again.json() == {"taken": False, "state": None}
    assert (done.json()["state"], late.json()["state"]) == ("done", "done")
    assert [one.status_code for one in (unknown, replayed, not_its_purpose)] == [404, 401, 422]
    after = (await client.get(f"{PATH}/{order['id']}")).json()
    assert (after["state"], after["resolution"], after["external_reference"], after["closed_by"]) == (
        "done",
        "remplacé",
        "OT-42",
        "GMAO",
    )
    events = (await client.get(f"{PATH}/{order['id']}/events")).json()["items"]
    assert [(one["action"], one["source_id"]) for one in events[1:]] == [
        ("started", source["id"]),
        ("done", source["id"]),
        ("commented", source["id"]),
    ]
    audited = "SELECT count(*) FROM audit WHERE entity = 'work_order' AND action = 'report'"
    assert await pool.fetchval(audited) == 3


async def test_photos_of_a_work_order_are_stripped_and_its_tenants_alone(
    client: httpx.AsyncClient, other_client: httpx.AsyncClient
) -> None:
    order = (await client.post(PATH, json={"title": "Voir"})).json()
    path = f"{PATH}/{order['id']}/photos"
    sent = {"content": b64encode(jpeg(exif=b"MM\0*GPS")).decode(), "remark": "Avant"}

    made = await client.post(path, json=sent)
    no_photo = await client.post(path, json={"content": b64encode(b"GIF89a").decode()})

    assert (made.status_code, no_photo.status_code) == (201, 422)
    one = f"/v1/work-order-photos/{made.json()['id']}"
    assert (await client.get(one)).content == ONE_PIXEL
    assert (await client.get(path)).json()["items"] == [made.json()]
    for method in ("GET", "DELETE"):
        assert (await other_client.request(method, one)).status_code == 404
    assert (await client.delete(one)).status_code == 204
