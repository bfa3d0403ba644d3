"""Alert requests: rows by which other domains ask alerting for an alert, in their own transaction.

Alerting's owner of shard 0 takes them (`take_alert_requests`) in the transaction that opens the alerts, so that
each request becomes one alert, or one more occurrence of an open one, exactly once. They wait in the table while
alerting is away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from core.runtime.postgres import Connection, Pool, Record
from registry.gateway_supervision import AddressSeen
from registry.rows import arrays

REQUEST_ADDRESS_ALERTS = """
INSERT INTO alert_request (tenant_id, kind, gateway_id, facts, at)
SELECT g.tenant_id, 'gateway_address', g.id,
       jsonb_build_object('former', v.former, 'address', v.address, 'refused', v.refused, 'times', v.times), v.at
FROM unnest($1::bytea[], $2::text[], $3::text[], $4::boolean[], $5::bigint[], $6::timestamptz[])
     AS v (gateway_id, former, address, refused, times, at)
JOIN gateway g ON g.gateway_id = v.gateway_id
ORDER BY g.id
"""
# For the tenant that published the version, for those whose devices use it, and for those who operate the network.
REQUEST_CODEC_ALERTS = """
INSERT INTO alert_request (tenant_id, kind, facts, at)
SELECT concerned.tenant_id, 'codec',
       jsonb_build_object('codec', format('%s v%s', c.name, v.version), 'reason', v.quarantine_reason,
                          'detail', v.quarantine_detail), $2
FROM codec_version v JOIN codec c ON c.id = v.codec_id, LATERAL (
    SELECT v.tenant_id WHERE v.tenant_id IS NOT NULL
    UNION
    SELECT d.tenant_id FROM device d JOIN device_profile p ON p.id = d.device_profile_id
    LEFT JOIN device_profile_override o ON o.tenant_id = d.tenant_id AND o.device_profile_id = p.id
    WHERE coalesce(o.codec_version_id, p.codec_version_id) = v.id
    UNION
    SELECT k.tenant_id FROM api_key k
    WHERE 'operate' = ANY(k.roles) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
) AS concerned
WHERE v.id = $1
ORDER BY concerned.tenant_id
"""
REQUEST_CLOCK_ALERTS = """
INSERT INTO alert_request (tenant_id, kind, facts, at)
SELECT v.tenant_id, 'clock', jsonb_build_object('device', v.device_id, 'source', s.name), v.at
FROM unnest($1::int[], $2::int[], $3::int[], $4::timestamptz[]) AS v (tenant_id, source_id, device_id, at)
LEFT JOIN lns_source s ON s.id = v.source_id
WHERE v.device_id IS NOT NULL OR s.id IS NOT NULL
ORDER BY v.tenant_id, v.source_id, v.device_id
"""
REQUEST_PROGRAM_ALERTS = """
INSERT INTO alert_request (tenant_id, kind, facts, at)
SELECT v.tenant_id, 'program_mismatch',
       jsonb_build_object('asset_id', v.asset_id, 'device_id', v.device_id, 'desired', v.desired,
                          'reported', v.reported, 'drifts', v.drifts), v.at
FROM unnest($1::int[], $2::int[], $3::int[], $4::text[], $5::text[], $6::boolean[], $7::timestamptz[])
     AS v (tenant_id, asset_id, device_id, desired, reported, drifts, at)
