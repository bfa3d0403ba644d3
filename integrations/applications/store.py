"""SQL of applications: events to publish, commands, and states."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core.runtime.postgres import Connection, Pool, Record
from integrations.applications.events import Described, Event, Reception, StoredUplink, Value
from registry.audit import write_audit
from registry.downlinks import Enqueued, enqueue
from registry.rows import arrays, entity, fetch_one

# A device or an application that went to another tenant, or is gone, leaves `device` empty.
READ_EVENTS = """
SELECT e.id, e.kind, e.time, e.what, e.device_id, e.uplink_id, d.dev_eui, d.name AS device_name, d.tenant_id,
       p.device_class,
       p.id AS profile_id, p.name AS profile_name, t.name AS tenant_name, l.item
FROM observation.application_event e
LEFT JOIN application a ON a.id = e.application_id
LEFT JOIN device d ON d.id = e.device_id AND (a.at_our_broker OR d.tenant_id = a.tenant_id)
LEFT JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN tenant t ON t.id = d.tenant_id
LEFT JOIN application_downlink l ON l.application_id = a.id AND l.downlink_id = (e.what ->> 'downlink')::bigint
WHERE e.application_id = $1 AND e.not_before <= now()
ORDER BY e.not_before, e.id LIMIT $2
"""
# $4 and $5 bound the time, so that only the chunks in question are planned for.
READ_UPLINKS = """
SELECT u.device_id, u.time, u.uplink_id, u.f_cnt, u.f_port, u.payload, u.received_at, u.radio, u.status, u.reason,
       u.decoded, s.dev_addr
FROM unnest($1::int[], $2::timestamptz[], $3::uuid[]) AS of (device_id, time, uplink_id)
JOIN observation.uplink u USING (device_id, time, uplink_id)
LEFT JOIN session s ON s.id = u.session_id
WHERE u.time BETWEEN $4 AND $5
"""
READ_RECEPTIONS = """
SELECT r.uplink_id, g.gateway_id, r.antenna, r.rssi, r.snr, g.latitude, g.longitude
FROM unnest($1::int[], $2::timestamptz[], $3::uuid[]) AS of (device_id, time, uplink_id)
JOIN observation.reception r USING (device_id, time, uplink_id)
JOIN gateway g ON g.id = r.gateway_id
WHERE r.time BETWEEN $4 AND $5
ORDER BY r.snr DESC, g.gateway_id
"""
READ_VALUES = """
SELECT of.uplink_id, d.id AS datastream_id, d.channel, d.quantity, m.value
FROM unnest($1::int[], $2::timestamptz[], $3::uuid[]) AS of (device_id, time, uplink_id)
JOIN device v ON v.id = of.device_id
JOIN datastream d ON d.device_id = of.device_id AND d.tenant_id = v.tenant_id
JOIN observation.measurement m ON m.datastream_id = d.id AND m.time = of.time
WHERE m.time BETWEEN $4 AND $5
"""
DELETE_EVENTS = "DELETE FROM observation.application_event WHERE id = ANY($1::bigint[])"
POSTPONE_EVENTS = """
UPDATE observation.application_event SET not_before = now() + $2::interval WHERE id = ANY($1::bigint[])
"""
COUNT_WAITING = "SELECT count(*) FROM observation.application_event WHERE application_id = $1"
DROP_OLDEST = """
DELETE FROM observation.application_event WHERE id = ANY(ARRAY(
    SELECT id FROM observation.application_event WHERE application_id = $1 ORDER BY id LIMIT $2))
"""
# A downlink that we hand to another LNS on the same broker comes back to us, with the item of our own row.
FIND_DEVICE = """
SELECT d.id, d.enabled, d.activation, d.lns_source_id, p.codec, p.capabilities,
       EXISTS (SELECT FROM application_downlink l WHERE l.application_id = a.id AND l.item = $3)
           OR EXISTS (SELECT FROM downlink o WHERE o.lns_source_id = d.lns_source_id AND o.lns_item = $3)
           AS is_known,
       (SELECT count(*) FROM downlink w WHERE w.device_id = d.id AND w.state = 'queued'
        AND w.slot = CASE WHEN d.lns_source_id IS NULL THEN d.slot ELSE 16 END) AS waiting
FROM application a
JOIN device d ON d.tenant_id = a.tenant_id AND d.dev_eui = $2
JOIN device_profile p ON p.id = d.device_profile_id
WHERE a.id = $1
  AND (a.all_devices
       OR EXISTS (SELECT FROM application_device l WHERE l.application_id = a.id AND l.device_id = d.id))
FOR NO KEY UPDATE OF a
"""
NAME_DOWNLINK = "INSERT INTO application_downlink (downlink_id, application_id, item) VALUES ($1, $2, $3)"
# An application that is gone meanwhile leaves no row.
SAVE_STATES = """
INSERT INTO application_state AS kept
    (application_id, tenant_id, last_published_at, published, dropped, withheld, waiting, commands,
     commands_refused, last_error, last_error_at)
SELECT a.id, a.tenant_id, of.published_at, of.published, of.dropped, of.withheld, of.waiting, of.commands,
       of.refused, of.error, of.error_at
