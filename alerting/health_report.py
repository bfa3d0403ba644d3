"""Sends a team the health of its sensors, once a week, with its digest.

The transaction that queues the messages notes when that was: after a crash it is sent once all the same.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec

from alerting.health import JudgedSensor, find_sensors
from alerting.health_store import SERVICE, SensorFilter
from alerting.notifications import endpoints_of, priority_of, quiet_of
from alerting.queue import WebhookMessage, enqueue, message_id_of
from alerting.rules.sensor_health import CAUSES_FR, Cause
from core.runtime.postgres import Connection, Pool

# An advisory lock: one replica at a time looks, another one skips this turn.
TAKE_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('alerting.health_report'))"
TEAMS = """
SELECT t.id, t.tenant_id, t.name, o.slug AS tenant, t.quiet_from, t.quiet_until, t.quiet_on_days_off, t.digest_at,
       o.department, (SELECT timezone FROM deployment) AS timezone, t.sensor_health_at
FROM team t JOIN tenant o ON o.id = t.tenant_id WHERE t.sensor_health ORDER BY t.sensor_health_at, t.id
"""
SENT = "UPDATE team SET sensor_health_at = $2 WHERE id = $1"
# A message of Standard Webhooks stays under 20 kB.
LISTED_MOST = 30
TEXT_MOST = 240


async def report_health(pool: Pool, now: datetime) -> int:
    """Send what is due at `now`, unless another replica does so right now; how many teams were sent something."""
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(TAKE_TURN):
            return 0
        sent = 0
        for row in await connection.fetch(TEAMS):
            due = quiet_of(row).held_until("info", "weekly", row["sensor_health_at"])
            if due is not None and due <= now:
                sent += await _report(connection, row, now)
        return sent


async def _report(connection: Connection, team: Any, now: datetime) -> bool:
    """False: no address of the team is in service; it waits for one."""
    endpoints = await endpoints_of(connection, team["tenant_id"], team["id"], 0, 0)
    if not endpoints:
        return False
    counted = 0

    def is_wanted(one: JudgedSensor) -> bool:
        nonlocal counted
        counted += 1
        return bool(one.health.findings)

    wanted, found, after = SensorFilter(tenant_id=team["tenant_id"]), list[JudgedSensor](), 0
    while True:
        part = await find_sensors(connection, SERVICE, wanted, now, after=after, most=500, is_wanted=is_wanted)
        found += part.sensors
        if part.after is None:
            break
        after = part.after
    body = health_body(team["tenant"], team["name"], found, counted, now)
    message_id = message_id_of(uuid4())
    await enqueue(connection, [WebhookMessage(message_id, one, 0, body) for one in endpoints], priority_of("info"))
    await connection.execute(SENT, team["id"], now)
    return True


def health_body(tenant: str, team: str, found: Sequence[JudgedSensor], counted: int, now: datetime) -> bytes:
    """The JSON of the message, the gravest first."""
    order = list(Cause)
    ill = sorted(found, key=lambda one: (order.index(one.health.causes[0]), one.id))
    counts = {cause: sum(cause in one.health.causes for one in ill) for cause in order}
    several = len(ill) > 1
    text = f"{len(ill)} capteur{'s' if several else ''} sur {counted} à voir"
    if not ill:
        text = f"rien à signaler sur {counted} capteurs"
    named = ", ".join(f"{CAUSES_FR[cause]} : {count}" for cause, count in counts.items() if count)
    data = {
        "tenant": tenant,
        "team": team,
        "message": f"Santé des capteurs de la semaine : {text}{f' ({named})' if named else ''}.",
        "sensors": counted,
        "count": len(ill),
        "more": max(0, len(ill) - LISTED_MOST),
        "causes": {cause.value: count for cause, count in counts.items() if count},
        "lines": [_line(one) for one in ill[:LISTED_MOST]],
        "items": [
            {
                "dev_eui": one.sensor.dev_eui.hex(),
                "asset": one.sensor.asset_id,
                "causes": [cause.value for cause in one.health.causes],
            }
            for one in ill[:LISTED_MOST]
        ],
    }
    return msgspec.json.encode({"type": "team.sensor_health", "timestamp": now, "data": data})


def _line(one: JudgedSensor) -> str:
    sensor = one.sensor
    place = (
        f"{sensor.asset_name} ({sensor.commune})" if sensor.asset_name and sensor.commune else sensor.asset_name
    )
    text = f"{place or sensor.name}, {sensor.name} : {' ; '.join(each.text for each in one.health.findings)}"
    return text if len(text) <= TEXT_MOST else text[: TEXT_MOST - 1] + "…"
