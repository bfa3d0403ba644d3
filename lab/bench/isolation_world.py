"""Tenants that have one of everything, and callers of every role and by keys: who attacks whom in `isolation`."""

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from api.cookies import COOKIE, CSRF_HEADER, LOOPBACK_COOKIE, csrf_token
from core.model.rights import OF_KEYS, ROLES
from core.runtime.postgres import Pool
from registry.people import enter_person
from registry.sessions import open_session
from registry.tenants import create_api_key, create_tenant

NewClient = Callable[[Mapping[str, str]], httpx.AsyncClient]
# Of a segment: by which path, and with which body.
Make = Callable[[str, str, Mapping[str, Any]], Awaitable[Any]]

# One grey pixel, encoded by libjpeg.
PHOTO = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ"
    "EBAQEBAQEBAQEBAQEBD/wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAACf/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAI"
    "AQEAAD8AVN//2Q=="
)
KEY = "00112233445566778899aabbccddeeff"
PUBLIC_KEY = "age1tj0dmg7v2qmuhsjdet58n33sn854y5zemqulvgl3gd5jhkuf8qusss6jhd"
DECLARATION = "codec: sonde\nframes:\n  - fields:\n      - {type: u8, quantity: battery_level}\n"
ENDING = {"reason": "essai", "ends_at": "2100-01-01T00:00:00Z"}
# What services write, and no route does.
OBSERVE = """
WITH stream AS (
    INSERT INTO datastream (tenant_id, asset_id, device_id, quantity, unit)
    SELECT $1, $2, id, 'fill_level', '%' FROM device WHERE dev_eui = $3 RETURNING id
), measured AS (
    INSERT INTO observation.measurement SELECT id, now() - interval '1 h', $4, 0 FROM stream
)
SELECT id FROM stream
"""
ALERT = """
INSERT INTO alert (tenant_id, rule_id, asset_id, severity, message, condition, opened_at, value)
SELECT $1, $2, $3, 'warning', $4, 'firing', now(), 80 RETURNING id
"""


@dataclass(slots=True)
class Planted:
    """A tenant and what it has, by the segment of a path that comes before it; `mark` is in each of its texts."""

    tenant_id: int
    slug: str
    mark: str
    measured: float
    shares: bool = False
    """Whether it shares everything with the attacker, who is to see nothing of this: it is of class 2."""
    cursors: list[str] = field(default_factory=list[str])
    """Of its own pages."""
    ids: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


@dataclass(frozen=True, slots=True)
class Attacker:
    """One caller: a person with a role, or a key with rights."""

    name: str
    is_operator: bool
    client: httpx.AsyncClient


