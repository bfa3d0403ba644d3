"""SQL by which webhooks of measurements go on in the feed: of all tenants, for the dispatcher."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from alerting.measurement_webhooks import STATE
from core.runtime.postgres import Connection, Pool
from registry.feed import FeedState, Position
from registry.rows import fetch_all, fetch_one

# The job of the last batch; none: it was taken, or thrown away, or there was none.
JOB_OF = """
LEFT JOIN LATERAL (
    SELECT q.status::text AS status FROM jobs.pgqueuer q
    WHERE q.entrypoint = 'webhook/' || w.endpoint_id AND q.dedupe_key = w.message_id || '/' || w.endpoint_id
      AND q.status IN ('queued', 'picked', 'failed') LIMIT 1) j ON true
"""
IS_ANY_ACTIVE = "SELECT EXISTS (SELECT FROM measurement_webhook WHERE state = 'active')"
IS_ANY_DUE = "SELECT EXISTS (SELECT FROM measurement_webhook WHERE state = 'active' AND next_at <= now())"
DUE = f"""
SELECT w.id FROM measurement_webhook w JOIN webhook_endpoint e ON e.id = w.endpoint_id {JOB_OF}
WHERE w.state = 'active' AND w.next_at <= now() AND e.state = 'enabled' AND j.status IS NULL
ORDER BY w.next_at, w.id LIMIT $1
"""
ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('measurement_webhook'), $1)"
READ_DUE = f"""
SELECT w.id, w.tenant_id, t.slug AS tenant, w.endpoint_id, w.key_id, w.person_id, w.run, w.epoch, w.xid, w.number,
       w.place, w.batches, w.batch_most, w.batch_seconds, w.datastream_ids, w.asset_ids, w.asset_kind, w.quantity,
       w.tag, w.commune, w.personal
FROM measurement_webhook w JOIN tenant t ON t.id = w.tenant_id
JOIN webhook_endpoint e ON e.id = w.endpoint_id {JOB_OF}
WHERE w.id = $1 AND w.state = 'active' AND w.next_at <= now() AND e.state = 'enabled' AND j.status IS NULL
"""
ENTER = "SELECT enter_measurement_webhook($1)"
# What it names, and of which of that something may be read now.
NAMED = """
SELECT d.id FROM datastream d
WHERE ($1::int[] IS NULL OR d.id = ANY($1)) AND ($2::int[] IS NULL OR d.asset_id = ANY($2))
"""
PERSONAL = "SELECT id FROM datastream WHERE id = ANY($1::int[]) AND privacy_class >= 2"
READABLE = "SELECT datastream_id FROM readable_periods($1)"
# What nobody would miss, were it lost: it is looked at again.
CHEAPLY = "SET LOCAL synchronous_commit TO off"
# Nothing is written when somebody has stopped it, or begun it elsewhere, meanwhile.
ADVANCE = """
UPDATE measurement_webhook SET xid = $3, number = $4, place = $5, reached_at = coalesce($6, reached_at),
       withheld = $7, next_at = CASE WHEN $8 THEN now() ELSE now() + make_interval(secs => batch_seconds) END
WHERE id = $1 AND run = $2 AND state = 'active' RETURNING true
"""
ADVANCE_BY_BATCH = """
UPDATE measurement_webhook SET former_xid = xid, former_number = number, former_place = place,
       xid = $3, number = $4, place = $5, reached_at = $6, withheld = $7,
       next_at = CASE WHEN $8 THEN now() ELSE now() + make_interval(secs => batch_seconds) END,
       message_id = $9, last_streams = $10, batches = batches + 1, readings = readings + $11, warned_at = NULL
