"""Each route that changes something is used once, and leaves who, from where, what was before and is after."""

import base64
import json
import secrets
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pyotp.totp import TOTP
from standardwebhooks import Webhook

from alerting import proof
from alerting.mail import Mailer, MailRejected
from alerting.queue import WebhookMessage
from api.app import ROUTERS, create_app
from api.dependencies import Access
from api.routes import commune_outlines
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from decoders.javascript.pool import CodecPool
from lighting.shadows import write_desired
from registry.keys import KeyWrap
from registry.passwords import Passwords
from registry.people import enter_person
from tests.api.conftest import KEK, Observations, Registry, Tenancy, client_of
from tests.api.metering import daily
from tests.api.photos import jpeg
from tests.api.pictures import png
from tests.api.routes.test_station_updates import signed_update
from tests.proved import prove_all

PASSWORD, ANOTHER = "trois chats gris dorment", "quatre chiens noirs courent"
SOURCE = "function decodeUplink(input) { return { data: { distance: input.bytes[0] } }; }"
FASTER = SOURCE.replace("[0]", "[1]")
MAPPING = [{"path": "distance", "quantity": "distance", "channel": ""}]
PUBLIC_KEY = "age1tj0dmg7v2qmuhsjdet58n33sn854y5zemqulvgl3gd5jhkuf8qusss6jhd"
CHANGES = {"POST", "PUT", "PATCH", "DELETE"}
# Nothing is stored.
PROGRAMS = "/v1/lighting-programs"
SIMULATIONS = {("POST", PROGRAMS + "/simulation"), ("POST", PROGRAMS + "/{id}/simulation")}
TRIALS = {("POST", "/v1/alert-rules/trial"), ("POST", "/v1/codecs/try"), *SIMULATIONS}
# A stranger's: the line says from where, and which account.
OF_NOBODY = {("POST", "/v1/password-resets")}
READ_LINES = "SELECT tenant_id, actor, action, entity, details FROM audit WHERE id > $1 ORDER BY id"
LAST_LINE = "SELECT coalesce(max(id), 0) FROM audit"
LAST_MESSAGE = "SELECT payload FROM jobs.pgqueuer ORDER BY id DESC LIMIT 1"
# One may be sent every ten seconds.
FORGET_PROBES = "DELETE FROM webhook_probe"
# What an answer shows once.
SHOWN_ONCE = ("secret", "password", "token", "key")


