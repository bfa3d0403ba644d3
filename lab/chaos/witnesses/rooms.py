"""What goes on beside a case, for two tenants: rooms that grow hot, alerts, and who is notified of them.

Rooms of the load grow hot in turn, and stay so. What must have come of it is counted anew from the temperatures
that are stored: one alert for each room that went over the limit, whose opening its tenant was sent once. A
neighbour with the same rule and an address of its own is sent nothing, and sees nothing.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.chaos.stack.proxy import open_proxy
from lab.device.application import Application, Message
from lab.device.device import Device
from lab.device.payloads import elsys
from lab.device.sensors import ELSYS_PORT
from lab.fleet.provision import Provisioner, ProvisioningFailed
from lab.fleet.tenancy import prepare_tenant
from lab.radio.clock import now_us
from lab.simulator.receiver import Received, receive_webhooks

# Every process has a new rule within five seconds.
LIVE_WITHIN_S = 6.0
HOT_CEL, FIRES_AT, CLEARS_AT = 40.0, 35.0, 30.0
LEAST_PAUSE_S = 0.5
SETTLES_WITHIN_S, LOOKED_AT_EVERY_S = 90.0, 1.0
OPENED = "alert.opened"
RULE: dict[str, Any] = {
    "kind": "threshold",
    "severity": "warning",
    "quantity": "temperature",
    "message": "{asset} ({place}) : {value}",
    "fire_op": ">=",
    "fire_value": FIRES_AT,
    "clear_op": "<",
    "clear_value": CLEARS_AT,
}
# Of each room, whether each reading since then is hot, in their order.
READINGS = """
SELECT d.asset_id, m.value >= $3 AS is_hot
FROM datastream d JOIN observation.measurement m ON m.datastream_id = d.id
WHERE d.tenant_id = $1 AND d.quantity = 'temperature' AND m.time >= $2 AND m.flags & 3 = 0
ORDER BY d.id, m.time
"""
# Not "operate": who exploits the network is told of a suspended codec, whose ever it is.
OF_A_NEIGHBOUR = ("read", "manage")
# The rooms that the case before has left hot: a rule that is made since finds them so.
LEFT_HOT = """
SELECT asset_id FROM (
    SELECT DISTINCT ON (d.id) d.asset_id, m.value
    FROM datastream d JOIN observation.measurement m ON m.datastream_id = d.id
    WHERE d.tenant_id = $1 AND d.quantity = 'temperature' AND m.time < $2 AND m.flags & 3 = 0
    ORDER BY d.id, m.time DESC
) last WHERE value >= $3
"""
# What a wrong clock dates before a device had its room is of no room.
ALERTS = """
SELECT a.id, a.asset_id FROM alert a JOIN alert_rule r ON r.id = a.rule_id
WHERE a.tenant_id = $1 AND r.name = $2 AND a.asset_id IS NOT NULL ORDER BY a.id
"""


@dataclass(slots=True)
class Room:
    """The application of a room that may be hot."""

    application: Application
    is_hot: bool = False

    def next_message(self, now_us: int) -> Message:
        """Its own, or that of a hot room."""
        if not self.is_hot:
            return self.application.next_message(now_us)
        payload = elsys.ers_co2(temperature=HOT_CEL, humidity=45, lux=300, motion=1, co2=500, vdd_mv=3_620)
        return Message(ELSYS_PORT, payload)

    def on_downlink(self, message: Message, now_us: int) -> Message | None:
        """Its own."""
        return self.application.on_downlink(message, now_us)


@dataclass(slots=True)
class Party:
    """A tenant with its address."""

    tenant_id: int
    slug: str
    api: Provisioner
    received: Received = field(default_factory=Received)

    def openings(self, rule: str) -> Counter[tuple[str, int]]:
        """Of which tenant's which alert the opening arrived, and how often, each message counted once."""
        return Counter(
            (body["data"]["tenant"], body["data"]["alert"])
            for body in self.received.bodies
            if body["type"] == OPENED and body["data"]["rule"] == rule and body["data"]["asset"]
        )


def wanted_of(readings: Iterable[tuple[int, bool]]) -> set[int]:
    """The rooms of which one reading is hot; none cools down, so that one alert is due."""
    return {asset_id for asset_id, is_hot in readings if is_hot}


def findings(
    wanted: set[int],
    alerts: Sequence[tuple[int, int]],
    openings: Mapping[tuple[str, int], int],
    slug: str,
    left_hot: AbstractSet[int] = frozenset(),
) -> list[str]:
    """What is wrong with the alerts of (id, room) and with the openings of (tenant, alert) that arrived.

    Of a room that was hot before, and is not heated now, there may be an alert.
    """
    of_rooms = Counter(asset_id for _, asset_id in alerts)
    due = {(slug, alert_id) for alert_id, _ in alerts}
    counted = {
        "salles chaudes sans alerte": len(wanted - of_rooms.keys()),
        "alertes de salles qui n'ont pas été chaudes": len(of_rooms.keys() - wanted - left_hot),
        "alertes en double": sum(times - 1 for times in of_rooms.values()),
        "alertes dont personne n'a été prévenu": len(due - openings.keys()),
        "messages d'alertes inconnues ou d'autrui": len(openings.keys() - due),
        "messages en double": sum(times - 1 for times in openings.values()),
    }
    return [f"{count} {what}" for what, count in counted.items() if count]


