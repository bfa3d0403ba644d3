"""What holds for every route, generated from the OpenAPI document: nobody is forgotten when a route is added."""

import re
import secrets
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from alerting.defaults import DEFAULT_RULES
from api.app import ROUTERS
from api.auth import RequireRight
from core.model.rights import OF_KEYS, ROLES, effective_rights
from core.runtime.postgres import Pool
from registry.asset_attributes import ATTRIBUTES
from registry.people import enter_person
from registry.sessions import open_session
from tests.api.conftest import client_of, make_tenancy, person_client
from tests.api.document import DOCUMENT
from tests.api.photos import jpeg
from tests.api.routes.test_station_updates import give_station_work

# Which right opens each route: a line for every one.
RIGHT_OF = {
    (method.lower(), path): right
    for method, path, right in map(
        str.split, (Path(__file__).parent / "rights_of_routes.txt").read_text().splitlines()
    )
}
PHOTO = b64encode(jpeg()).decode()
COSTS: dict[str, dict[str, Any]] = {
    "contributors": {"name": "A", "periods": [{"since": "2026-01-01", "inhabitants": 1}]},
    "items": {"name": "A", "first_year": 2026, "method": "key", "amount_cents": 1, "shares": [{"basis": "equal"}]},
}
OF_THE_OPERATOR = ("/v1/gateways/unknown", "/v1/refusals", "/v1/eui-claims/pending")
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("put", "/v1/assets/{id}/device"): {"dev_eui": "ff" * 8},
    ("put", "/v1/assets/{id}/parent"): {"parent_id": None},
    ("put", "/v1/assets/{id}/position"): {"latitude": 48.45, "longitude": -4.25},
    ("post", "/v1/assets/{id}/photos"): {"content": PHOTO},
    ("post", "/v1/kits/{id}/versions"): {
        "items": [{"key": "a", "device_profile_id": 1, "asset_kind": "room", "asset_name": "a"}]
    },
    ("put", "/v1/kits/{id}/retired"): {"retired": True},
    ("post", "/v1/kits/{id}/commissionings"): {"site": "s", "devices": [{"item": "a", "dev_eui": "fe" * 8}]},
    ("post", "/v1/kit-commissionings/{id}/acceptance"): {"reservations": "r"},
    ("put", "/v1/cost-contributors/{id}"): {"name": "A", "periods": [{"since": "2026-01-01", "inhabitants": 1}]},
    ("patch", "/v1/work-orders/{id}"): {"priority": "high"},
    ("post", "/v1/work-orders/{id}/comments"): {"text": "vu"},
    ("post", "/v1/work-orders/{id}/photos"): {"content": PHOTO},
    ("post", "/v1/devices/{dev_eui}/downlinks"): {"f_port": 1, "payload": "00"},
    ("patch", "/v1/webhook-endpoints/{id}"): {"enabled": True},
    ("post", "/v1/webhook-endpoints/{id}/proof"): {"code": "00000000"},
    ("patch", "/v1/measurement-webhooks/{id}"): {"batch_most": 100},
    ("put", "/v1/webhook-endpoints/{id}/operator"): {"for_operator": True},
    ("post", "/v1/alerts/{id}/assign"): {"assignee": "voirie"},
    ("post", "/v1/alerts/{id}/comments"): {"text": "vu"},
    ("post", "/v1/alerts/{id}/resolve"): {"cause": "réparé"},
    ("post", "/v1/alerts/{id}/close"): {"reason": "doublon"},
    ("post", "/v1/lighting-campaigns/{id}/refusal"): {"reason": "non"},
    ("put", "/v1/multicast-groups/{id}/devices"): {"dev_euis": []},
    ("post", "/v1/multicast-groups/{id}/messages"): {"f_port": 1, "payload": "00"},
    ("post", "/v1/gateways/unknown/{gateway_id}/claim"): {"name": "Mairie"},
    ("patch", "/v1/gateways/{gateway_id}/station-order"): {"tc_uri": "wss://b.example:443"},
    ("patch", "/v1/lns-sources/{id}"): {"enabled": True},
    ("patch", "/v1/applications/{id}"): {"enabled": True},
    ("put", "/v1/applications/{id}/devices"): {"dev_euis": None},
    ("post", "/v1/codecs/{id}/versions"): {"source": "x"},
    ("put", "/v1/device-profiles/{id}/decoding"): {"codec": "milesight.em400"},
    ("put", "/v1/device-profiles/{id}/shadow"): {"codec_version_id": None},
    ("put", "/v1/device-profiles/{id}/decoding-key"): {"key": "00" * 16},
    ("put", "/v1/devices/{dev_eui}/decoding-key"): {"key": "00" * 16},
    ("post", "/v1/datastreams/{id}/manual-readings"): {"time": datetime.now(UTC).isoformat(), "value": 1},
    ("post", "/v1/datastreams/{id}/meter-changes"): {"at": "2026-11-25T09:30:00Z"},
    ("patch", "/v1/event-sources/{id}"): {"enabled": True},
    ("put", "/v1/teams/{id}"): {"name": "Voirie"},
    ("put", "/v1/lighting/bounds/{id}"): {"earliest_cut": "23:00"},
    ("put", "/v1/lighting-programs/{id}"): {"name": "Coupure", "program": {}},
    ("put", "/v1/lighting-programs/{id}/archived"): {"archived": True},
    ("post", "/v1/lighting-programs/{id}/simulation"): {"latitude": 48.45, "longitude": -4.25},
    ("post", "/v1/lighting-programs/simulation"): {"latitude": 48.45, "longitude": -4.25, "program": {}},
    ("post", "/v1/lighting-programs/assignments"): {"program_id": 1, "commune": "Landerneau"},
    ("post", "/v1/teams/{id}/contacts"): {"name": "Astreinte", "email": "astreinte@ville.example"},
    ("put", "/v1/tenants/{id}/quotas"): {"quotas": {"devices": 1}},
    ("put", "/v1/tenants/{id}/member-of"): {"tenant_id": None},
    ("post", "/v1/invitations"): {"email": "a@b.example", "name": "A", "role": "reader"},
    ("put", "/v1/people/{id}/role"): {"role": "reader"},
    ("put", "/v1/people/{id}/enabled"): {"enabled": True},
    ("put", "/v1/session/tenant"): {"tenant": "autre"},
    ("post", "/v1/session/proof"): {"password": "x"},
    ("put", "/v1/account/password"): {"current": "x", "password": "y"},
    ("post", "/v1/account/totp/confirm"): {"code": "123456"},
    ("patch", "/v1/tenants/{id}"): {"department": "29"},
    ("put", "/v1/tenants/{id}/closed"): {"closed": True},
    ("put", "/v1/tenants/{id}/webhook-allow-list"): {"webhook_allow_list": []},
    ("put", "/v1/assets/{id}/archived"): {"archived": True},
    ("put", "/v1/devices/{dev_eui}/archived"): {"archived": True},
    ("post", "/v1/data-subjects/{id}/erasure"): {"reason": "x", "confirm": "x"},
    ("put", "/v1/assets/{id}/privacy"): {"purpose": "Fuites", "basis": "consent"},
    ("put", "/v1/datastreams/{id}/privacy"): {"purpose": "Fuites", "basis": "consent"},
    ("post", "/v1/assets/{id}/consents"): {"given_by": "A", "given_at": "2026-11-02T09:00:00Z", "document": "B"},
    ("post", "/v1/datastreams/{id}/consents"): {
        "given_by": "A",
        "given_at": "2026-11-02T09:00:00Z",
        "document": "B",
    },
    ("post", "/v1/privacy/confirmations"): {"asset_ids": [1], "privacy_class": 2},
    ("post", "/v1/assets/{id}/transfer"): {"tenant": "sdef", "history": "stays", "confirm": "x"},
    ("patch", "/v1/publications/{id}"): {"delay_seconds": 60},
    ("put", "/v1/publication-hosts"): {"hosts": []},
    ("post", "/v1/eui-claims/{id}/decision"): {"decision": "keep", "reason": "vu"},
    ("patch", "/v1/export-schedules/{id}"): {"enabled": True},
    ("put", "/v1/imports/{id}/parts/{number}"): {"content": "YQ=="},
    ("put", "/v1/photo-uploads/{id}/parts/{number}"): {"content": "YQ=="},
    ("put", "/v1/energy-baselines/{id}/retired"): {"retired": True},
    ("post", "/v1/rounds/{id}/stops/{asset_id}/outcome"): {"outcome": "emptied"},
    ("post", "/v1/rounds/{id}/cancel"): {"reason": "Camion en panne"},
}
# Requests there carry no key: the signature says who sent them (tests/api/routes/test_event_sources.py).
SIGNED = {"/v1/partner-events/{id}", "/v1/work-order-reports/{id}"}
# These are asked before anybody is known (tests/api/routes/test_people.py).
LOGIN = {
    ("post", path)
    for path in (
        "/v1/sessions",
        "/v1/invitations/accept",
        "/v1/password-resets",
        "/v1/password-resets/finish",
    )
}
OIDC = {("get", "/v1/oidc/login"), ("get", "/v1/oidc/callback")}
# What is published, everybody reads (tests/api/routes/test_publications.py).
PUBLIC = {("get", "/v1/public/{slug}")}
OPEN: dict[tuple[str, str], set[str]] = {
    operation: set() for operation in ({("post", path) for path in SIGNED} | LOGIN | OIDC | PUBLIC)
}
OPERATIONS = [
    (method, path)
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if (method, path) not in OPEN
]
QUERIES = {
    "/v1/cost-statements/draft": {"year": 2026},
    "/v1/reports/preview": {"commune": "Landerneau"},
    "/v1/codec-versions/{id}/diff": {"against": 1},
    "/v1/datastreams/{id}/aggregates": {"bucket": "day"},
    "/v1/dwelling-days": {"quantity": "water_volume", "from": "2026-11-01"},
    "/v1/measurements/daily": {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"},
    "/v1/measurements": {"after": "oldest"},
    "/v1/measurements/readings": {"from": "2026-11-01T00:00:00Z"},
    "/v1/measurements/series": {"bucket": "day", "from": "2026-11-01T00:00:00Z"},
    "/v1/waste/days-above": {"from": "2026-11-01"},
    "/v1/waste/emptyings": {"from": "2026-11-01"},
    "/v1/waste/tonnage": {"from": "2026-11-01"},
}
PUBLIC_KEY = "age1tj0dmg7v2qmuhsjdet58n33sn854y5zemqulvgl3gd5jhkuf8qusss6jhd"
DECLARATION = "codec: sonde\nframes:\n  - fields:\n      - {type: u8, quantity: battery_level}\n"
# What may be imported is the same for everybody.
OF_EVERYBODY = "/v1/import-kinds/{kind}/"
ABOUT_ONE_OBJECT = [
    (method, path) for method, path in OPERATIONS if "{" in path and not path.startswith(OF_EVERYBODY)
]


def without(right: str) -> list[str]:
    """Every right of a key but this one, and those that imply it."""
    return sorted(one for one in OF_KEYS if right not in effective_rights([one]))


def example_of(path: str) -> str:
    filled = path.replace("{name}", "open").replace("{dev_eui}", "ab" * 8).replace("{gateway_id}", "ab" * 8)
    filled = filled.replace("{token_id}", "ab" * 8).replace("{account_id}", "ab" * 8)
    filled = filled.replace("{letter_id}", "1").replace("{contact_id}", "1")
    filled = filled.replace("{number}", "1").replace("{kind}", "cabinets").replace("{asset_id}", "1")
    return filled.replace(
        "{id}", "asset-1" if "data-subjects" in path else "abcdef" if "api-keys" in path else "1"
    )


async def ask(client: httpx.AsyncClient, method: str, path: str, template: str) -> httpx.Response:
    body = None if method in {"get", "delete"} else BODIES.get((method, template), {})
    query = QUERIES.get(template, {})
    return await client.request(method, path, json=body, params=query)


def assert_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]