class Journey:
    """Asks one route after the other, and keeps what each has left in the audit."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.used: set[tuple[str, str]] = set()
        self.silent: dict[tuple[str, str], Any] = {}
        self.secrets: set[str] = set()

    async def __call__(
        self, client: httpx.AsyncClient, method: str, template: str, body: Any = None, **ids: Any
    ) -> Any:
        last = await self._pool.fetchval(LAST_LINE)
        path = template.format(**ids)
        answer = await client.request(method, path, json=body)
        assert answer.status_code < 300, (method, path, answer.text)
        lines = [dict(row) for row in await self._pool.fetch(READ_LINES, last)]
        self.used.add((method, template))
        if not any(self._says_all(line, method, template) for line in lines):
            self.silent[method, template] = lines
        answered = answer.json() if answer.content else {}
        self.secrets |= {answered[name] for name in SHOWN_ONCE if name in answered}
        return answered

    def _says_all(self, line: dict[str, Any], method: str, template: str) -> bool:
        details = line["details"]
        is_named = bool(details.keys() & {"api_key", "person", "event_source"}) or (method, template) in OF_NOBODY
        return is_named and bool(details.get("address")) and bool(details.keys() & {"before", "after"})


class NoMail:
    """Takes no mail: who invites is shown the link."""

    async def send_text(self, *_message: Any) -> None:
        raise MailRejected(None, "no mail here")


@pytest.fixture
async def app(api_pool: Pool, bus: Bus) -> AsyncGenerator[FastAPI]:
    workers = CodecPool(1)
    await workers.start()
    try:
        access = Access(mailer=cast("Mailer", NoMail()), mqtt_url="mqtts://mqtt.example.fr")
        app = create_app(api_pool, bus, KeyWrap("kek-1", KEK), 4, workers, access)
        app.state.changes.close()  # A stream has no end that could be waited for.
        yield app
    finally:
        await workers.close()


@pytest.fixture
def person(app: FastAPI, pool: Pool, tenancy: Tenancy) -> Callable[[str, str], Any]:
    """A browser in which somebody of this role has logged in."""

    @asynccontextmanager
    async def opened(name: str, role: str) -> AsyncGenerator[tuple[int, httpx.AsyncClient]]:
        hashed = await Passwords().hash_of(PASSWORD)
        async with pool.acquire() as connection:
            made = await enter_person(connection, tenancy.id, f"{name}@ville.example", name, hashed, role)
        assert made is not None
        async with browser(app) as client:
            await log_in(client, name)
            yield made, client

    return opened


def browser(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("192.0.2.1", 4711))
    return httpx.AsyncClient(transport=transport, base_url="https://api")


async def log_in(client: httpx.AsyncClient, name: str, password: str = PASSWORD) -> None:
    answer = await client.post("/v1/sessions", json={"email": f"{name}@ville.example", "password": password})
    assert answer.status_code == 201, answer.text
    client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]


async def test_every_route_that_changes_something_says_who_from_where_before_and_after(
    app: FastAPI,
    client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    registry: Registry,
    observations: Observations,
    tenancy: Tenancy,
    other_tenancy: Tenancy,
    person: Any,
    pool: Pool,
) -> None:
    ask = Journey(pool)
    await tenant_changes(ask, client, tenancy)
    await gateway_changes(ask, client, pool)
    await station_changes(ask, client, registry)
    await registry_changes(ask, client, registry, observations)
    await privacy_changes(ask, client, registry, observations)
    await decoding_changes(ask, client, registry, pool)
    await clock_changes(ask, client, registry, pool)
    await alerting_changes(ask, client, registry, observations, tenancy, pool)
    await integration_changes(ask, app, client, registry, pool)
    await sharing_changes(ask, client, other_client, registry, other_tenancy)
    await contested_changes(ask, client, other_client)
    await publication_changes(ask, client, registry, person)
    await baseline_changes(ask, client, registry, observations)
    await campaign_changes(ask, client, registry, person, pool, other_tenancy.id)
    await people_changes(ask, app, client, person, pool)

    changing = {
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods & CHANGES
    }
    assert changing - ask.used == set(), "used by no line of this test: add one"
    assert ask.silent.keys() == TRIALS, ask.silent
    lines = await pool.fetch("SELECT details::text AS text, details FROM audit")
    assert ask.secrets
    assert not any(
        secret in line["text"] for line in lines for secret in (*ask.secrets, *SECRETS, PASSWORD, ANOTHER)
    )


SECRETS = ("0f" * 16, "1e" * 16, "S3CRET-DU-PARTENAIRE")


async def tenant_changes(ask: Journey, client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    await ask(client, "PATCH", "/v1/tenants/{id}", {"department": "57"}, id=tenancy.id)
    made = await ask(client, "POST", "/v1/tenants", {"slug": "brest", "name": "Brest"})
    allowed = {"webhook_allow_list": ["10.12.0.0/16"]}
    await ask(client, "PUT", "/v1/tenants/{id}/webhook-allow-list", allowed, id=made["id"])
    await ask(client, "PUT", "/v1/tenants/{id}/closed", {"closed": False}, id=made["id"])
    await ask(client, "PUT", "/v1/tenants/{id}/member-of", {"tenant_id": tenancy.id}, id=made["id"])
    await ask(client, "PUT", "/v1/lighting/bounds/{id}", {"earliest_cut": "23:00"}, id=made["id"])
    await ask(client, "DELETE", "/v1/lighting/bounds/{id}", id=made["id"])
    await ask(client, "PUT", "/v1/tenants/{id}/quotas", {"quotas": {"devices": 4000}}, id=made["id"])
    key = await ask(client, "POST", "/v1/api-keys", {"name": "SI", "roles": ["read"]})
    await ask(client, "PATCH", "/v1/api-keys/{id}", {"name": "SIG"}, id=key["id"])
    await ask(client, "DELETE", "/v1/api-keys/{id}", id=key["id"])


async def gateway_changes(ask: Journey, client: httpx.AsyncClient, pool: Pool) -> None:
    gateway = {"name": "Mairie"}
    eui, unknown = secrets.token_hex(8), secrets.token_hex(8)
    await ask(client, "POST", "/v1/gateways", gateway | {"gateway_id": eui})
    await ask(client, "PATCH", "/v1/gateways/{gateway_id}", {"name": "Eglise"}, gateway_id=eui)
    tokens = "/v1/gateways/{gateway_id}/tokens"
    token = await ask(client, "POST", tokens, {}, gateway_id=eui)
    token_id = token["token"].split("_")[1]
    await ask(client, "DELETE", tokens + "/{token_id}", gateway_id=eui, token_id=token_id)
    accounts = "/v1/gateways/{gateway_id}/mqtt-accounts"
    account = await ask(client, "POST", accounts, {}, gateway_id=eui)
    await ask(client, "DELETE", accounts + "/{account_id}", gateway_id=eui, account_id=account["id"])
    await ask(client, "DELETE", "/v1/gateways/{gateway_id}", gateway_id=eui)
    await pool.execute("INSERT INTO unknown_gateway VALUES ($1, 'udp', '', now(), now())", bytes.fromhex(unknown))
    await ask(client, "POST", "/v1/gateways/unknown/{gateway_id}/claim", gateway, gateway_id=unknown)


async def station_changes(ask: Journey, client: httpx.AsyncClient, registry: Registry) -> None:
    gateway = await registry.gateway()
    ids = {"gateway_id": gateway["gateway_id"]}
    update = await ask(client, "POST", "/v1/station-updates", signed_update())
    wanted = {"tc_uri": "wss://b.example:443", "update_id": update["id"]}
    await ask(client, "PATCH", "/v1/gateways/{gateway_id}/station-order", wanted, **ids)
    await ask(client, "POST", "/v1/station-orders", wanted)
    await ask(client, "DELETE", "/v1/gateways/{gateway_id}/station-order", **ids)
    await ask(client, "DELETE", "/v1/station-updates/{id}", id=update["id"])


async def registry_changes(
    ask: Journey, client: httpx.AsyncClient, registry: Registry, observations: Observations
) -> None:
    asset = await ask(client, "POST", "/v1/assets", {"kind": "room", "name": "Salle 1"})
    floor = await registry.asset(kind="floor")
    await ask(client, "PATCH", "/v1/assets/{id}", {"name": "Salle 2"}, id=asset["id"])
    await ask(client, "PUT", "/v1/assets/{id}/parent", {"parent_id": floor["id"]}, id=asset["id"])
    profile = await ask(
        client,
        "POST",
        "/v1/device-profiles",
        {"name": "p", "vendor": "Milesight", "model": "EM", "codec": "milesight.em400"},
    )
    await ask(client, "PATCH", "/v1/device-profiles/{id}", {"name": "q"}, id=profile["id"])
    device = {"join_eui": "70b3d57ed0001000", "name": "capteur", "device_profile_id": profile["id"]}
    device |= {"app_key": SECRETS[0]}
    first, second, third = (secrets.token_hex(8) for _ in range(3))
    await ask(client, "POST", "/v1/devices", device | {"dev_eui": first})
    await ask(client, "POST", "/v1/devices", device | {"dev_eui": second})
    await ask(client, "PATCH", "/v1/devices/{dev_eui}", {"name": "sonde"}, dev_eui=first)
    await ask(client, "PUT", "/v1/assets/{id}/device", {"dev_eui": first}, id=asset["id"])
    downlink = {"f_port": 10, "payload": "01"}
    queued = await ask(client, "POST", "/v1/devices/{dev_eui}/downlinks", downlink, dev_eui=first)
    await ask(client, "POST", "/v1/devices/{dev_eui}/downlinks/{id}/cancel", dev_eui=first, id=queued["id"])
    commands = (await client.get(f"/v1/devices/{first}/commands")).json()["items"]
    command = next(one for one in commands if one["name"] == "reboot")
    order = {"parameters": {}, "preview": False}
    template = "/v1/devices/{dev_eui}/commands/{name}"
    await ask(client, "POST", template, order, dev_eui=first, name=command["name"])
    await ask(client, "DELETE", "/v1/devices/{dev_eui}/dev-nonces", dev_eui=first)
    await ask(client, "POST", "/v1/dev-nonce-flushes", {"dev_euis": [first]})
    key_of_meter = {"key": SECRETS[1]}
    for path, ids in (
        ("/v1/devices/{dev_eui}/decoding-key", {"dev_eui": first}),
        ("/v1/device-profiles/{id}/decoding-key", {"id": profile["id"]}),
    ):
        await ask(client, "PUT", path, key_of_meter, **ids)
        await ask(client, "DELETE", path, **ids)
    imported = {"dev_eui": third, "join_eui": device["join_eui"], "device_profile_id": profile["id"]}
    await ask(client, "POST", "/v1/device-imports", {"devices": [imported | {"app_key": SECRETS[0]}]})
    await ask(client, "DELETE", "/v1/devices/{dev_eui}", dev_eui=second)

    stream = await observations.datastream(first, asset["id"], "water_volume", "m3")
    changes = "/v1/datastreams/{id}/meter-changes"
    change = await ask(client, "POST", changes, {"at": "2026-11-25T09:30:00Z"}, id=stream)
    one = changes + "/{change_id}"
    await ask(client, "PATCH", one, {"final_index": 8412}, id=stream, change_id=change["id"])
    await ask(client, "DELETE", one, id=stream, change_id=change["id"])
    reading = {"time": datetime.now(UTC).isoformat(), "value": 12}
    await ask(client, "POST", "/v1/datastreams/{id}/manual-readings", reading, id=stream)
    await ask(client, "DELETE", "/v1/assets/{id}/device", id=asset["id"])
    await ask(client, "PUT", "/v1/assets/{id}/position", {"latitude": 48.45, "longitude": -4.25}, id=asset["id"])
    content = {"content": b64encode(jpeg()).decode()}
    photo = await ask(client, "POST", "/v1/assets/{id}/photos", content, id=asset["id"])
    await ask(client, "DELETE", "/v1/photos/{id}", id=photo["id"])
    for path, ids in (("/v1/assets/{id}", {"id": asset["id"]}), ("/v1/devices/{dev_eui}", {"dev_eui": first})):
        await ask(client, "PUT", path + "/archived", {"archived": True}, **ids)
    await switching_changes(ask, client, registry)


async def switching_changes(ask: Journey, client: httpx.AsyncClient, registry: Registry) -> None:
    cabinet = await registry.cabinet()
    order = {"asset_id": cabinet["id"], "action": "on"}
    await ask(client, "POST", "/v1/lighting/commands", order)
    program = await ask(client, "POST", PROGRAMS, {"name": "Coupure", "program": {}})
    dimmed = {"name": "Coupure", "program": {"coefficient": 0.9}}
    await ask(client, "PUT", PROGRAMS + "/{id}", dimmed, id=program["id"])
    where = {"latitude": 48.45, "longitude": -4.25, "program": {}}
    await ask(client, "POST", PROGRAMS + "/simulation", where)
    await ask(client, "POST", PROGRAMS + "/{id}/simulation", where, id=program["id"])
    follow = {"program_id": program["id"], "asset_ids": [cabinet["id"]]}
    await ask(client, "POST", PROGRAMS + "/assignments", follow)
    await ask(client, "POST", PROGRAMS + "/assignments", follow | {"program_id": None})
    await ask(client, "PUT", PROGRAMS + "/{id}/archived", {"archived": True}, id=program["id"])
    group = {"name": "rue", "dev_addr": "00c0ffee", "nwk_s_key": SECRETS[0], "app_s_key": SECRETS[1]}
    made = await ask(client, "POST", "/v1/multicast-groups", group)
    groups = "/v1/multicast-groups/{id}"
    await ask(client, "PUT", groups + "/devices", {"dev_euis": []}, id=made["id"])
    message = {"f_port": 10, "payload": "01", "reason": "essai"}
    await ask(client, "POST", groups + "/messages", message, id=made["id"])
    await ask(client, "DELETE", groups, id=made["id"])


async def privacy_changes(
    ask: Journey, client: httpx.AsyncClient, registry: Registry, observations: Observations
) -> None:
    home = await registry.asset(kind="dwelling")
    device = await registry.device(asset_id=home["id"])
    stream = await observations.datastream(device["dev_eui"], home["id"], "water_volume", "m3")
    purpose = {"purpose": "Recherche de fuites", "basis": "consent"}
    consent = {"given_by": "L'occupante", "given_at": "2026-11-02T09:00:00Z", "document": "GED 4471"}
    for path, id_ in (("/v1/assets/{id}", home["id"]), ("/v1/datastreams/{id}", stream)):
        await ask(client, "PUT", path + "/privacy", purpose, id=id_)
        given = await ask(client, "POST", path + "/consents", consent, id=id_)
        await ask(client, "POST", "/v1/consents/{id}/end", id=given["id"])
    confirmation = {"asset_ids": [home["id"]], "privacy_class": 2, "confirm": True}
    await ask(client, "POST", "/v1/privacy/confirmations", confirmation)
    erasure = {"reason": "Demande de l'occupante", "confirm": home["name"]}
    await ask(client, "POST", "/v1/data-subjects/{id}/erasure", erasure, id=f"asset-{home['id']}")


async def publication_changes(ask: Journey, client: httpx.AsyncClient, registry: Registry, person: Any) -> None:
    hall = await registry.asset(kind="room", privacy_class=1)
    await ask(client, "POST", "/v1/commune-outlines", {"features": [commune_outlines.EXAMPLE]})
    await ask(client, "PUT", "/v1/publication-hosts", {"hosts": ["https://www.ville.example"]})
    shown = {"asset_id": hall["id"], "name": "Salle des fêtes", "quantities": ["temperature"]}
    made = await ask(client, "POST", "/v1/publications", shown)
    path, id_ = "/v1/publications/{id}", made["id"]
    await ask(client, "PATCH", path, {"delay_seconds": 60}, id=id_)
    async with person("responsable", "service_manager") as (_, browser):
        await ask(browser, "POST", path + "/approval", id=id_)
    await ask(client, "POST", path + "/withdrawal", id=id_)


async def baseline_changes(
    ask: Journey, client: httpx.AsyncClient, registry: Registry, observations: Observations
) -> None:
    school = await registry.asset(kind="building")
    device = await registry.device()
    index = await observations.datastream(device["dev_eui"], school["id"], "water_volume", "L")
    await observations.readings(index, daily(date(2024, 1, 1), 366, lambda _: 1000))
    baseline = {"asset_id": school["id"], "use": "water", "depends_on_weather": False}
    baseline |= {"from": "2024-01", "to": "2024-12", "works_from": "2025-01-01", "works_to": "2025-06-30"}
    made = await ask(client, "POST", "/v1/energy-baselines", baseline)
    await ask(client, "PUT", "/v1/energy-baselines/{id}/retired", {"retired": True}, id=made["id"])


async def campaign_changes(
    ask: Journey, client: httpx.AsyncClient, registry: Registry, person: Any, pool: Pool, above: int
) -> None:
    cabinet = await registry.cabinet()
    wanted = {"name": "c", "action": "on", "reason": "r", "targets": {"asset_ids": [cabinet["id"]]}}
    made = await ask(client, "POST", "/v1/lighting-campaigns", wanted)
    path, id_ = "/v1/lighting-campaigns/{id}", made["id"]
    async with person("adjointe", "service_manager") as (_, browser):
        await ask(browser, "POST", path + "/approval", id=id_)
        await ask(client, "POST", path + "/pause", id=id_)
        await ask(browser, "POST", path + "/resumption", id=id_)
    await ask(client, "POST", path + "/cancellation", id=id_)
    await ask(client, "POST", "/v1/lighting/all-on", {"reason": "r", "preview": False})
    proposed = await ask(client, "POST", "/v1/lighting-campaigns", wanted)
    # As if another tenant, whose syndicat this is, had proposed it.
    await pool.execute("DELETE FROM lighting_campaign_target WHERE campaign_id = $1", proposed["id"])
    await pool.execute(
        "UPDATE lighting_campaign SET tenant_id = $2, decided_by = tenant_id, outside = 'o' WHERE id = $1",
        proposed["id"],
        above,
    )
    async with person("préfète", "service_manager") as (_, browser):
        await ask(browser, "POST", path + "/refusal", {"reason": "r"}, id=proposed["id"])


async def clock_changes(ask: Journey, client: httpx.AsyncClient, registry: Registry, pool: Pool) -> None:
    profile = await registry.profile(codec="territoire.clock", device_class="C", capabilities=["switch"])
    cabinet = await registry.asset(kind="lighting_cabinet")
    await registry.device(profile, asset_id=cabinet["id"])
    await write_desired(pool, datetime.now(UTC))
    await pool.execute("UPDATE lighting_shadow SET reported_at = now() WHERE asset_id = $1", cabinet["id"])
    await ask(client, "POST", "/v1/lighting/shadows/{id}/program", id=cabinet["id"])


async def decoding_changes(ask: Journey, client: httpx.AsyncClient, registry: Registry, pool: Pool) -> None:
    codec = await ask(client, "POST", "/v1/codecs", {"name": "acme.t"})
    versions = "/v1/codecs/{id}/versions"
    first = await ask(client, "POST", versions, {"source": SOURCE}, id=codec["id"])
    second = await ask(client, "POST", versions, {"source": FASTER}, id=codec["id"])
    await ask(client, "POST", "/v1/codecs/try", {"source": SOURCE, "frames": [{"f_port": 1, "payload": "15"}]})
    await pool.execute(
        "UPDATE codec_version SET quarantined_at = now(), quarantine_reason = 'SLOW' WHERE id = $1", second["id"]
    )
    await ask(client, "POST", "/v1/codec-versions/{id}/release", id=second["id"])
    profile = await registry.profile()
    path, id_ = "/v1/device-profiles/{id}", profile["id"]
    pointed = {"codec_version_id": first["id"], "mapping": MAPPING}
    await ask(client, "PUT", path + "/decoding", pointed, id=id_)
    await ask(client, "PUT", path + "/shadow", {"codec_version_id": second["id"]}, id=id_)
    await ask(client, "POST", path + "/switch", {}, id=id_)
    await ask(client, "POST", path + "/rollback", {}, id=id_)
    await ask(client, "POST", path + "/mapping", {"remove": ["distance"]}, id=id_)
    offered = await ask(client, "POST", "/v1/codecs", {"name": "acme.offert", "shared": True})
    version = await ask(client, "POST", versions, {"source": SOURCE}, id=offered["id"])
    shared = await registry.profile(
        shared=True, codec=None, codec_version_id=version["id"], mapping=MAPPING, name="offert"
    )
    await ask(client, "PUT", path + "/decoding", pointed, id=shared["id"])
    await ask(client, "DELETE", path + "/decoding", id=shared["id"])
    model = {"name": "Acme 3", "vendor": "Acme", "model": "3", "mapping": MAPPING}
    body = {"name": "acme.niveau", "vendor": "Acme", "source": SOURCE, "profiles": [model]}
    await ask(client, "POST", "/v1/codec-imports", body)
    job = await ask(client, "POST", "/v1/redecodes", {})
    await ask(client, "POST", "/v1/redecodes/{id}/cancel", id=job["id"])
    job = await ask(client, "POST", "/v1/imports", {"kind": "cabinets"})
    await ask(client, "PUT", "/v1/imports/{id}/parts/{number}", {"content": "YQ=="}, id=job["id"], number=1)
    await ask(client, "POST", "/v1/imports/{id}/start", id=job["id"])
    await ask(client, "POST", "/v1/imports/{id}/cancel", id=job["id"])
    trial = await ask(client, "POST", "/v1/imports", {"kind": "cabinets", "dry_run": True})
    await ask(client, "PUT", "/v1/imports/{id}/parts/{number}", {"content": "YQ=="}, id=trial["id"], number=1)
    await pool.execute("UPDATE import_job SET state = 'done', ended_at = now() WHERE id = $1", trial["id"])
    await ask(client, "POST", "/v1/imports/{id}/confirm", id=trial["id"])
    await exports_change(ask, client, registry, pool)


async def exports_change(ask: Journey, client: httpx.AsyncClient, registry: Registry, pool: Pool) -> None:
    device = await registry.device()
    await pool.execute(
        "INSERT INTO datastream (tenant_id, device_id, quantity, unit) "
        "SELECT tenant_id, id, 'fill_level', '%' FROM device WHERE dev_eui = $1",
        bytes.fromhex(device["dev_eui"]),
    )
    file = await ask(client, "POST", "/v1/exports", {"from": "2026-11-01T00:00:00Z"})
    await ask(client, "POST", "/v1/exports/{id}/cancel", id=file["id"])
    schedule = await ask(client, "POST", "/v1/export-schedules", {"name": "Nuit", "target": "folder"})
    at = "/v1/export-schedules/{id}"
    await ask(client, "PATCH", at, {"enabled": False}, id=schedule["id"])
    await pool.execute("UPDATE export_schedule SET test_wanted = false")
    await ask(client, "POST", f"{at}/test", id=schedule["id"])
    drop = await ask(client, "POST", f"{at}/drops", id=schedule["id"])
    await pool.execute("UPDATE export_drop SET state = 'failed', ended_at = now()")
    await ask(client, "POST", f"{at}/drops/{{number}}/repeat", id=schedule["id"], number=drop["id"])
    await ask(client, "DELETE", at, id=schedule["id"])


async def round_changes(ask: Journey, client: httpx.AsyncClient, registry: Registry) -> None:
    place = {"latitude": 48.4, "longitude": -4.5}
    bin_id = (await registry.asset(**place, attributes={"volume_l": 4_000}))["id"]
    wanted = {"planned_for": f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}", "depot": place, "outlet": place}
    wanted |= {"truck_volume_l": 9_000, "truck_weight_kg": 9_000, "include_asset_ids": [bin_id]}
    made = await ask(client, "POST", "/v1/rounds", wanted)
    other = await ask(client, "POST", "/v1/rounds", wanted)
    outcome = "/v1/rounds/{id}/stops/{asset_id}/outcome"
    await ask(client, "POST", outcome, {"outcome": "emptied"}, id=made["id"], asset_id=bin_id)
    await ask(client, "DELETE", outcome, id=made["id"], asset_id=bin_id)
    ticket = {"ticket": "B-1", "stream": "glass", "weighed_at": "2026-11-02T10:00:00Z", "net_kg": 10}
    ticket = await ask(client, "POST", "/v1/weighings", ticket)
    await ask(client, "DELETE", "/v1/weighings/{id}", id=ticket["id"])
    await ask(client, "POST", "/v1/rounds/{id}/cancel", {"reason": "Camion en panne"}, id=other["id"])


async def cost_changes(ask: Journey, client: httpx.AsyncClient) -> None:
    one: dict[str, Any] = {"name": "A", "periods": [{"since": "2026-01-01", "inhabitants": 1}]}
    made = await ask(client, "POST", "/v1/cost-contributors", one)
    await ask(client, "PUT", "/v1/cost-contributors/{id}", one | {"name": "B"}, id=made["id"])
    item = {"name": "A", "first_year": 2026, "method": "key", "amount_cents": 1, "shares": [{"basis": "equal"}]}
    item = await ask(client, "POST", "/v1/cost-items", item)
    await ask(client, "POST", "/v1/cost-statements", {"year": 2026})
    await ask(client, "DELETE", "/v1/cost-items/{id}", id=item["id"])
    gone = await ask(client, "POST", "/v1/cost-contributors", one | {"name": "C"})
    await ask(client, "DELETE", "/v1/cost-contributors/{id}", id=gone["id"])
    entry = {"contributor_id": made["id"], "basis": "assets", "day": "2026-01-01", "quantity": 1}
    await ask(client, "POST", "/v1/cost-entries", entry)


async def report_changes(ask: Journey, client: httpx.AsyncClient, commune: str) -> None:
    await ask(client, "POST", "/v1/reports", {"commune": commune, "month": "2026-01"})
    team = await ask(client, "POST", "/v1/teams", {"name": "Élus"})
    made = await ask(client, "POST", "/v1/report-recipients", {"team_id": team["id"]})
    await ask(client, "DELETE", "/v1/report-recipients/{id}", id=made["id"])
    await ask(client, "PUT", "/v1/report-identity", {"name": "Pays de Landerneau", "language": "en"})
    await ask(client, "PUT", "/v1/report-identity/logo", {"content": base64.b64encode(png()).decode()})
    await ask(client, "DELETE", "/v1/report-identity/logo")


async def alerting_changes(
    ask: Journey,
    client: httpx.AsyncClient,
    registry: Registry,
    observations: Observations,
    tenancy: Tenancy,
    pool: Pool,
) -> None:
    asset = await registry.asset()
    alert = await observations.alert(tenancy.id, asset["id"])
    for action, body in (
        ("acknowledge", None),
        ("assign", {"assignee": "voirie"}),
        ("comments", {"text": "vu"}),
        ("resolve", {"cause": "réparé"}),
        ("close", {"reason": "doublon"}),
    ):
        await ask(client, "POST", f"/v1/alerts/{{id}}/{action}", body, id=alert)
    rule = {"name": "chaud", "quantity": "temperature", "kind": "threshold", "severity": "warning"}
    rule |= {"message": "trop chaud", "fire_op": ">=", "fire_value": 30, "clear_op": "<=", "clear_value": 25}
    await ask(client, "POST", "/v1/alert-rules/trial", rule)
    made = await ask(client, "POST", "/v1/alert-rules", rule)
    await ask(client, "PATCH", "/v1/alert-rules/{id}", {"enabled": False}, id=made["id"])
    await ask(client, "DELETE", "/v1/alert-rules/{id}", id=made["id"])
    ending = {"reason": "essai", "ends_at": "2100-01-01T00:00:00Z"}
    for path, about in (
        ("/v1/silences", {"asset_id": asset["id"]}),
        ("/v1/maintenance-windows", {"asset_id": asset["id"]}),
    ):
        made = await ask(client, "POST", path, ending | about)
        await ask(client, "POST", path + "/{id}/end", id=made["id"])
    profile = await registry.profile()
    line = {"key": "a", "device_profile_id": profile["id"], "asset_kind": "room", "asset_name": "{site}"}
    kit = await ask(client, "POST", "/v1/kits", {"name": "École", "items": [line]})
    kit = await ask(client, "POST", "/v1/kits/{id}/versions", {"items": [line]}, id=kit["id"])
    site = {"site": "Jules-Ferry", "devices": [{"item": "a", "dev_eui": secrets.token_hex(8)}]}
    placed = await ask(client, "POST", "/v1/kits/{id}/commissionings", site, id=kit["id"])
    await ask(client, "PUT", "/v1/kits/{id}/retired", {"retired": True}, id=kit["id"])
    acceptance = "/v1/kit-commissionings/{id}/acceptance"
    await ask(client, "POST", acceptance, {"reservations": "attendu"}, id=placed["id"])
    await cost_changes(ask, client)
    await round_changes(ask, client, registry)
    await report_changes(ask, client, asset["commune"])
    order = await ask(client, "POST", "/v1/work-orders", {"title": "Voir", "asset_ids": [asset["id"]]})
    path, id_ = "/v1/work-orders/{id}", order["id"]
    await ask(client, "PATCH", path, {"assignee": "voirie"}, id=id_)
    await ask(client, "POST", path + "/comments", {"text": "vu"}, id=id_)
    photo = await ask(client, "POST", path + "/photos", {"content": b64encode(jpeg()).decode()}, id=id_)
    await ask(client, "DELETE", "/v1/work-order-photos/{id}", id=photo["id"])
    upload = {"work_order_id": id_, "octets": len(jpeg())}
    upload = await ask(client, "POST", "/v1/photo-uploads", upload)
    part = {"content": b64encode(jpeg()).decode()}
    await ask(client, "PUT", "/v1/photo-uploads/{id}/parts/{number}", part, id=upload["id"], number=1)
    await ask(client, "POST", "/v1/photo-uploads/{id}/complete", id=upload["id"])
    calendar = await ask(client, "PUT", "/v1/alert-calendars", {"name": "libre", "weekly": [[]] * 7})
    await ask(client, "DELETE", "/v1/alert-calendars/{id}", id=calendar["id"])
    team = await ask(client, "POST", "/v1/teams", {"name": "Voirie"})
    await ask(client, "PUT", "/v1/teams/{id}", {"name": "Eau"}, id=team["id"])
    contact = {"name": "Astreinte", "email": "astreinte@ville.example"}
    contacts = "/v1/teams/{id}/contacts"
    made = await ask(client, "POST", contacts, contact, id=team["id"])
    await ask(client, "DELETE", contacts + "/{contact_id}", id=team["id"], contact_id=made["id"])
    await ask(client, "DELETE", "/v1/teams/{id}", id=team["id"])


async def integration_changes(
    ask: Journey, app: FastAPI, client: httpx.AsyncClient, registry: Registry, pool: Pool
) -> None:
    source = await ask(client, "POST", "/v1/event-sources", {"name": "Hypervision"})
    alarm = {"alarm": "intrusion", "message": "porte", "severity": "critical"}
    await partner_event(ask, app, source, {"type": "alarm.raised", "data": alarm})
    order = await ask(client, "POST", "/v1/work-orders", {"title": "Voir"})
    cmms = await ask(client, "POST", "/v1/event-sources", {"name": "GMAO", "purpose": "work_orders"})
    done = {"work_order": order["id"], "status": "done", "comment": "fait"}
    report = {"type": "work_order.status", "data": done}
    await partner_event(ask, app, cmms, report, "/v1/work-order-reports/{id}")
    path = "/v1/event-sources/{id}"
    await ask(client, "PATCH", path, {"enabled": False}, id=source["id"])
    await ask(client, "POST", path + "/secret", {}, id=source["id"])
    await ask(client, "DELETE", path, id=source["id"])

    await endpoint_changes(ask, client, pool)
    source = await ask(client, "POST", "/v1/lns-sources", {"kind": "generic", "name": "NB-IoT"})
    await ask(client, "PATCH", "/v1/lns-sources/{id}", {"enabled": False}, id=source["id"])
    await ask(client, "DELETE", "/v1/lns-sources/{id}", id=source["id"])
    body = {"name": "SI", "mqtt_url": "mqtts://a.example", "mqtt_user": "u", "secret": SECRETS[2]}
    application = await ask(client, "POST", "/v1/applications", body)
    device = await registry.device()
    account = await ask(client, "POST", "/v1/mqtt-accounts", {"name": "SI", "reads": ["application/#"]})
    path, ids = "/v1/mqtt-accounts/{account_id}", {"account_id": account["id"]}
    await ask(client, "POST", path + "/rotations", {}, **ids)
    await ask(client, "DELETE", path, **ids)
    access = (await ask(client, "POST", "/v1/mqtt-accesses", {"name": "Node-RED"}))["access"]
    path, ids = "/v1/mqtt-accesses/{id}", {"id": access["id"]}
    await ask(client, "POST", path + "/rotations", {}, **ids)
    await ask(client, "DELETE", path, **ids)
    path, id_ = "/v1/applications/{id}", application["id"]
    await ask(client, "PUT", path + "/devices", {"dev_euis": [device["dev_eui"]]}, id=id_)
    await ask(client, "PATCH", path, {"enabled": False}, id=id_)
    await ask(client, "DELETE", path, id=id_)


async def endpoint_changes(ask: Journey, client: httpx.AsyncClient, pool: Pool) -> None:
    chat = {"url": "https://chat.example.fr/hooks/salon", "form": "chat"}
    room = await ask(client, "POST", "/v1/webhook-endpoints", chat)
    sent = msgspec.msgpack.decode(await pool.fetchval(LAST_MESSAGE), type=WebhookMessage)
    code = proof.secret_in(sent.body)
    await ask(client, "POST", "/v1/webhook-endpoints/{id}/proof", {"code": code}, id=room["id"])
    endpoint = await ask(client, "POST", "/v1/webhook-endpoints", {"url": "https://si.example.fr/t"})
    path, id_ = "/v1/webhook-endpoints/{id}", endpoint["id"]
    to_software = {"url": "https://si.example.fr/m", "purpose": "measurements"}
    software = await ask(client, "POST", "/v1/webhook-endpoints", to_software)
    pushed = await ask(client, "POST", "/v1/measurement-webhooks", {"endpoint_id": software["id"]})
    of_pushed = "/v1/measurement-webhooks/{id}"
    await ask(client, "PATCH", of_pushed, {"batch_most": 100}, id=pushed["id"])
    await ask(client, "POST", of_pushed + "/stop", id=pushed["id"])
    await ask(client, "POST", of_pushed + "/restart", {"from": "now"}, id=pushed["id"])
    await ask(client, "DELETE", of_pushed, id=pushed["id"])
    await pool.execute(FORGET_PROBES)
    await ask(client, "POST", path + "/challenge", id=id_)
    await prove_all(pool)
    await ask(client, "POST", path + "/test", id=id_)
    await ask(client, "POST", path + "/secret", {}, id=id_)
    await ask(client, "PUT", path + "/operator", {"for_operator": True}, id=id_)
    letters = [await bury(pool, id_, f"msg_{number}") for number in range(3)]
    one = path + "/dead-letters/{letter_id}"
    await ask(client, "POST", one + "/replay", id=id_, letter_id=letters[0])
    await ask(client, "DELETE", one, id=id_, letter_id=letters[1])
    await ask(client, "POST", path + "/dead-letters/replay", {}, id=id_)
    await ask(client, "DELETE", path + "/dead-letters", id=id_)
    await ask(client, "PATCH", path, {"enabled": False}, id=id_)
    await pool.execute(FORGET_PROBES)
    await ask(client, "PATCH", path, {"url": "https://ailleurs.example.fr/t"}, id=id_)
    await ask(client, "DELETE", path, id=id_)


async def partner_event(
    ask: Journey,
    app: FastAPI,
    source: dict[str, Any],
    event: dict[str, Any],
    path: str = "/v1/partner-events/{id}",
) -> None:
    at, body = datetime.now(UTC), json.dumps(event, separators=(",", ":"))
    async with client_of(app, None) as partner:
        signed = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(source["secret"]).sign("msg_1", at, body),
        }
        partner.headers.update(signed)
        await ask(partner, "POST", path, event, id=source["id"])


async def bury(pool: Pool, endpoint_id: int, message_id: str) -> int:
    message = WebhookMessage(message_id, endpoint_id, 7, b'{"type":"alert.opened"}')
    return await pool.fetchval(
        "INSERT INTO jobs.pgqueuer (priority, status, entrypoint, payload) "
        "VALUES (0, 'failed', $1, $2) RETURNING id",
        f"webhook/{endpoint_id}",
        msgspec.msgpack.encode(message),
    )


async def sharing_changes(
    ask: Journey,
    client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    registry: Registry,
    other_tenancy: Tenancy,
) -> None:
    """Offers, which the other tenant answers."""
    asset = await registry.asset()
    whole = {"tenant": other_tenancy.slug, "everything": True}
    moved = {"tenant": other_tenancy.slug, "history": "stays", "confirm": asset["name"]}
    for offer, path, body in (
        ("/v1/grants", "/v1/grants/{id}", whole),
        ("/v1/assets/{id}/transfer", "/v1/transfers/{id}", moved),
    ):
        offered = await ask(client, "POST", offer, body, id=asset["id"])
        await ask(client, "DELETE", path, id=offered["id"])
        for answer in ("/reject", "/accept"):
            offered = await ask(client, "POST", offer, body, id=asset["id"])
            await ask(other_client, "POST", path + answer, id=offered["id"])


async def contested_changes(ask: Journey, client: httpx.AsyncClient, other_client: httpx.AsyncClient) -> None:
    """The tenant of the client is the operator's, too."""
    gateway = await Registry(other_client).gateway()
    claim = {"kind": "gateway", "eui": gateway["gateway_id"], "reason": "Étiquette"}
    made = await ask(client, "POST", "/v1/eui-claims", claim)
    await ask(client, "DELETE", "/v1/eui-claims/{id}", id=made["id"])
    made = await ask(client, "POST", "/v1/eui-claims", claim)
    decision = {"decision": "keep", "reason": "Vu sur place"}
    await ask(client, "POST", "/v1/eui-claims/{id}/decision", decision, id=made["id"])