@asynccontextmanager
async def with_witness(scene: Scene) -> AsyncGenerator[None]:
    """Rooms are heated while the case goes on.

    Raises:
        CaseFailed: an alert is missing, doubled, of another, or was not sent once, or a message is badly signed.
    """
    rule, since = f"chaos_{now_us()}", datetime.now(UTC)
    load, url = scene.load, scene.processes.run.api_url
    rooms = hot_rooms(load.devices)
    async with _party(scene, url, rule) as ours, _party(scene, url, rule, "voisin") as neighbour:
        await asyncio.sleep(LIVE_WITHIN_S)
        heating = asyncio.create_task(_heat(rooms, scene.seconds), name="heat the rooms")
        try:
            yield
            found, count = await _until_settled(scene.pool, ours, rule, since)
            found += ours.received.wrong
        finally:
            heating.cancel()
            for room in rooms:
                room.is_hot = False
        found += await _of_neighbour(neighbour, rule)
    scene.notes.append(f"{count} alertes, {sum(ours.received.ids.values())} messages")
    if not count:
        found.append("aucune alerte : rien n'est montré")
    if found:
        raise CaseFailed("; ".join(found))


def hot_rooms(devices: Sequence[Device]) -> list[Room]:
    """The load's rooms that may be heated, made such if they are not yet."""
    rooms: list[Room] = []
    for device in devices:
        application: Application = device.application
        if isinstance(application, Room):
            rooms.append(application)
        elif application.next_message(now_us()).f_port == ELSYS_PORT:
            device.application = room = Room(application)
            rooms.append(room)
    return rooms


@asynccontextmanager
async def _party(scene: Scene, url: str, rule: str, other: str = "") -> AsyncGenerator[Party]:
    """The load's tenant, or another one that is made, with this rule and an address; both go with the block."""
    tenant, key = scene.load.tenant, scene.load.api_key
    if other:
        name = f"{other}-{now_us()}"
        tenant, key = await prepare_tenant(scene.pool, name, other.capitalize(), OF_A_NEIGHBOUR)
    party = Party(tenant.id, tenant.slug, Provisioner(url, key))
    try:
        async with receive_webhooks(party.received) as receiver, open_proxy(receiver) as proxy:
            if not other:
                scene.proxies["webhooks"] = proxy
            address = {"url": proxy.url_of(receiver), "description": "témoin"}
            made = await party.api.post("/v1/webhook-endpoints", address)
            party.received.secret = made["secret"]
            created = await party.api.post("/v1/alert-rules", {"name": rule, **RULE})
            try:
                yield party
            finally:
                # What the case has shown counts, and not whether it could be tidied up.
                with suppress(ProvisioningFailed, httpx.HTTPError):
                    await party.api.delete(f"/v1/webhook-endpoints/{made['id']}")
                    await party.api.delete(f"/v1/alert-rules/{created['id']}")
    finally:
        await party.api.close()


async def _heat(rooms: Sequence[Room], seconds: float) -> None:
    """One after the other, evenly over the case."""
    for room in rooms:
        room.is_hot = True
        await asyncio.sleep(max(LEAST_PAUSE_S, seconds / len(rooms)))


async def _until_settled(pool: Pool, ours: Party, rule: str, since: datetime) -> tuple[list[str], int]:
    """What is wrong once all had time to arrive, and how many alerts there are."""
    deadline = time.monotonic() + SETTLES_WITHIN_S
    while True:
        with suppress(PostgresError, *DATABASE_AWAY):
            readings = await pool.fetch(READINGS, ours.tenant_id, since, FIRES_AT)
            left_hot = {row[0] for row in await pool.fetch(LEFT_HOT, ours.tenant_id, since, FIRES_AT)}
            alerts = [(row[0], row[1]) for row in await pool.fetch(ALERTS, ours.tenant_id, rule)]
            wanted = wanted_of((row[0], row[1]) for row in readings)
            found = findings(wanted, alerts, ours.openings(rule), ours.slug, left_hot)
            if (not found and wanted) or time.monotonic() > deadline:
                return found, len(alerts)
        await asyncio.sleep(LOOKED_AT_EVERY_S)


async def _of_neighbour(neighbour: Party, rule: str) -> list[str]:
    """What a tenant that has nothing was sent, or sees."""
    found = [f"voisin : {one}" for one in neighbour.received.wrong]
    found += [f"le voisin a reçu {len(neighbour.openings(rule))} alertes"] if neighbour.openings(rule) else []
    for path in ("/v1/devices", "/v1/alerts", "/v1/datastreams"):
        page = await neighbour.api.get(path, limit=1)
        found += [f"le voisin voit {path} : {json.dumps(one, ensure_ascii=False)}" for one in page["items"]]
    return found
