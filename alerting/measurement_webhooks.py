"""SQL of webhooks of measurements for the API: what each wants, by whose rights, how far it is, what was sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Pool
from registry.cursors import feed_cursor
from registry.feed import FeedState, Position
from registry.rows import Written, fetch_all, fetch_one

FILTERS = Written("datastream_ids, asset_ids, asset_kind, quantity, tag, commune")
WRITTEN = Written(f"description, {FILTERS.columns}, personal, batch_most, batch_seconds")
# The job of the last batch tells how its receiver does.
STATE = """
CASE WHEN w.state = 'stopped' THEN 'stopped' WHEN e.state <> 'enabled' THEN 'suspended'
     WHEN j.status = 'failed' THEN 'abandoned' WHEN j.status IS NOT NULL THEN 'waiting' ELSE 'active' END
"""
OWN = f"""
w.id, w.tenant_id, w.endpoint_id, w.created_at, w.description, w.key_id, w.person_id, w.datastream_ids,
w.asset_ids, w.asset_kind, w.quantity, w.tag, w.commune, w.personal, w.batch_most, w.batch_seconds,
{STATE} AS state, w.reason, w.stopped_at, w.withheld, w.batches, w.readings, w.reached_at, w.epoch, w.xid,
w.number, w.place
"""
SHOWN = f"""
SELECT {OWN} FROM measurement_webhook w JOIN webhook_endpoint e ON e.id = w.endpoint_id
LEFT JOIN LATERAL measurement_batch_job(w.id) AS j ON true
"""
CREATE = f"""
INSERT INTO measurement_webhook (tenant_id, endpoint_id, key_id, person_id, epoch, xid, number, place,
                                 {WRITTEN.columns})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, {WRITTEN.parameters(9)}) RETURNING id
"""
READ = f"{SHOWN} WHERE w.id = $1"
LIST = f"{SHOWN} ORDER BY w.id"
UPDATE = f"UPDATE measurement_webhook SET {WRITTEN.patched(2)}, next_at = now() WHERE id = $1 RETURNING true"
DELETE = "DELETE FROM measurement_webhook WHERE id = $1 RETURNING true"
STOP = """
UPDATE measurement_webhook SET state = 'stopped', reason = 'asked', stopped_at = now()
WHERE id = $1 AND state = 'active' RETURNING true
"""
GO_ON = """
UPDATE measurement_webhook SET state = 'active', reason = NULL, stopped_at = NULL, withheld = 0, warned_at = NULL,
       key_id = $2, person_id = $3, next_at = now()
WHERE id = $1 RETURNING true
"""
# Elsewhere: what waits of before is dropped by a trigger.
BEGIN_AT = """
UPDATE measurement_webhook SET run = gen_random_uuid(), epoch = $2, xid = $3, number = $4, place = $5,
       message_id = NULL, former_xid = NULL, former_number = NULL, former_place = NULL, last_streams = NULL,
       reached_at = now()
WHERE id = $1 RETURNING true
"""
JOB = "SELECT id, status FROM measurement_batch_job($1)"
HAS_KEY = """
SELECT 'read' = ANY(roles) FROM api_key WHERE id = $1 AND revoked_at IS NULL
AND (expires_at IS NULL OR expires_at > now())
"""
# With the attempts at each.
LIST_BATCHES = """
SELECT b.number, b.message_id, b.made_at, b.readings, b.recorded_from, b.recorded_until,
       coalesce(t.attempts, 0)::int AS attempts, t.delivered_at, l.status, l.answer, l.next_at
FROM measurement_batch b JOIN measurement_webhook w ON w.id = b.webhook_id
LEFT JOIN LATERAL (
    SELECT count(*) AS attempts, max(a.at) FILTER (WHERE a.outcome = 'delivered') AS delivered_at
    FROM webhook_attempt a WHERE a.message_id = b.message_id AND a.endpoint_id = w.endpoint_id) t ON true
LEFT JOIN LATERAL (
    SELECT a.status, a.answer, a.next_at FROM webhook_attempt a
    WHERE a.message_id = b.message_id AND a.endpoint_id = w.endpoint_id ORDER BY a.attempt DESC LIMIT 1) l ON true