async def test_every_route_asks_for_a_key_that_is_known(app: FastAPI, client_of_key) -> None:
    keys = ("", "nonsense", "terr_abc_def", "terr_" + secrets.token_hex(6) + "_" + secrets.token_urlsafe(32))
    for method, path in OPERATIONS:
        for key in keys:
            async with client_of_key(key) as client:
                answer = await ask(client, method, example_of(path), path)

            assert_problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"


def test_every_route_has_a_line_that_says_which_right_opens_it() -> None:
    demanded = {
        (method.lower(), route.path): {
            one.call.right for one in route.dependant.dependencies if isinstance(one.call, RequireRight)
        }
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods
    }

    assert demanded == {**{operation: {right} for operation, right in RIGHT_OF.items()}, **OPEN}
    assert RIGHT_OF.keys() == set(OPERATIONS)


def test_what_each_role_opens_is_what_the_documentation_says() -> None:
    documented = (Path(__file__).parents[2] / "docs/personnes.md").read_text("utf-8")
    _, _, table = documented.partition("## Rôles")
    lines = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", table, re.MULTILINE))

    assert {role: set(re.findall(r"`(\w+)`", rights)) for role, rights in lines.items()} == {
        name: set(role.rights) for name, role in ROLES.items()
    }


async def test_every_route_asks_for_its_right(client_with) -> None:
    for (method, path), right in RIGHT_OF.items():
        async with client_with(*without(right)) as client:
            answer = await ask(client, method, example_of(path), path)

        assert_problem(answer, 403)