async def plant(new_client: NewClient, pool: Pool, slug: str, *, personal: bool = False) -> Planted:
    """A tenant that has one of everything that the API makes, `personal`: about what is of class 2."""
    mark = "zq" + secrets.token_hex(6)
    tenant = await create_tenant(pool, slug, slug if personal else f"Ville {mark}")
    key = await create_api_key(pool, tenant.id, f"clé {mark}", sorted(OF_KEYS))
    planted = Planted(tenant.id, slug, mark, secrets.randbelow(1_000_000) + 4_000_000.25, personal)
    ids = planted.ids

    async with new_client({"Authorization": f"Bearer {key}"}) as client:

        async def make(segment: str, path: str, body: Mapping[str, Any], key: str = "id") -> Any:
            answer = await client.post(f"/v1/{path}", json=body)
            if answer.status_code not in {200, 201}:
                raise RuntimeError(f"POST {path}: {answer.status_code} {answer.text}")
            value = answer.json()[key]
            ids.setdefault(segment, []).append(str(value))
            return value

        profile = await make(
            "device-profiles",
            "device-profiles",
            {"name": mark, "vendor": mark, "model": "m", "codec": "watteco.triphaso", "device_class": "C"}
            | {"capabilities": ["switch"]},
        )
        place = {"commune": mark, "street": mark, "longitude": -4.25, "latitude": 48.45, "tags": [mark]}
        place |= {"quarter": mark, "external_reference": mark, "privacy_class": 2 if personal else 0}
        asset = await make("assets", "assets", {"kind": "lighting_cabinet", "name": mark} | place)
        room = {"kind": "room", "name": f"{mark} bis", "external_reference": f"{mark}-2"}
        await make("assets", "assets", place | room)
        device = {"join_eui": secrets.token_hex(8), "name": mark, "device_profile_id": profile, "app_key": KEY}
        eui = await make(
            "devices", "devices", device | {"dev_eui": secrets.token_hex(8), "asset_id": asset}, "dev_eui"
        )
        gateway = await make(
            "gateways",
            "gateways",
            {"gateway_id": secrets.token_hex(8), "name": mark, "longitude": -4.25, "latitude": 48.45},
            "gateway_id",
        )
        token = await make("tokens", f"gateways/{gateway}/tokens", {}, "token")
        ids["tokens"] = [token.split("_")[1]]
        codec = await make("codecs", "codecs", {"name": f"{mark}.niveau"})
        await make(
            "codec-versions", f"codecs/{codec}/versions", {"language": "declarative", "source": DECLARATION}
        )
        await make("redecodes", "redecodes", {"dev_eui": eui})
        rule = await make(
            "alert-rules",
            "alert-rules",
            {"name": mark, "kind": "threshold", "severity": "info", "message": mark}
            | {"quantity": "fill_level", "fire_op": ">=", "fire_value": 90}
            | {"clear_op": "<=", "clear_value": 80},
        )
        weekly: list[list[str]] = [[] for _ in range(7)]
        calendar = await client.put("/v1/alert-calendars", json={"name": mark, "weekly": weekly})
        ids["alert-calendars"] = [str(calendar.json()["id"])]
        await make("silences", "silences", ENDING | {"rule_id": rule})
        await make("maintenance-windows", "maintenance-windows", ENDING | {"asset_id": asset})
        endpoint = await _plant_partners(make, mark)
        await make("lighting/commands", "lighting/commands", {"asset_id": asset, "action": "on"})
        await _plant_work(make, planted, asset, profile)
        for sort in ("name", "-name", "commune", "kind"):
            page = await client.get("/v1/assets", params={"sort": sort, "limit": "1"})
            planted.cursors.append(page.json()["next"])
        await make("grants", "grants", {"tenant": f"{slug}-voisine", "everything": True})
        await make(
            "transfers",
            f"assets/{asset}/transfer",
            {"tenant": f"{slug}-voisine", "history": "stays", "confirm": mark},
        )
    # It has proved itself: what is said to it is said.
    await pool.execute("UPDATE webhook_endpoint SET state = 'enabled', proved_at = now() WHERE id = $1", endpoint)
    ids["lighting/cabinets"] = ids["lighting/shadows"] = ids["assets"]
    ids["data-subjects"] = [f"asset-{one}" for one in ids["assets"]]
    ids["people"] = [str(await _enter(pool, tenant.id, f"{mark}@ville.example", "reader"))]
    ids["datastreams"] = [
        str(await pool.fetchval(OBSERVE, tenant.id, asset, bytes.fromhex(eui), planted.measured))
    ]
    ids["alerts"] = [str(await pool.fetchval(ALERT, tenant.id, rule, asset, mark))]
    if not personal:  # Whom it shares with is told who it is.
        ids["tenants"] = [str(tenant.id)]
    return planted


async def _plant_partners(make: Make, mark: str) -> int:
    """Who is told, and whose systems are bound; returns the endpoint of its webhooks."""
    team = await make("teams", "teams", {"name": mark})
    await make("contacts", f"teams/{team}/contacts", {"name": mark, "email": f"{mark}@ville.example"})
    await make("event-sources", "event-sources", {"name": mark})
    endpoint = await make("webhook-endpoints", "webhook-endpoints", {"url": f"https://{mark}.example.fr/t"})
    await make("lns-sources", "lns-sources", {"kind": "generic", "name": mark})
    await make("applications", "applications", {"name": mark, "mqtt_url": f"mqtts://{mark}.example"})
    await make(
        "multicast-groups",
        "multicast-groups",
        {"name": mark, "dev_addr": "00c0ffee", "nwk_s_key": KEY, "app_s_key": KEY},
    )
    await make("lighting-programs", "lighting-programs", {"name": mark, "program": {}})
    await make("key-recipients", "key-recipients", {"name": mark, "public_key": PUBLIC_KEY})
    await make("api-keys", "api-keys", {"name": mark, "roles": ["read"]})
    return endpoint


