"""CUPS in the registry: what each LoRa Basics Station has and shall have, and the programs it can be given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection
from lorawan.gateway.cups import (
    SignedUpdate,
    UpdateAnswer,
    UpdateInfo,
    crc_of_credential,
    token_credential,
)
from registry.gateway_tokens import GatewayToken, create_fetched_token, end_former
from registry.rows import fetch_all, fetch_one, insert

# Of `r` and `o`, with the token of `t`: whether the credential that was asked for is the one that it has.
CREDENTIAL_ARRIVED = """coalesce(r.token_for = o.token_wanted_at
    AND (r.tc_cred_crc = r.token_crc OR t.last_used_at IS NOT NULL), false)"""
JOINED = """LEFT JOIN station_order o ON o.gateway_id = g.id LEFT JOIN station_report r ON r.gateway_id = g.id
LEFT JOIN gateway_token t ON t.id = r.token_id AND t.gateway_id = g.id
LEFT JOIN station_update u ON u.id = o.update_id"""
UPDATE_ARRIVED = """coalesce((u.package IS NULL OR r.package = u.package)
    AND (u.station IS NULL OR starts_with(r.station, u.station)), false)"""
# What people are shown of a gateway `g`; NULL where it is no station of CUPS.
SHOWN_STATION = f"""CASE WHEN o.gateway_id IS NOT NULL OR r.gateway_id IS NOT NULL THEN jsonb_build_object(
    'reported_at', r.reported_at, 'station', r.station, 'model', r.model, 'package', r.package,
    'cups_uri', r.cups_uri, 'tc_uri', r.tc_uri, 'cups_cred_crc', r.cups_cred_crc, 'tc_cred_crc', r.tc_cred_crc,
    'keys', coalesce(to_jsonb(r.keys), '[]'), 'token_sent_at', r.token_sent_at, 'update_sent_at', r.update_sent_at,
    'ordered_at', o.ordered_at, 'wanted_cups_uri', o.cups_uri, 'wanted_tc_uri', o.tc_uri,
    'wanted_update_id', o.update_id,
    'awaited', to_jsonb(array_remove(ARRAY[
        CASE WHEN o.cups_uri IS NOT NULL AND r.cups_uri IS DISTINCT FROM o.cups_uri THEN 'cups_uri' END,
        CASE WHEN o.tc_uri IS NOT NULL AND r.tc_uri IS DISTINCT FROM o.tc_uri THEN 'tc_uri' END,
        CASE WHEN o.token_wanted_at IS NOT NULL AND NOT {CREDENTIAL_ARRIVED} THEN 'token' END,
        CASE WHEN o.update_id IS NOT NULL AND NOT {UPDATE_ARRIVED} THEN 'update' END], NULL))) END"""

SHOWN_UPDATE = "id, tenant_id, name, package, station, model, key_crc, created_at"
CREATE_UPDATE = f"""
INSERT INTO station_update (tenant_id, name, package, station, model, key_crc, signature, content)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {SHOWN_UPDATE}
"""
LIST_UPDATES = f"SELECT {SHOWN_UPDATE} FROM station_update ORDER BY id"
READ_UPDATE = f"SELECT {SHOWN_UPDATE} FROM station_update WHERE id = $1"
DELETE_UPDATE = "DELETE FROM station_update WHERE id = $1 RETURNING true"

# NULL: what was ordered before stays. Without a certificate of its authority no order asks for a token.
ORDER = """
INSERT INTO station_order AS known (gateway_id, cups_uri, tc_uri, token_wanted_at, trust, update_id)
SELECT g.id, $2, $3, CASE WHEN $4 THEN now() END, coalesce($5, o.trust), $6 FROM gateway g
LEFT JOIN station_order o ON o.gateway_id = g.id
WHERE g.id = ANY($1::int[]) AND (NOT $4 OR coalesce($5, o.trust) IS NOT NULL)
ORDER BY g.id
ON CONFLICT (gateway_id) DO UPDATE
SET cups_uri = coalesce(excluded.cups_uri, known.cups_uri), tc_uri = coalesce(excluded.tc_uri, known.tc_uri),
    token_wanted_at = coalesce(excluded.token_wanted_at, known.token_wanted_at),
    trust = coalesce(excluded.trust, known.trust), update_id = coalesce(excluded.update_id, known.update_id),
    ordered_at = now()