WHERE id = $1 AND run = $2 AND state = 'active' RETURNING batches
"""
ADD_BATCH = """
INSERT INTO measurement_batch (webhook_id, tenant_id, number, message_id, made_at, readings, recorded_from,
                               recorded_until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
STOP_FOR = """
UPDATE measurement_webhook SET state = 'stopped', reason = $2, stopped_at = now(), withheld = $3
WHERE id = $1 AND state = 'active' RETURNING true
"""
# Behind what the feed keeps, or of a database that was restored since, whatever its receiver does.
LOST = """
SELECT id FROM measurement_webhook
WHERE state = 'active' AND (epoch <> $1 OR xid > $2 OR (xid, number) <= ($3, $4)) ORDER BY id LIMIT 200
"""
# Whose receiver was given up, or whose cursor is about to be behind what is kept.
LATE = f"""
SELECT w.id, w.tenant_id, w.endpoint_id, w.reached_at, j.status = 'failed' AS is_abandoned
FROM measurement_webhook w {JOB_OF}
WHERE w.state = 'active' AND w.warned_at IS NULL AND w.message_id IS NOT NULL
  AND (j.status = 'failed' OR w.reached_at < $1) ORDER BY w.id LIMIT 200
FOR UPDATE OF w SKIP LOCKED
"""
MARK_WARNED = "UPDATE measurement_webhook SET warned_at = $2 WHERE id = $1"
READ_CURSOR = "SELECT epoch, xid, number, place FROM measurement_webhook WHERE id = $1"
READ_OWNER = "SELECT tenant_id, endpoint_id FROM measurement_webhook WHERE id = $1"
COUNT = f"""
SELECT {STATE} AS state, count(*) AS count,
       coalesce(extract(epoch FROM now() - min(w.reached_at)), 0)::float8 AS lag_s
FROM measurement_webhook w JOIN webhook_endpoint e ON e.id = w.endpoint_id {JOB_OF} GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class DueWebhook:
    """A subscription of which a batch may be made now."""

    id: int
    tenant_id: int
    tenant: str
    endpoint_id: int
    key_id: str | None
    person_id: int | None
    run: UUID
    epoch: str
    xid: int
    number: int
    place: int
    batches: int
    batch_most: int
    batch_seconds: int
    datastream_ids: Sequence[int] | None
    asset_ids: Sequence[int] | None
    asset_kind: str | None
    quantity: str | None
    tag: str | None
    commune: str | None
    personal: bool

    @property
    def position(self) -> Position:
        """Where the batch begins."""
        return Position(self.xid, self.number, self.place)

    @property
    def names_streams(self) -> bool:
        """Whether it is about datastreams or assets that it names."""
        return self.datastream_ids is not None or self.asset_ids is not None


@dataclass(frozen=True, slots=True)
class Step:
    """Where a subscription goes on, and what is known of it then."""

    position: Position
    reached_at: datetime | None  # None: as before.
    withheld: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class SentBatch:
    """A message that is queued: how many changes, of which datastreams, recorded when."""

    message_id: str
    made_at: datetime
    readings: int
    streams: Sequence[int]
    recorded_from: datetime
    recorded_until: datetime


@dataclass(frozen=True, slots=True)
class LateWebhook:
    """A subscription that is behind."""

    id: int
    tenant_id: int
    endpoint_id: int
    reached_at: datetime
    is_abandoned: bool | None


async def is_any_active(pool: Pool) -> bool:
    """Whether there is a subscription that goes on."""
    return await pool.fetchval(IS_ANY_ACTIVE)


async def is_any_due(pool: Pool) -> bool:
    """Whether there is one that has more to be sent, its last batch taken or not."""
    return await pool.fetchval(IS_ANY_DUE)


async def due_ids(pool: Pool, most: int) -> list[int]:
    """Subscriptions of which a batch may be made, the longest due first."""
    return [row["id"] for row in await pool.fetch(DUE, most)]


async def read_due(connection: Connection, webhook_id: int) -> DueWebhook | None:
    """For this transaction alone, if it still is due; takes no transaction's number: the feed waits for none."""
    if not await connection.fetchval(ALONE, webhook_id):
        return None
    return await fetch_one(connection, DueWebhook, READ_DUE, webhook_id)


async def enter(connection: Connection, webhook_id: int) -> str | None:
    """Enter its tenant with what its owner may see: `entered`, or why not; None: it is stopped."""
    return await connection.fetchval(ENTER, webhook_id)


async def named_streams(connection: Connection, webhook: DueWebhook) -> list[int]:
    """The datastreams that it names, whoever may read them."""
    rows = await connection.fetch(NAMED, webhook.datastream_ids, webhook.asset_ids)
    return [row["id"] for row in rows]


async def readable_streams(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Those of which something may be read in this transaction."""
    return [row["datastream_id"] for row in await connection.fetch(READABLE, ids)]


async def personal_streams(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Those of privacy class 2."""
    return {row["id"] for row in await connection.fetch(PERSONAL, ids)}


async def advance(connection: Connection, webhook: DueWebhook, step: Step) -> bool:
    """Go on behind what nothing is sent of; False: somebody has changed it meanwhile."""
    await connection.execute(CHEAPLY)
    values = webhook.id, webhook.run, *step.position, step.reached_at, step.withheld, step.has_more
    return await connection.fetchval(ADVANCE, *values) is True


async def advance_by_batch(connection: Connection, webhook: DueWebhook, step: Step, batch: SentBatch) -> bool:
    """Go on behind a batch, in the transaction that queues it; False: somebody has changed it meanwhile."""
    number = await connection.fetchval(
        ADVANCE_BY_BATCH, webhook.id, webhook.run, *step.position, step.reached_at, step.withheld, step.has_more,
        batch.message_id, batch.streams, batch.readings,
    )  # fmt: skip
    if number is None:
        return False
    await connection.execute(
        ADD_BATCH, webhook.id, webhook.tenant_id, number, batch.message_id, batch.made_at, batch.readings,
        batch.recorded_from, batch.recorded_until,
    )  # fmt: skip
    return True


async def stop_for(connection: Connection, webhook_id: int, reason: str, withheld: int = 0) -> bool:
    """Stop it for a reason of the closed list; False: it is stopped already."""
    return await connection.fetchval(STOP_FOR, webhook_id, reason, withheld) is True


async def lost_ids(connection: Connection, state: FeedState) -> list[int]:
    """Those whose cursor is good no more."""
    values = state.epoch, state.ahead, state.forgotten_xid, state.forgotten_number
    return [row["id"] for row in await connection.fetch(LOST, *values)]


async def read_cursor(connection: Connection, webhook_id: int) -> tuple[str, Position]:
    """Of which epoch it is, and where the next batch begins."""
    row = await connection.fetchrow(READ_CURSOR, webhook_id)
    assert row is not None  # noqa: S101 - It was found in this transaction.
    return row["epoch"], Position(row["xid"], row["number"], row["place"])


async def take_late(connection: Connection, reached_before: datetime, now: datetime) -> list[LateWebhook]:
    """Those that people are to be notified of, marked as such."""
    late = await fetch_all(connection, LateWebhook, LATE, reached_before)
    for one in late:
        await connection.execute(MARK_WARNED, one.id, now)
    return late


async def read_owner(connection: Connection, webhook_id: int) -> tuple[int, int]:
    """The tenant and the endpoint of one."""
    row = await connection.fetchrow(READ_OWNER, webhook_id)
    assert row is not None  # noqa: S101 - It was found in this transaction.
    return row["tenant_id"], row["endpoint_id"]


async def count_by_state(pool: Pool) -> dict[str, tuple[int, float]]:
    """How many there are in each state, and the longest time in seconds that one of them is behind."""
    return {row["state"]: (row["count"], row["lag_s"]) for row in await pool.fetch(COUNT)}
