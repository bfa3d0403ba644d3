"""What of queued events the owner of an MQTT access may see: asked before each batch is published.

Of an uplink: the measurements that `GET /v1/measurements` would show; the rest (payload, radio, what the codec
read that is no number) only when the whole uplink is shown and nothing that it measured is left out. Of a device's
life in the network: where the device is the tenant's own or a member's; a grant gives measurements alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from core.runtime.postgres import Connection
from integrations.applications.events import Event
from registry.applications import Application
from registry.audit import audit_personal_reads

ENTERED = "entered"
ENTER = "SELECT enter_mqtt_access($1)"
READABLE = """
SELECT asked.datastream_id, asked.time FROM unnest($1::int[], $2::timestamptz[]) AS asked (datastream_id, time)
JOIN readable_periods($1::int[]) r ON r.datastream_id = asked.datastream_id AND r.periods @> asked.time
"""
PERSONAL_STREAMS = "SELECT id FROM datastream WHERE id = ANY($1::int[]) AND privacy_class >= 2"
PERSONAL_DEVICES = "SELECT id FROM device WHERE id = ANY($1::int[]) AND is_personal"
SHOWN_UPLINKS = "SELECT shown_uplinks($1::int[], $2::timestamptz[], $3::uuid[]) AS uplink_id"
FOLLOWED_DEVICES = "SELECT followed_devices($1::int[]) AS id"


@dataclass(frozen=True, slots=True)
class Allowed:
    """Events as they may be published, and the ids of those of which nothing may."""

    events: list[Event]
    withheld: list[int]


@dataclass(frozen=True, slots=True)
class _Sight:
    """What may be seen: readings by datastream and instant, uplinks, devices; what of it is personal."""

    readable: set[tuple[int, datetime]]
    shown: set[UUID]
    followed: set[int]
    personal_streams: set[int]
    personal_devices: set[int]
    takes_personal: bool

    def of(self, event: Event) -> Event | None:
        """What may be published of it; None: nothing."""
        may_see_device = self.takes_personal or event.device_id not in self.personal_devices
        if event.uplink is None:
            return event if may_see_device and event.device_id in self.followed else None
        values = [one for one in event.uplink.values if self._is_readable(one.datastream_id, event.time)]
        is_whole = may_see_device and event.uplink_id in self.shown and len(values) == len(event.uplink.values)
        if is_whole:
            return event
        return replace(event, uplink=event.uplink.only(values)) if values else None

    def _is_readable(self, datastream: int, time: datetime) -> bool:
        may_be_told = self.takes_personal or datastream not in self.personal_streams
        return may_be_told and (datastream, time) in self.readable


async def allowed_events(connection: Connection, access: Application, events: Sequence[Event]) -> Allowed:
    """In a transaction for this alone: it enters the owner's tenant, with what the owner may see now."""
    if not events:
        return Allowed([], [])
    if await connection.fetchval(ENTER, access.id) != ENTERED:
        return Allowed([], [event.id for event in events])
    sight = await _sight(connection, access, events)
    seen: Mapping[int, Event | None] = {event.id: sight.of(event) for event in events}
    allowed = [event for event in seen.values() if event is not None]
    if access.personal:
        await _audit(connection, access, allowed)
    return Allowed(allowed, [id_ for id_, event in seen.items() if event is None])


async def _sight(connection: Connection, access: Application, events: Sequence[Event]) -> _Sight:
    devices = sorted({event.device_id for event in events})
    uplinks = [(event, event.uplink) for event in events if event.uplink is not None]
    asked = [(value.datastream_id, event.time) for event, uplink in uplinks for value in uplink.values]
    streams, times = [stream for stream, _ in asked], [time for _, time in asked]
    readable = await connection.fetch(READABLE, streams, times)
    of_uplinks = [[event.device_id for event, _ in uplinks], [event.time for event, _ in uplinks]]
    shown = await connection.fetch(SHOWN_UPLINKS, *of_uplinks, [event.uplink_id for event, _ in uplinks])
    return _Sight(
        {(row["datastream_id"], row["time"]) for row in readable},
        {row["uplink_id"] for row in shown},
        {row["id"] for row in await connection.fetch(FOLLOWED_DEVICES, devices)},
        {row["id"] for row in await connection.fetch(PERSONAL_STREAMS, streams)},
        {row["id"] for row in await connection.fetch(PERSONAL_DEVICES, devices)},
        access.personal,
    )


async def _audit(connection: Connection, access: Application, events: Sequence[Event]) -> None:
    """Record whose personal data this access is told of, as a reading of its owner's."""
    given = {"key": access.key_id} if access.key_id is not None else {"person": access.person_id}
    uplinks = [event.uplink for event in events if event.uplink is not None]
    streams = {value.datastream_id for uplink in uplinks for value in uplink.values}
    if streams:
        await audit_personal_reads(connection, f"accès MQTT {access.id}", given, streams=sorted(streams))