async def people_changes(ask: Journey, app: FastAPI, client: httpx.AsyncClient, person: Any, pool: Pool) -> None:
    async with person("ines", "service_manager") as (_, ines), person("jules", "reader") as (jules_id, jules):
        await ask(ines, "PUT", "/v1/session/tenant", {"tenant": "sdef"})
        await ask(ines, "POST", "/v1/session/proof", {"password": PASSWORD})
        await ask(ines, "PUT", "/v1/account/password", {"current": PASSWORD, "password": ANOTHER})
        secret = (await ask(ines, "POST", "/v1/account/totp"))["secret"]
        await ask(ines, "POST", "/v1/account/totp/confirm", {"code": TOTP(secret).at(int(time.time()))})
        await ask(ines, "DELETE", "/v1/account/totp")
        invitation = {"email": "x@ville.example", "name": "X", "role": "reader"}
        made = await ask(ines, "POST", "/v1/invitations", invitation)
        await ask(ines, "DELETE", "/v1/invitations/{id}", id=made["id"])
        made = await ask(ines, "POST", "/v1/invitations", invitation)
        async with browser(app) as stranger:
            token = made["link"].partition("#")[2]
            await ask(stranger, "POST", "/v1/invitations/accept", {"token": token, "password": PASSWORD})
            await ask(stranger, "POST", "/v1/sessions", {"email": "x@ville.example", "password": PASSWORD})
        role = {"role": "field_agent", "extra_rights": ["export_keys"]}
        await ask(ines, "PUT", "/v1/people/{id}/role", role, id=jules_id)
        link = (await ask(ines, "POST", "/v1/people/{id}/password-reset", id=jules_id))["link"]
        async with browser(app) as stranger:
            await ask(stranger, "POST", "/v1/password-resets", {"email": "jules@ville.example"})
            body = {"token": link.partition("#")[2], "password": ANOTHER}
            await ask(stranger, "POST", "/v1/password-resets/finish", body)
            await log_in(jules, "jules", ANOTHER)
            await log_in(stranger, "jules", ANOTHER)
        recipient = await ask(ines, "POST", "/v1/key-recipients", {"name": "Coffre", "public_key": PUBLIC_KEY})
        export = {"recipient_id": recipient["id"], "reason": "Séquestre"}
        await ask(jules, "POST", "/v1/key-exports", export)
        await ask(ines, "DELETE", "/v1/key-recipients/{id}", id=recipient["id"])
        others = (await jules.get("/v1/account/sessions")).json()["items"]
        other = next(one for one in others if not one["is_current"])
        await ask(jules, "DELETE", "/v1/account/sessions/{id}", id=other["id"])
        await ask(jules, "DELETE", "/v1/account/sessions")
        await ask(jules, "DELETE", "/v1/session")
        await ask(ines, "DELETE", "/v1/people/{id}/sessions", id=jules_id)
        await ask(ines, "DELETE", "/v1/people/{id}", id=jules_id)
        await ask(client, "PUT", "/v1/people/{id}/enabled", {"enabled": False}, id=jules_id)