async def _plant_work(make: Make, planted: Planted, asset: int, profile: int) -> None:
    """What people make of what is there: photos, work orders, kits, imports, campaigns."""
    mark, personal = planted.mark, planted.shares
    await make("photos", f"assets/{asset}/photos", {"content": PHOTO, "remark": mark})
    order = await make("work-orders", "work-orders", {"title": mark, "asset_ids": [asset], "assignee": mark})
    await make("work-order-photos", f"work-orders/{order}/photos", {"content": PHOTO, "remark": mark})
    line = {"key": "a", "device_profile_id": profile, "asset_kind": "house" if personal else "room"}
    kit = await make("kits", "kits", {"name": mark, "items": [line | {"asset_name": "{site}"}]})
    site = {"site": f"{mark} ter", "devices": [{"item": "a", "dev_eui": secrets.token_hex(8)}]}
    await make("kit-commissionings", f"kits/{kit}/commissionings", site)
    periods = [{"since": "2026-01-01", "inhabitants": 1}]
    payer = await make("cost-contributors", "cost-contributors", {"name": mark, "periods": periods})
    key = {"name": mark, "first_year": 2026, "method": "key", "amount_cents": 1, "shares": [{"basis": "equal"}]}
    await make("cost-items", "cost-items", key)
    entry = {"contributor_id": payer, "basis": "assets", "day": "2026-01-01", "quantity": 1, "reason": mark}
    await make("cost-entries", "cost-entries", entry)
    await make("cost-statements", "cost-statements", {"year": 2026, "remark": mark})
    await make("imports", "imports", {"kind": "cabinets", "file_name": f"{mark}.csv"})
    await make("mqtt-accounts", "mqtt-accounts", {"name": mark, "reads": ["#"]})
    campaign = {"name": mark, "action": "on", "reason": mark, "targets": {"asset_ids": [asset]}}
    await make("lighting-campaigns", "lighting-campaigns", campaign)
    if not personal:
        borne = {"asset_id": asset, "name": mark, "quantities": ["fill_level"]}
        await make("publications", "publications", borne)
    consent = {"given_by": mark, "given_at": "2026-01-01T00:00:00Z", "document": mark}
    await make("consents", f"assets/{asset}/consents", consent)
    await make("invitations", "invitations", {"email": f"{mark}-2@ville.example", "name": mark, "role": "reader"})


async def share_everything(new_client: NewClient, pool: Pool, giver: Planted, receiver: Planted) -> str:
    """Let the receiver see all that the giver has and is not of class 2: an asset, whose name is returned."""
    shown = "zo" + secrets.token_hex(6)
    for_giver = await create_api_key(pool, giver.tenant_id, "partage", sorted(OF_KEYS))
    for_receiver = await create_api_key(pool, receiver.tenant_id, "partage", sorted(OF_KEYS))
    async with new_client({"Authorization": f"Bearer {for_giver}"}) as client:
        asset = {"kind": "glass_container", "name": shown, "longitude": -4.25, "latitude": 48.45}
        await client.post("/v1/assets", json=asset)
        offered = await client.post("/v1/grants", json={"tenant": receiver.slug, "everything": True})
    async with new_client({"Authorization": f"Bearer {for_receiver}"}) as client:
        accepted = await client.post(f"/v1/grants/{offered.json()['id']}/accept")
    if accepted.status_code not in {200, 204}:
        raise RuntimeError(f"grant: {offered.text} {accepted.text}")
    return shown


async def _enter(pool: Pool, tenant_id: int, email: str, role: str) -> int:
    async with pool.acquire() as connection:
        person = await enter_person(connection, tenant_id, email, email, "", role)
    if person is None:
        raise RuntimeError(f"{email} has an account")
    return person


@asynccontextmanager
async def open_attackers(new_client: NewClient, pool: Pool, tenant_id: int) -> AsyncGenerator[list[Attacker]]:
    """A person of every role, who has just logged in, and a key with every right that a key may have."""
    async with AsyncExitStack() as opened:
        found: list[Attacker] = []
        for role in ROLES:
            person = await _enter(pool, tenant_id, f"{role}-{secrets.token_hex(4)}@attaque.example", role)
            token = await open_session(pool, person, tenant_id, "192.0.2.1", "password")
            if token is None:
                raise RuntimeError(f"no session for {role}")
            headers = {
                "Cookie": f"{COOKIE}={token}; {LOOPBACK_COOKIE}={token}",
                CSRF_HEADER: csrf_token(token),
            }
            client = await opened.enter_async_context(new_client(headers))
            found.append(Attacker(role, role == "operator", client))
        for name, rights in (("key", OF_KEYS - {"operate"}), ("operator key", OF_KEYS)):
            key = await create_api_key(pool, tenant_id, name, sorted(rights))
            client = await opened.enter_async_context(new_client({"Authorization": f"Bearer {key}"}))
            found.append(Attacker(name, "operate" in rights, client))
        yield found