RETURNING gateway_id
"""
WITHDRAW = "DELETE FROM station_order WHERE gateway_id = $1 RETURNING true"
# The stations of a tenant: what has spoken that protocol, or has asked here before.
LIST_STATIONS = """
SELECT g.id, g.gateway_id FROM gateway g
LEFT JOIN gateway_state s ON s.gateway_id = g.id LEFT JOIN station_report r ON r.gateway_id = g.id
WHERE g.tenant_id = $1 AND (s.frontend = 'basics_station' OR r.gateway_id IS NOT NULL) ORDER BY g.id
"""

LOCK = "SELECT id FROM gateway WHERE gateway_id = $1 FOR NO KEY UPDATE"
READ_ORDER = f"""
SELECT o.cups_uri, o.tc_uri, o.token_wanted_at, o.trust, o.update_id, u.package, u.station, u.model, u.key_crc,
       r.token_id, r.token_for, r.token_crc, t.last_used_at IS NOT NULL AS token_is_used
FROM gateway g {JOINED} WHERE g.id = $1
"""
READ_CONTENT = "SELECT key_crc, signature, content FROM station_update WHERE id = $1"
REPORT = """
INSERT INTO station_report (gateway_id, station, model, package, cups_uri, tc_uri, cups_cred_crc, tc_cred_crc,
                            keys)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (gateway_id) DO UPDATE
SET reported_at = now(), station = excluded.station, model = excluded.model, package = excluded.package,
    cups_uri = excluded.cups_uri, tc_uri = excluded.tc_uri, cups_cred_crc = excluded.cups_cred_crc,
    tc_cred_crc = excluded.tc_cred_crc, keys = excluded.keys
"""
RECORD_CREDENTIAL = """
UPDATE station_report SET token_id = $2, token_for = $3, token_crc = $4, token_sent_at = now()
WHERE gateway_id = $1
"""
RECORD_UPDATE = "UPDATE station_report SET update_id = $2, update_sent_at = now() WHERE gateway_id = $1"


@dataclass(frozen=True, slots=True)
class StationUpdate:
    """A program for stations, without its octets."""

    id: int
    tenant_id: int
    name: str
    package: str | None
    station: str | None
    model: str | None
    key_crc: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StationOrder:
    """What a station shall have, and what it was given of it; None where nothing is wanted."""

    cups_uri: str | None
    tc_uri: str | None
    token_wanted_at: datetime | None
    trust: bytes | None
    update_id: int | None
    package: str | None
    station: str | None
    model: str | None
    key_crc: int | None
    token_id: str | None
    token_for: datetime | None
    token_crc: int | None
    token_is_used: bool

    def lacks_token(self, info: UpdateInfo) -> bool:
        """Whether the station is to be given a token: the last it was given for this order has not arrived."""
        if self.token_wanted_at is None or self.trust is None:
            return False
        is_given = self.token_for == self.token_wanted_at and self.token_id is not None
        return not (is_given and (self.token_is_used or info.tc_cred_crc == self.token_crc))

    def lacks_update(self, info: UpdateInfo) -> bool:
        """Whether the station is to be given the program: it is another than it has, and it will verify it."""
        is_there = self.package in {None, info.package} and info.station.startswith(self.station or "")
        is_fit = self.model in {None, info.model} and self.key_crc in info.keys
        return self.update_id is not None and is_fit and not is_there


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a station is answered, and the token that was made for it."""

    answer: UpdateAnswer
    token: GatewayToken | None = None


async def create_update(
    connection: Connection, tenant_id: int, described: Mapping[str, Any], signed: SignedUpdate
) -> StationUpdate:
    """Keep a program whose signature was verified; UniqueViolationError when the tenant has one of that name."""
    names = (described["name"], described["package"], described["station"], described["model"])
    return await insert(
        connection,
        StationUpdate,
        CREATE_UPDATE,
        tenant_id,
        *names,
        signed.key_crc,
        signed.signature,
        signed.content,
    )


