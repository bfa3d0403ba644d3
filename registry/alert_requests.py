"""Alert requests: rows by which other domains ask alerting for an alert, in their own transaction.

Alerting's owner of shard 0 takes them (`take_alert_requests`) in the transaction that opens the alerts, so that
each request becomes one alert, or one more occurrence of an open one, exactly once. They wait in the table while
alerting is away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from core.runtime.postgres import Connection, Record
from registry.gateway_supervision import AddressSeen

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
       jsonb_build_object('codec', format('%s v%s (%s)', c.name, v.version, v.quarantine_reason)), $2
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
    """A codec version was suspended; `codec` names it, its version and why."""

    tenant_id: int
    codec: str
    at: datetime


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


async def take_alert_requests(connection: Connection, most: int) -> list[AddressAlertRequest | CodecAlertRequest]:
    """Delete and return the oldest requests, in the transaction that opens their alerts."""
    rows = await connection.fetch(TAKE, most)
    return [_request(row) for row in sorted(rows, key=lambda row: row["id"])]


def _request(row: Record) -> AddressAlertRequest | CodecAlertRequest:
    if row["kind"] == "codec":
        codec = msgspec.convert(row["facts"], _CodecFacts).codec
        return CodecAlertRequest(row["tenant_id"], codec, row["at"])
    facts = msgspec.convert(row["facts"], _AddressFacts)
    return AddressAlertRequest(
        row["tenant_id"], row["gateway_id"], facts.former, facts.address, facts.refused, facts.times, row["at"]
    )