FROM unnest($1::int[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::text[], $10::timestamptz[])
     AS of (application_id, published_at, published, dropped, withheld, waiting, commands, refused, error,
            error_at)
JOIN application a ON a.id = of.application_id
ORDER BY a.id
ON CONFLICT (application_id) DO UPDATE
SET last_published_at = coalesce(excluded.last_published_at, kept.last_published_at),
    published = kept.published + excluded.published,
    dropped = kept.dropped + excluded.dropped,
    withheld = kept.withheld + excluded.withheld,
    waiting = excluded.waiting,
    commands = kept.commands + excluded.commands,
    commands_refused = kept.commands_refused + excluded.commands_refused,
    last_error = coalesce(excluded.last_error, kept.last_error),
    last_error_at = coalesce(excluded.last_error_at, kept.last_error_at)
"""
WRITTEN_OF_STATE = "published_at, published, dropped, withheld, waiting, commands, refused, error, error_at"


@dataclass(frozen=True, slots=True)
class Due:
    """Events to publish, and the ids of those that cannot be published, since their device or uplink is gone."""

    events: list[Event]
    untold: list[int]


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device that an application may send to. `is_known`: this very command is a row already."""

    id: int
    enabled: bool
    activation: str
    lns_source_id: int | None
    codec: str
    capabilities: Sequence[str]
    is_known: bool
    waiting: int


@dataclass(slots=True)
class ApplicationCounts:
    """What an application did since the last save; `waiting` as it is now."""

    waiting: int = 0
    published_at: datetime | None = None
    published: int = 0
    dropped: int = 0
    withheld: int = 0
    commands: int = 0
    refused: int = 0
    error: str | None = None
    error_at: datetime | None = None


async def read_due(connection: Connection | Pool, application: int, most: int) -> Due:
    """The oldest events of an application, with the device and the uplink of each."""
    rows = await connection.fetch(READ_EVENTS, application, most)
    of_devices = [row for row in rows if row["dev_eui"] is not None]
    uplinks = await _read_uplinks(connection, [row for row in of_devices if row["kind"] == "up"])
    events: list[Event] = []
    for row in of_devices:
        uplink = uplinks.get(row["uplink_id"])
        if row["kind"] != "up" or uplink is not None:
            events.append(_event(row, uplink))
    known = {event.id for event in events}
    return Due(events, [row["id"] for row in rows if row["id"] not in known])


def _event(row: Record, uplink: StoredUplink | None) -> Event:
    described = entity(Described, row)
    return Event(
        row["id"],
        row["kind"],
        row["time"],
        row["what"],
        row["device_id"],
        described,
        row["uplink_id"],
        uplink,
        row["item"],
    )


async def _read_uplinks(connection: Connection | Pool, rows: Sequence[Record]) -> dict[UUID, StoredUplink]:
    if not rows:
        return {}
    times = [row["time"] for row in rows]
    asked = [row["device_id"] for row in rows], times, [row["uplink_id"] for row in rows], min(times), max(times)
    receptions: dict[UUID, list[Reception]] = {}
    for row in await connection.fetch(READ_RECEPTIONS, *asked):
        receptions.setdefault(row["uplink_id"], []).append(entity(Reception, row))
    values: dict[UUID, list[Value]] = {}
    for row in await connection.fetch(READ_VALUES, *asked):
        values.setdefault(row["uplink_id"], []).append(entity(Value, row))
    return {
        row["uplink_id"]: StoredUplink(
            row["f_cnt"],
            row["f_port"],
            row["payload"],
            row["received_at"],
            row["radio"],
            row["status"],
            row["reason"],
            row["decoded"],
            row["dev_addr"],
            receptions.get(row["uplink_id"], []),
            values.get(row["uplink_id"], []),
        )
        for row in await connection.fetch(READ_UPLINKS, *asked)
    }


async def delete_events(connection: Connection, ids: Sequence[int]) -> None:
    """Delete events that their broker has, or that cannot be published."""
    await connection.execute(DELETE_EVENTS, ids)


async def postpone_events(connection: Connection, ids: Sequence[int], wait: timedelta) -> None:
    """Let these wait, since their broker rejects them; others go first."""
    await connection.execute(POSTPONE_EVENTS, ids, wait)


async def count_waiting(connection: Connection | Pool, application: int) -> int:
    """How many events are still to be published."""
    return await connection.fetchval(COUNT_WAITING, application)


async def drop_oldest(connection: Connection, application: int, count: int) -> int:
    """Delete so many of the oldest events; returns how many there were."""
    status = await connection.execute(DROP_OLDEST, application, count)
    return int(status.rsplit(" ", 1)[1])


async def find_device(
    connection: Connection, application: int, dev_eui: bytes, item: str | None
) -> FoundDevice | None:
    """The device, if this application covers it; two commands of one application follow each other."""
    return await fetch_one(connection, FoundDevice, FIND_DEVICE, application, dev_eui, item)


async def queue_downlink(
    connection: Connection, application: int, tenant_id: int, item: str | None, device_id: int, **asked: Any
) -> Enqueued:
    """The downlink row, under the name that the application gave it, and a line in its tenant's audit."""
    queued = await enqueue(connection, device_id, **asked)
    if item is not None:
        await connection.execute(NAME_DOWNLINK, queued.id, application, item)
    details = {"device_id": device_id, "f_port": asked["f_port"], "payload": asked["payload"].hex(), "item": item}
    await write_audit(
        connection, tenant_id, f"application {application}", "create", "downlink", queued.id, details
    )
    return queued


async def save_states(connection: Connection | Pool, counts: dict[int, ApplicationCounts]) -> None:
    """Add the counts to the state of these applications, by id."""
    ids = sorted(counts)
    states = arrays([counts[id_] for id_ in ids], WRITTEN_OF_STATE)
    await connection.execute(SAVE_STATES, ids, *states)