WHERE b.webhook_id = $1 AND ($2::bigint IS NULL OR b.number < $2) ORDER BY b.number DESC LIMIT $3
"""


# Why one is stopped, and what to do, in French.
STOPPED_FOR = {
    "asked": "à la demande ; relancez-le quand vous voulez",
    "tenant_closed": "la collectivité est fermée",
    "key_ended": "la clé dont il a les droits est révoquée, a expiré ou ne permet plus de lire : relancez-le avec "
    "une autre",
    "person_gone": "la personne dont il a les droits n'a plus de rôle : relancez-le pour qu'il ait les vôtres",
    "withdrawn": "plus rien de ce qu'il nomme ne peut être lu (partage terminé, droit retiré ou flux supprimé) : "
    "changez ce qu'il nomme, puis relancez-le",
    "personal": "ce qu'il nomme est devenu une donnée personnelle (classe 2), qu'il n'envoie pas : changez ce "
    "qu'il nomme ou permettez-le (`personal`), puis relancez-le",
    "forgotten": "il a plus de sept jours de retard, des mesures ne sont plus dans le fil : relancez-le du plus "
    "ancien gardé (`oldest`) ou de maintenant (`now`), et relisez la période manquée par un export",
    "restored": "la base a été restaurée : relancez-le de maintenant (`now`), et relisez par un export ce qui a "
    "été mesuré depuis le dernier lot reçu",
}


@dataclass(frozen=True, slots=True)
class MeasurementWebhook:
    """A subscription as its tenant sees it.

    `state`: active; waiting (its receiver has not taken the last batch yet), abandoned (it was given up),
    suspended (the address is out of service), stopped (see `reason`).
    """

    id: int
    tenant_id: int
    endpoint_id: int
    created_at: datetime
    description: str
    key_id: str | None
    person_id: int | None
    datastream_ids: Sequence[int] | None
    asset_ids: Sequence[int] | None
    asset_kind: str | None
    quantity: str | None
    tag: str | None
    commune: str | None
    personal: bool
    batch_most: int
    batch_seconds: int
    state: str
    reason: str | None
    stopped_at: datetime | None
    withheld: int
    batches: int
    readings: int
    reached_at: datetime
    epoch: str
    xid: int
    number: int
    place: int

    @property
    def position(self) -> Position:
        """Where the next batch begins."""
        return Position(self.xid, self.number, self.place)

    @property
    def cursor(self) -> str:
        """The same, for a reading of the feed."""
        return feed_cursor(self.epoch, self.tenant_id, self.position)


@dataclass(frozen=True, slots=True)
class Batch:
    """A message that was made of a subscription, and the attempts at it."""

    number: int
    message_id: str
    made_at: datetime
    readings: int
    recorded_from: datetime
    recorded_until: datetime
    attempts: int
    delivered_at: datetime | None
    status: int | None
    answer: str | None
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose rights hold: a key's or a person's."""

    key_id: str | None
    person_id: int | None


async def create_webhook(
    connection: Connection,
    tenant_id: int,
    endpoint_id: int,
    owner: Owner,
    begins: tuple[str, Position],
    given: Mapping[str, Any],
) -> MeasurementWebhook:
    """A new subscription, of the columns in `WRITTEN`, from an epoch's position on."""
    whose = tenant_id, endpoint_id, owner.key_id, owner.person_id
    made_id = await connection.fetchval(CREATE, *whose, begins[0], *begins[1], *WRITTEN.values(given))
    made = await read_webhook(connection, made_id)
    assert made is not None  # noqa: S101 - It was made in this transaction.
    return made


async def read_webhook(connection: Connection | Pool, webhook_id: int) -> MeasurementWebhook | None:
    """One of them."""
    return await fetch_one(connection, MeasurementWebhook, READ, webhook_id)


async def list_webhooks(connection: Connection | Pool) -> list[MeasurementWebhook]:
    """Every visible one: a tenant has few."""
    return await fetch_all(connection, MeasurementWebhook, LIST)


async def update_webhook(connection: Connection, webhook_id: int, given: Mapping[str, Any]) -> bool:
    """Change the columns that are given; False: there is none."""
    return await connection.fetchval(UPDATE, webhook_id, *WRITTEN.changes(given)) is True


async def delete_webhook(connection: Connection, webhook_id: int) -> bool:
    """Remove one, with what waits of it; False: there is none."""
    return await connection.fetchval(DELETE, webhook_id) is True


async def stop_webhook(connection: Connection, webhook_id: int) -> bool:
    """Make no more batches; False: it is stopped, or there is none."""
    return await connection.fetchval(STOP, webhook_id) is True


async def go_on(connection: Connection, webhook_id: int, owner: Owner) -> None:
    """Make batches again, with the rights of this owner."""
    await connection.execute(GO_ON, webhook_id, owner.key_id, owner.person_id)


async def begin_at(connection: Connection, webhook_id: int, state: FeedState, position: Position) -> None:
    """Go on from elsewhere; what waits of before is dropped."""
    await connection.execute(BEGIN_AT, webhook_id, state.epoch, *position)


async def abandoned_job(connection: Connection, webhook_id: int) -> int | None:
    """The dead letter of the last batch; None: it is none."""
    row = await connection.fetchrow(JOB, webhook_id)
    return row["id"] if row is not None and row["status"] == "failed" else None


async def is_reading_key(connection: Connection, key_id: str) -> bool:
    """Whether this is a key of the tenant that holds and may read."""
    return await connection.fetchval(HAS_KEY, key_id) is True


async def list_batches(
    connection: Connection | Pool, webhook_id: int, *, before: int | None = None, most: int = 100
) -> list[Batch]:
    """Those that were made, newest first; `before`: the last number of the former page."""
    return await fetch_all(connection, Batch, LIST_BATCHES, webhook_id, before, most)