async def test_every_role_opens_what_its_rights_say_and_nothing_else(app: FastAPI, tenancy, pool: Pool) -> None:
    """The rights of routes are above; here one route of each right is asked by each role."""
    route_of = {right: operation for operation, right in RIGHT_OF.items() if operation[0] != "delete"}
    opened: dict[str, set[str]] = {}
    for role in ROLES:
        async with await person_client(app, pool, tenancy.id, role) as client:
            for right, (method, path) in route_of.items():
                answer = await ask(client, method, example_of(path), path)
                assert answer.status_code != 401
                if answer.status_code != 403 or "il faut le droit" not in answer.json()["detail"]:
                    opened.setdefault(role, set()).add(right)

    assert opened == {name: set(role.rights) & route_of.keys() for name, role in ROLES.items()}


WRITE_FILE = """
WITH done AS (UPDATE export_job SET state = 'done', ended_at = now(), octets = 1, digest = sha256('x')
              WHERE id = $1 RETURNING id, tenant_id)
INSERT INTO export_part SELECT id, tenant_id, 0, 1, 'x' FROM done
"""

ROUND = {
    "planned_for": f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}",
    "truck_volume_l": 25_000,
    "truck_weight_kg": 11_000,
    "depot": {"latitude": 48.4, "longitude": -4.5},
    "outlet": {"latitude": 48.4, "longitude": -4.4},
}