ORDER BY v.tenant_id, v.asset_id
"""
REQUEST_RELIGHT_ALERT = """
INSERT INTO alert_request (tenant_id, kind, facts, at)
SELECT tenant_id, 'relight_failed', jsonb_build_object('asset_id', id, 'reason', $2::text), $3
FROM asset WHERE id = $1
"""
# Before its lamps are to burn: nothing will light them as things stand.
REQUEST_DUSK_ALERT = """
INSERT INTO alert_request (tenant_id, kind, facts, at)
SELECT tenant_id, 'relight_failed', jsonb_build_object('asset_id', id, 'reason', $2::text, 'lit_at', $3::text), $4
FROM asset WHERE id = $1
"""
REQUEST_EXPORT_ALERT = """
INSERT INTO alert_request (tenant_id, kind, facts, at)
VALUES ($1, 'export_drop', jsonb_build_object('schedule', $2::text, 'reason', $3::text), $4)
"""
IS_ANY = "SELECT EXISTS (SELECT FROM alert_request)"
TAKE = """
DELETE FROM alert_request WHERE id IN (
    SELECT id FROM alert_request ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
)
RETURNING id, tenant_id, kind, gateway_id, facts, at
"""


class _AddressFacts(msgspec.Struct):
    former: str
    address: str
    refused: bool
    times: int


class _CodecFacts(msgspec.Struct):
    codec: str
    reason: str | None = None
    detail: str | None = None


class _ClockFacts(msgspec.Struct):
    device: int | None
    source: str | None


class _ProgramFacts(msgspec.Struct):
    asset_id: int
    device_id: int
    desired: str | None
    reported: str | None
    drifts: bool


class _RelightFacts(msgspec.Struct):
    asset_id: int
    reason: str
    lit_at: str | None = None


class _ExportFacts(msgspec.Struct):
    schedule: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class AddressAlertRequest:
    """A gateway sent from another address than before: it has moved, or was rejected (`times` datagrams)."""

    tenant_id: int
    gateway_id: int
    former: str
    address: str
    refused: bool
    times: int
    at: datetime


@dataclass(frozen=True, slots=True)
class CodecAlertRequest:
    """A codec version was suspended; `codec` names it and its version.

    Without a reason, `codec` says that, too: a service of before schema 53 has asked.
    """

    tenant_id: int
    codec: str
    reason: str | None
    detail: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class ClockAlertRequest:
    """A clock states instants that are not credible: that of a source, by its name, or that of a device."""

    tenant_id: int
    source: str | None
    device_id: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class ProgramAlertRequest:
    """A clock holds another lighting program than it should (`drifts`), or does no longer; hashes are in hex."""

    tenant_id: int
    asset_id: int
    device_id: int
    desired: str | None
    reported: str | None
    drifts: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class RelightAlertRequest:
    """A circuit that must be lit is not, or nobody knows; `reason`, in French, says why.

    With `lit_at`, an hour on the wall, it is not yet time: nothing will light it then, as things stand.
    """

    tenant_id: int
    asset_id: int
    reason: str
    at: datetime
    lit_at: str | None = None


@dataclass(frozen=True, slots=True)
class ExportAlertRequest:
    """Files of a schedule, by its name, are not put down any more; without a reason (in French) they are again."""

    tenant_id: int
    schedule: str
    reason: str | None
    at: datetime


AlertRequest = (
    AddressAlertRequest
    | CodecAlertRequest
    | ClockAlertRequest
    | RelightAlertRequest
    | ProgramAlertRequest
    | ExportAlertRequest
)


async def request_address_alerts(connection: Connection, changes: Sequence[AddressSeen]) -> None:
    """Ask for one alert for each registered gateway of these: about its last change."""
    last = list({change.gateway_id: change for change in changes}.values())
    await connection.execute(
        REQUEST_ADDRESS_ALERTS,
        [change.gateway_id for change in last],
        [change.former for change in last],
        [change.address for change in last],
        [change.refused for change in last],
        [change.times for change in last],
        [change.at for change in last],
    )


async def request_codec_alerts(connection: Connection, version_id: int, at: datetime) -> None:
    """Ask for an alert of every tenant that the suspension of this version concerns."""
    await connection.execute(REQUEST_CODEC_ALERTS, version_id, at)


async def request_clock_alerts(
    connection: Connection, clocks: Sequence[tuple[int, int | None, int | None, datetime]]
) -> None:
    """Ask for an alert of each wrong clock: tenant, source or device, and when it was last seen to be wrong."""
    await connection.execute(REQUEST_CLOCK_ALERTS, *map(list, zip(*clocks, strict=True)))


async def request_program_alerts(connection: Connection, requests: Sequence[ProgramAlertRequest]) -> None:
    """Ask for an alert of each clock that holds another program than it should, and for the end of others'."""
    names = "tenant_id, asset_id, device_id, desired, reported, drifts, at"
    await connection.execute(REQUEST_PROGRAM_ALERTS, *arrays(requests, names))


async def request_relight_alert(connection: Connection, asset_id: int, reason: str, at: datetime) -> None:
    """Ask people to look at a circuit that does not light."""
    await connection.execute(REQUEST_RELIGHT_ALERT, asset_id, reason, at)


async def request_dusk_alert(
    connection: Connection, asset_id: int, reason: str, lit_at: str, at: datetime
) -> None:
    """Name a circuit that is to be lit at `lit_at`, an hour on the wall, and, as things stand, will not be."""
    await connection.execute(REQUEST_DUSK_ALERT, asset_id, reason, lit_at, at)


async def request_export_alert(
    connection: Connection, tenant_id: int, schedule: str, reason: str, at: datetime
) -> None:
    """Tell the tenant that the files of a schedule do not arrive; the row that says that they do ends it."""
    await connection.execute(REQUEST_EXPORT_ALERT, tenant_id, schedule, reason, at)


async def is_any_alert_requested(pool: Pool) -> bool:
    """Whether there is something to take; it is looked for far more often than there is."""
    return await pool.fetchval(IS_ANY)


async def take_alert_requests(connection: Connection, most: int) -> list[AlertRequest]:
    """Delete and return the oldest requests, in the transaction that opens their alerts."""
    rows = await connection.fetch(TAKE, most)
    return [_request(row) for row in sorted(rows, key=lambda row: row["id"])]


def _request(row: Record) -> AlertRequest:
    if row["kind"] == "program_mismatch":
        held = msgspec.convert(row["facts"], _ProgramFacts)
        return ProgramAlertRequest(
            row["tenant_id"], held.asset_id, held.device_id, held.desired, held.reported, held.drifts, row["at"]
        )
    if row["kind"] == "relight_failed":
        circuit = msgspec.convert(row["facts"], _RelightFacts)
        return RelightAlertRequest(row["tenant_id"], circuit.asset_id, circuit.reason, row["at"], circuit.lit_at)
    if row["kind"] == "export_drop":
        facts = msgspec.convert(row["facts"], _ExportFacts)
        return ExportAlertRequest(row["tenant_id"], facts.schedule, facts.reason, row["at"])
    if row["kind"] == "clock":
        clock = msgspec.convert(row["facts"], _ClockFacts)
        return ClockAlertRequest(row["tenant_id"], clock.source, clock.device, row["at"])
    if row["kind"] == "codec":
        said = msgspec.convert(row["facts"], _CodecFacts)
        return CodecAlertRequest(row["tenant_id"], said.codec, said.reason, said.detail, row["at"])
    facts = msgspec.convert(row["facts"], _AddressFacts)
    return AddressAlertRequest(
        row["tenant_id"], row["gateway_id"], facts.former, facts.address, facts.refused, facts.times, row["at"]
    )
