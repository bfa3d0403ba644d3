"""Tenants that have one of everything, and callers of every role and by keys: who attacks whom in `isolation`."""

import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
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
    ids: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


@dataclass(frozen=True, slots=True)
class Attacker:
    """One caller: a person with a role, or a key with rights."""

    name: str
    is_operator: bool
    client: httpx.AsyncClient


async def plant(new_client: NewClient, pool: Pool, slug: str) -> Planted:
    """A tenant that has one of everything that the API makes."""
    mark = "zq" + secrets.token_hex(6)
    tenant = await create_tenant(pool, slug, f"Ville {mark}")
    key = await create_api_key(pool, tenant.id, f"clé {mark}", sorted(OF_KEYS))
    planted = Planted(tenant.id, slug, mark, secrets.randbelow(1_000_000) + 4_000_000.25)
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
        asset = await make("assets", "assets", {"kind": "lighting_cabinet", "name": mark, "commune": mark})
        device = {"join_eui": secrets.token_hex(8), "name": mark, "device_profile_id": profile, "app_key": KEY}
        eui = await make(
            "devices", "devices", device | {"dev_eui": secrets.token_hex(8), "asset_id": asset}, "dev_eui"
        )
        gateway = await make(
            "gateways", "gateways", {"gateway_id": secrets.token_hex(8), "name": mark}, "gateway_id"
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
        team = await make("teams", "teams", {"name": mark})
        await make("contacts", f"teams/{team}/contacts", {"name": mark, "email": f"{mark}@ville.example"})
        await make("event-sources", "event-sources", {"name": mark})
        await make("webhook-endpoints", "webhook-endpoints", {"url": f"https://{mark}.example.fr/t"})
        await make("lns-sources", "lns-sources", {"kind": "generic", "name": mark})
        await make("applications", "applications", {"name": mark, "mqtt_url": f"mqtts://{mark}.example"})
        await make(
            "multicast-groups",
            "multicast-groups",
            {"name": mark, "dev_addr": "00c0ffee", "nwk_s_key": KEY, "app_s_key": KEY},
        )
        await make("lighting-programs", "lighting-programs", {"name": mark, "program": {}})
        await make("lighting/commands", "lighting/commands", {"asset_id": asset, "action": "on"})
        await make("key-recipients", "key-recipients", {"name": mark, "public_key": PUBLIC_KEY})
        await make("api-keys", "api-keys", {"name": mark, "roles": ["read"]})
        await make("grants", "grants", {"tenant": f"{slug}-voisine", "everything": True})
        await make(
            "transfers",
            f"assets/{asset}/transfer",
            {"tenant": f"{slug}-voisine", "history": "stays", "confirm": mark},
        )
    ids["tenants"] = [str(tenant.id)]
    ids["people"] = [str(await _enter(pool, tenant.id, f"{mark}@ville.example", "reader"))]
    ids["datastreams"] = [
        str(await pool.fetchval(OBSERVE, tenant.id, asset, bytes.fromhex(eui), planted.measured))
    ]
    ids["alerts"] = [str(await pool.fetchval(ALERT, tenant.id, rule, asset, mark))]
    return planted


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