async def list_updates(connection: Connection) -> list[StationUpdate]:
    """The programs of the tenant, the oldest first."""
    return await fetch_all(connection, StationUpdate, LIST_UPDATES)


async def read_update(connection: Connection, update_id: int) -> StationUpdate | None:
    """One of them."""
    return await fetch_one(connection, StationUpdate, READ_UPDATE, update_id)


async def delete_update(connection: Connection, update_id: int) -> bool:
    """Remove a program: no station is given it any more. False when there is none."""
    return await connection.fetchval(DELETE_UPDATE, update_id) is True


async def list_stations(connection: Connection, tenant_id: int) -> list[tuple[int, bytes]]:
    """The stations of a tenant by the id of their rows, with their EUIs."""
    return [(row["id"], row["gateway_id"]) for row in await connection.fetch(LIST_STATIONS, tenant_id)]


async def want(
    connection: Connection,
    gateways: Sequence[int],
    *,
    cups_uri: str | None,
    tc_uri: str | None,
    new_token: bool,
    trust: bytes | None,
    update_id: int | None,
) -> int:
    """Want this of these stations; None leaves what was wanted. Of how many it is wanted now.

    A token needs the authority's certificate (DER), of this order or of one before: gateways without are left out.
    """
    values = (cups_uri, tc_uri, new_token, trust, update_id)
    return len(await connection.fetch(ORDER, list(gateways), *values))


async def withdraw(connection: Connection, gateway: int) -> bool:
    """Want nothing more of a station, which keeps what it has; False when nothing was wanted."""
    return await connection.fetchval(WITHDRAW, gateway) is True


async def fetch_for(connection: Connection, info: UpdateInfo, shown: GatewayToken | None) -> Fetched | None:
    """Record what a station has, and find what it lacks, in the caller's transaction; None: it is not registered.

    Args:
        connection: in a transaction.
        info: what it says that it has.
        shown: the token that it came with; None where it was a certificate: then it keeps that for CUPS.
    """
    gateway = await connection.fetchval(LOCK, info.gateway_id)
    if gateway is None:
        return None
    await connection.execute(
        REPORT,
        gateway,
        info.station,
        info.model,
        info.package,
        info.cups_uri,
        info.tc_uri,
        info.cups_cred_crc,
        info.tc_cred_crc,
        list(info.keys),
    )
    wanted = await fetch_one(connection, StationOrder, READ_ORDER, gateway)
    assert wanted is not None  # noqa: S101 - The gateway's row is locked.
    answer = UpdateAnswer(
        cups_uri=_changed(wanted.cups_uri, info.cups_uri), tc_uri=_changed(wanted.tc_uri, info.tc_uri)
    )
    token = None
    if wanted.lacks_token(info):
        answer, token = await _with_token(connection, gateway, wanted, answer, shown)
    elif wanted.token_id is not None and info.tc_cred_crc == wanted.token_crc:
        await end_former(connection, [wanted.token_id])
    if wanted.lacks_update(info):
        row = await connection.fetchrow(READ_CONTENT, wanted.update_id)
        if row is not None:
            answer = replace(answer, update=SignedUpdate(row["key_crc"], row["signature"], row["content"]))
            await connection.execute(RECORD_UPDATE, gateway, wanted.update_id)
    return Fetched(answer, token)


def _changed(wanted: str | None, former: str) -> str:
    return "" if wanted is None or wanted == former else wanted


async def _with_token(
    connection: Connection, gateway: int, wanted: StationOrder, answer: UpdateAnswer, shown: GatewayToken | None
) -> tuple[UpdateAnswer, GatewayToken]:
    """Another token for the station's `tc.key`, and for `cups.key` where it has one there."""
    text, token = await create_fetched_token(connection, gateway, None if shown is None else shown.id)
    credential = token_credential(wanted.trust or b"", text)
    await connection.execute(
        RECORD_CREDENTIAL, gateway, token.id, wanted.token_wanted_at, crc_of_credential(credential)
    )
    for_cups = b"" if shown is None else credential
    return replace(answer, tc_credential=credential, cups_credential=for_cups), token