FREEZE = """
INSERT INTO energy_baseline (
    tenant_id, asset_id, energy_use, depends_on_weather, since, until, works_since, works_until, n, intercept,
    slope, cv_rmse, residual_s, x_mean, x_spread, dof, months, created_by)
VALUES ($1, $2, 'water', false, '2024-01-01', '2025-01-01', '2025-01-01', '2025-06-01', 12, 1, 0, 0, 0, 0, 0, 11,
    '[]', 'a')
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Theirs:
    """What belongs to another tenant, by the route that shows it."""

    ids: dict[str, str]

    def path(self, template: str) -> str:
        resource = re.match(r"/v1/((lighting/|account/)?[a-z-]+)/\{", template)
        assert resource is not None, template
        return re.sub(r"\{[a-z_]+\}", self.ids[resource[1]], template.replace("/downlinks/{id}", "/downlinks/1"))


@pytest.fixture
async def theirs(app: FastAPI, other_client, other_registry, other_tenancy, observations, pool: Pool) -> Theirs:
    asset = await other_registry.asset()
    device = await other_registry.device(asset_id=asset["id"])
    profile = await other_registry.profile()
    gateway = await other_registry.gateway()
    cabinet = await other_registry.cabinet()
    command = await other_client.post("/v1/lighting/commands", json={"asset_id": cabinet["id"], "action": "on"})
    campaign = await other_client.post(
        "/v1/lighting-campaigns",
        json={"name": "c", "action": "on", "reason": "r", "targets": {"asset_ids": [cabinet["id"]]}},
    )
    program = await other_client.post("/v1/lighting-programs", json={"name": "Coupure", "program": {}})
    member = (await other_client.post("/v1/tenants", json={"slug": "membre", "name": "Membre"})).json()["id"]
    await pool.execute("UPDATE tenant SET member_of = $1 WHERE id = $2", other_tenancy.id, member)
    await other_client.put(f"/v1/lighting/bounds/{member}", json={"earliest_cut": "23:00"})
    endpoint = await other_client.post("/v1/webhook-endpoints", json={"url": "https://si.example.fr/t"})
    pushed = await other_client.post(
        "/v1/webhook-endpoints", json={"url": "https://si.example.fr/m", "purpose": "measurements"}
    )
    webhook = await other_client.post("/v1/measurement-webhooks", json={"endpoint_id": pushed.json()["id"]})
    source = await other_client.post("/v1/lns-sources", json={"kind": "generic", "name": "NB-IoT"})
    application = await other_client.post("/v1/applications", json={"name": "SI", "mqtt_url": "mqtts://a.example"})
    access = await other_client.post("/v1/mqtt-accesses", json={"name": "Node-RED"})
    group = await other_client.post(
        "/v1/multicast-groups",
        json={"name": "rue", "dev_addr": "00c0ffee", "nwk_s_key": "00" * 16, "app_s_key": "11" * 16},
    )
    codec = await other_client.post("/v1/codecs", json={"name": "autre.niveau"})
    version = await other_client.post(
        f"/v1/codecs/{codec.json()['id']}/versions", json={"language": "declarative", "source": DECLARATION}
    )
    account = await other_client.post("/v1/mqtt-accounts", json={"name": "SI", "reads": ["#"]})
    redecode = await other_client.post("/v1/redecodes", json={"dev_eui": device["dev_eui"]})
    async with pool.acquire() as connection:
        person_id = await enter_person(connection, other_tenancy.id, "a@autre.example", "A", "", "reader")
        assert person_id is not None
        assert await open_session(app.state.platform.pool, person_id, other_tenancy.id, "192.0.2.9", "password")
        session_id = await connection.fetchval("SELECT id FROM person_session WHERE person_id = $1", person_id)
    invitation = await other_client.post(
        "/v1/invitations", json={"email": "b@autre.example", "name": "B", "role": "reader"}
    )
    await make_tenancy(pool, "tiers")
    grant = await other_client.post("/v1/grants", json={"tenant": "tiers", "everything": True})
    rule = (await other_client.get("/v1/alert-rules")).json()["items"][0]
    offered = {"tenant": "tiers", "history": "stays", "confirm": asset["name"]}
    transfer = await other_client.post(f"/v1/assets/{asset['id']}/transfer", json=offered)
    third = await make_tenancy(pool, "quart")
    claim = {"kind": "gateway", "eui": gateway["gateway_id"], "reason": "la nôtre"}
    async with client_of(app, third.key) as contester:
        contested = await contester.post("/v1/eui-claims", json=claim)
    calendar = await other_client.put("/v1/alert-calendars", json={"name": "libre", "weekly": [[]] * 7})
    ending = {"reason": "essai", "ends_at": "2100-01-01T00:00:00Z"}
    team = await other_client.post("/v1/teams", json={"name": "Voirie"})
    partner = await other_client.post("/v1/event-sources", json={"name": "Hypervision"})
    recipient = await other_client.post("/v1/key-recipients", json={"name": "Coffre", "public_key": PUBLIC_KEY})
    silence = await other_client.post("/v1/silences", json=ending | {"rule_id": rule["id"]})
    window = await other_client.post("/v1/maintenance-windows", json=ending | {"asset_id": asset["id"]})
    datastream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    erasure = await pool.fetchval(
        "INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by) "
        "VALUES ($1, 'contact', 0, 'x', 'x') RETURNING id",
        other_tenancy.id,
    )
    consent = await other_client.post(
        f"/v1/assets/{asset['id']}/consents", json=BODIES["post", "/v1/assets/{id}/consents"]
    )
    publication = await other_client.post(
        "/v1/publications", json={"asset_id": asset["id"], "name": "Borne", "quantities": ["fill_level"]}
    )
    photo = await other_client.post(f"/v1/assets/{asset['id']}/photos", json={"content": PHOTO})
    order = await other_client.post("/v1/work-orders", json={"title": "Voir", "asset_ids": [asset["id"]]})
    taken = await other_client.post(f"/v1/work-orders/{order.json()['id']}/photos", json={"content": PHOTO})
    line = {"key": "a", "device_profile_id": profile["id"], "asset_kind": "room", "asset_name": "{site}"}
    kit = await other_client.post("/v1/kits", json={"name": "École", "items": [line]})
    site = {"site": "Jules-Ferry", "devices": [{"item": "a", "dev_eui": "fd" * 8}]}
    placed = await other_client.post(f"/v1/kits/{kit.json()['id']}/commissionings", json=site)
    cost = {name: await other_client.post(f"/v1/cost-{name}", json=body) for name, body in COSTS.items()}
    entry = {"contributor_id": cost["contributors"].json()["id"], "basis": "assets"}
    entry |= {"day": "2026-01-01", "quantity": 1}
    cost["entries"] = await other_client.post("/v1/cost-entries", json=entry)
    cost["statements"] = await other_client.post("/v1/cost-statements", json={"year": 2026})
    ticket = {"ticket": "B-1", "stream": "glass", "weighed_at": "2026-11-02T10:00:00Z", "net_kg": 10}
    weighing = await other_client.post("/v1/weighings", json=ticket)
    report = await other_client.post("/v1/reports", json={"commune": asset["commune"], "month": "2026-01"})
    elected = await other_client.post("/v1/teams", json={"name": "Élus"})
    receives = await other_client.post("/v1/report-recipients", json={"team_id": elected.json()["id"]})
    upload = await other_client.post("/v1/photo-uploads", json={"asset_id": asset["id"], "octets": 4})
    job = await other_client.post("/v1/imports", json={"kind": "cabinets"})
    file = await other_client.post("/v1/exports", json={"from": "2026-11-01T00:00:00Z"})
    await pool.execute(WRITE_FILE, file.json()["id"])
    baseline = await pool.fetchval(FREEZE, other_tenancy.id, asset["id"])
    schedule = await other_client.post("/v1/export-schedules", json={"name": "Nuit", "target": "folder"})
    planned = await other_client.post("/v1/rounds", json=ROUND)
    return Theirs(
        {f"cost-{name}": str(answer.json()["id"]) for name, answer in cost.items()}
        | {
            "reports": str(report.json()["id"]),
            "report-recipients": str(receives.json()["id"]),
            "energy-baselines": str(baseline),
            "weighings": str(weighing.json()["id"]),
            "rounds": str(planned.json()["id"]),
            "publications": str(publication.json()["id"]),
            "photos": str(photo.json()["id"]),
            "kits": str(kit.json()["id"]),
            "kit-commissionings": str(placed.json()["id"]),
            "work-orders": str(order.json()["id"]),
            "work-order-photos": str(taken.json()["id"]),
            "photo-uploads": str(upload.json()["id"]),
            "imports": str(job.json()["id"]),
            "exports": str(file.json()["id"]),
            "export-schedules": str(schedule.json()["id"]),
            "consents": str(consent.json()["id"]),
            "tenants": str(other_tenancy.id),
            "people": str(person_id),
            "account/sessions": str(session_id),
            "invitations": str(invitation.json()["id"]),
            "api-keys": other_tenancy.key.split("_")[1],
            "device-profiles": str(profile["id"]),
            "codecs": str(codec.json()["id"]),
            "codec-versions": str(version.json()["id"]),
            "redecodes": str(redecode.json()["id"]),
            "gateways": gateway["gateway_id"],
            "station-updates": str(await give_station_work(other_client, gateway["gateway_id"])),
            "assets": str(asset["id"]),
            "devices": device["dev_eui"],
            "datastreams": str(datastream),
            "alerts": str(await observations.alert(other_tenancy.id, asset["id"])),
            "alert-rules": str(rule["id"]),
            "alert-calendars": str(calendar.json()["id"]),
            "key-recipients": str(recipient.json()["id"]),
            "event-sources": str(partner.json()["id"]),
            "teams": str(team.json()["id"]),
            "silences": str(silence.json()["id"]),
            "maintenance-windows": str(window.json()["id"]),
            "webhook-endpoints": str(endpoint.json()["id"]),
            "measurement-webhooks": str(webhook.json()["id"]),
            "mqtt-accounts": account.json()["id"],
            "mqtt-accesses": str(access.json()["access"]["id"]),
            "lns-sources": str(source.json()["id"]),
            "applications": str(application.json()["id"]),
            "multicast-groups": str(group.json()["id"]),
            "lighting/commands": str(command.json()["id"]),
            "lighting/cabinets": str(cabinet["id"]),
            "lighting/shadows": str(cabinet["id"]),
            "lighting-campaigns": str(campaign.json()["id"]),
            "lighting/bounds": str(member),
            "lighting-programs": str(program.json()["id"]),
            "grants": str(grant.json()["id"]),
            "transfers": str(transfer.json()["id"]),
            "eui-claims": str(contested.json()["id"]),
            "data-subjects": f"asset-{asset['id']}",
            "erasures": str(erasure),
        }
    )


async def test_what_belongs_to_another_tenant_does_not_exist(
    theirs: Theirs, app: FastAPI, tenancy, other_client, pool: Pool
) -> None:
    client = await person_client(app, pool, tenancy.id, "service_manager")
    lines = await pool.fetchval("SELECT count(*) FROM audit")
    async with client:
        for method, template in ABOUT_ONE_OBJECT:
            if RIGHT_OF[method, template] == "operate":
                continue
            answer = await ask(client, method, theirs.path(template), template)

            assert_problem(answer, 404)

    assert await pool.fetchval("SELECT count(*) FROM audit") == lines
    for method, template in ABOUT_ONE_OBJECT:
        if method == "get":  # The same paths do exist, and nothing was harmed.
            assert (await ask(other_client, method, theirs.path(template), template)).status_code == 200


async def test_no_list_shows_what_belongs_to_another_tenant(
    theirs: Theirs, app: FastAPI, tenancy, pool: Pool
) -> None:
    async with await person_client(app, pool, tenancy.id, "service_manager") as client:
        for method, path in OPERATIONS:
            if (
                method != "get"
                or "{" in path
                or path
                in {
                    "/v1/quantities",
                    "/v1/overview",
                    "/v1/cost-statements/draft",
                    "/v1/report-identity",
                    "/v1/report-identity/logo",
                    "/v1/reports/preview",
                    "/v1/reports/preview/report.csv",
                    "/v1/reports/preview/report.pdf",
                    "/v1/network/commune-layer",
                    "/v1/me",
                    "/v1/session",
                    "/v1/audit",
                    "/v1/commune-outlines",
                    "/v1/stream",
                    *OF_THE_OPERATOR,
                }
            ):
                continue
            answer = await ask(client, method, path, path)
            if path.endswith(".csv"):
                assert answer.text.count("\n") == 1, path  # The names of its columns.
                continue
            if path == "/v1/measurements/export":
                assert (answer.status_code, "aucun flux" in answer.text) == (422, True)
                continue
            page = answer.json()

            rules = {"/v1/alert-rules": len(DEFAULT_RULES), "/v1/alert-calendars": 1}
            expected = (
                {
                    "/v1/tenants": 1,
                    "/v1/api-keys": 1,
                    "/v1/people": 1,
                    "/v1/data-subjects": 1,
                    "/v1/account/sessions": 1,
                    "/v1/assignees": 1,
                    "/v1/import-kinds": 11,
                    "/v1/asset-kinds": len(ATTRIBUTES),
                }
                | rules
            ).get(path, 0)
            found = page.get("features" if path == "/v1/assets/map" else "items")
            assert found is not None, (path, page)
            assert len(found) == expected, path


async def test_every_change_is_noted_with_who_made_it(client, registry, tenancy, pool: Pool) -> None:
    asset = await registry.asset()
    device = await registry.device(asset_id=asset["id"])

    lines = await pool.fetch("SELECT actor, action, entity, entity_id, details::text FROM audit ORDER BY id")

    assert [(line["action"], line["entity"]) for line in lines] == [
        ("create", "asset"),
        ("create", "device_profile"),
        ("create", "device"),
    ]
    assert {line["actor"] for line in lines} == {"clé de sdef"}
    assert all(tenancy.key.split("_")[1] in line["details"] for line in lines)  # A name may be given twice.
    assert lines[2]["entity_id"] == device["dev_eui"]


def test_every_operation_is_described_and_says_its_errors() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            answers = {"401", "403", "404", "422", "503"}
            answers |= {"400", "408", "413"} if "requestBody" in operation else set()
            answers |= {"429"} if operation.get("security") else set()
            assert answers <= operation["responses"].keys(), (method, path)
            assert operation.get("security") or (method, path) in LOGIN | OIDC | PUBLIC, (method, path)


def test_keys_are_written_and_never_read() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    secret_names = {"app_key", "nwk_s_key", "app_s_key"}

    naming = {name for name, schema in schemas.items() if secret_names & schema.get("properties", {}).keys()}

    # The export alone gives keys, and encrypted for their recipient: no schema of an answer names one.
    assert naming == {"NewDevice", "NewMulticastGroup", "ImportedDeviceBody", "SessionBody", "KitDevice"}
    assert {path for path, methods in DOCUMENT["paths"].items() if "KeyExport" in str(methods)} == {
        "/v1/key-exports"
    }
