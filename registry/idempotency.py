"""Requests that name themselves by an Idempotency-Key, and their answers, for a day."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.runtime.postgres import Connection
from registry.keys import KeyWrap
from registry.rows import fetch_one

KEPT = timedelta(hours=24)
# Beyond the deadline of every request: one that has committed nothing by then never will, and may be tried again.
ABANDONED = timedelta(seconds=60)
# Of one principal within `KEPT`.
MOST_KEPT = 10_000
ANSWER_MOST = 256 << 10

RESERVE = """
INSERT INTO idempotency_key AS k (tenant_id, principal, key_digest, request_digest)
SELECT $1, $2, $3, $4
WHERE (SELECT count(*) FROM idempotency_key WHERE principal = $2 AND started_at > now() - $5::interval) < $7
ON CONFLICT (principal, key_digest) DO UPDATE
SET request_digest = excluded.request_digest, started_at = excluded.started_at, is_committed = false,
    status = NULL, media_type = NULL, answer_wrapped = NULL, kek_id = NULL
WHERE k.started_at < now() - $5::interval
   OR (NOT k.is_committed AND k.status IS NULL AND k.started_at < now() - $6::interval
       AND k.request_digest = excluded.request_digest)
RETURNING started_at
"""
READ = """
SELECT request_digest, is_committed, status, media_type, answer_wrapped FROM idempotency_key
WHERE principal = $1 AND key_digest = $2
"""
# Whoever was overtaken commits nothing.
MARK_COMMITTED = """
UPDATE idempotency_key SET is_committed = true
WHERE principal = $1 AND key_digest = $2 AND started_at = $3 RETURNING true
"""
SAVE_ANSWER = """
UPDATE idempotency_key SET status = $4, media_type = $5, answer_wrapped = $6, kek_id = $7
WHERE principal = $1 AND key_digest = $2 AND started_at = $3
"""
RELEASE = """
DELETE FROM idempotency_key WHERE principal = $1 AND key_digest = $2 AND started_at = $3 AND NOT is_committed
"""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A request that runs under its key; `started_at` tells it from one that overtook it."""

    principal: str
    key_digest: bytes
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Former:
    """The request that has the key. Without `status` it runs, or ended without an answer."""

    request_digest: bytes
    is_committed: bool
    status: int | None
    media_type: str | None
    answer_wrapped: bytes | None = field(repr=False)


def answer_owner(principal: str, key_digest: bytes) -> str:
    """The owner that an answer is sealed for."""
    return f"idempotency_key/{principal}/{key_digest.hex()}/answer"


async def reserve(
    connection: Connection, tenant_id: int, principal: str, key_digest: bytes, request_digest: bytes
) -> Reservation | Former | None:
    """The key for this request, or the request that has it; None: this principal has too many."""
    started_at = await connection.fetchval(
        RESERVE, tenant_id, principal, key_digest, request_digest, KEPT, ABANDONED, MOST_KEPT
    )
    if started_at is not None:
        return Reservation(principal, key_digest, started_at)
    return await fetch_one(connection, Former, READ, principal, key_digest)


async def mark_committed(connection: Connection, reservation: Reservation) -> bool:
    """In the transaction of the effect; False: another request took over, and this one may commit nothing."""
    return (
        await connection.fetchval(
            MARK_COMMITTED, reservation.principal, reservation.key_digest, reservation.started_at
        )
        is True
    )


async def save_answer(
    connection: Connection,
    keys: KeyWrap,
    reservation: Reservation,
    status: int,
    media_type: str | None,
    answer: bytes,
) -> None:
    """Keep the answer, sealed. Of one that is too long only the status is kept."""
    wrapped = None
    if len(answer) <= ANSWER_MOST:
        owner = answer_owner(reservation.principal, reservation.key_digest)
        wrapped = keys.wrap_octets(answer, owner)
    await connection.execute(
        SAVE_ANSWER,
        reservation.principal,
        reservation.key_digest,
        reservation.started_at,
        status,
        media_type,
        wrapped,
        None if wrapped is None else keys.kek_id,
    )


async def release(connection: Connection, reservation: Reservation) -> None:
    """Forget a request that was not accepted, unless something of it was committed."""
    await connection.execute(RELEASE, reservation.principal, reservation.key_digest, reservation.started_at)
