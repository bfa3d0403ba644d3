"""SQL of downlinks that another LNS carries: slot 16."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.runtime.postgres import Connection, Pool, Record
from integrations.lns.lns_downlink import Order
from integrations.lns.lns_uplink import DownlinkReport
from registry.rows import entity

# A device that does not acknowledge is told again so often, as in our own network.
MAX_ATTEMPTS = 3
# After its last useful instant a row in their queue waits so long for the last word on it.
LAST_WORD_H = 1
# A class A device acknowledges with its next uplink, which may come once a day.
SILENT_AFTER_H = 25
# Longer than a hand-over takes: a row that is in hand for longer is nobody's any more.
HAND_OVER_MOST_S = 15

# Facts of time, whoever writes them: no lease. A source that is disabled has no sender.
SWEEP = f"""
UPDATE downlink SET updated_at = now(),
    state = CASE state WHEN 'sent' THEN 'failed' ELSE 'expired' END::downlink_state,
    reason = CASE WHEN state = 'queued' THEN coalesce(reason, 'délai passé avant l''envoi')
                  WHEN state = 'sent' THEN 'le capteur n''a rien dit depuis'
                  ELSE 'l''autre LNS n''a pas dit ce qu''il en a fait' END
WHERE slot = 16 AND (
    (state = 'queued' AND not_after <= now())
    OR (state = 'sending' AND handed_at IS NULL AND not_after < now() - interval '{HAND_OVER_MOST_S} seconds')
    OR (state = 'sending' AND not_after < now() - interval '{LAST_WORD_H} hours')
    OR (state = 'sent' AND confirmed AND not_after <= now() AND sent_at < now() - interval '{SILENT_AFTER_H} hours'
        AND EXISTS (SELECT FROM lns_source s
                    WHERE s.id = lns_source_id AND s.kind IN ('chirpstack', 'the_things_stack'))))
RETURNING id, slot, state::text AS state
"""
# `sending` and not handed over is in somebody's hand, or was when that owner ended: then it is handed over again
# under the same item. What their LNS calls the device may be unknown yet.
TAKE_DUE = f"""
WITH due AS (
    SELECT l.id FROM downlink l JOIN device d ON d.id = l.device_id
    WHERE l.slot = 16 AND l.lns_source_id = $1 AND l.not_after > now() AND d.enabled
      AND (l.state = 'queued' AND (l.not_before IS NULL OR l.not_before <= now())
           OR l.state = 'sending' AND l.handed_at IS NULL
              AND l.updated_at < now() - interval '{HAND_OVER_MOST_S} seconds')
    ORDER BY l.priority, l.id LIMIT 1 FOR UPDATE OF l
)
UPDATE downlink l SET state = 'sending', not_before = NULL, updated_at = now(),
    lns_item = coalesce(l.lns_item, CASE WHEN $2 THEN upper(left(replace(gen_random_uuid()::text, '-', ''), 16))
                                         ELSE gen_random_uuid()::text END)
FROM due, device d JOIN device_profile p ON p.id = d.device_profile_id
     LEFT JOIN lns_route r ON r.source_id = $1 AND r.device_id = d.id
WHERE l.id = due.id AND d.id = l.device_id
RETURNING l.id, d.dev_eui, l.f_port, l.payload, l.confirmed, l.not_after, l.lns_item AS item,
          coalesce(r.address, '') AS address, p.device_class = 'C' AS is_class_c
"""
# A report may have been faster than the answer: then the state is what it said.
NOTE_HANDED = """
UPDATE downlink SET handed_at = coalesce(handed_at, now()), lns_item = $3, updated_at = now(),
    attempts = attempts + CASE WHEN handed_at IS NULL THEN 1 ELSE 0 END,
    reason = CASE state WHEN 'sending' THEN $4 ELSE reason END
WHERE id = $1 AND lns_item = $2 RETURNING id, slot, state::text AS state
"""
NOTE_LATER = """
UPDATE downlink SET state = 'queued', reason = $3, not_before = now() + $4::interval, updated_at = now()
WHERE id = $1 AND lns_item = $2 AND state = 'sending' AND handed_at IS NULL
RETURNING id, slot, state::text AS state
"""
NOTE_REFUSED = """
UPDATE downlink SET state = 'failed', reason = $3, attempts = attempts + 1, updated_at = now()
WHERE id = $1 AND lns_item = $2 AND state = 'sending' AND handed_at IS NULL
RETURNING id, slot, state::text AS state
"""
_AGAIN = f"($3 = 'unacknowledged' AND attempts < {MAX_ATTEMPTS} AND not_after > now())"
# States only go on: what is said twice, or late, changes nothing. Their clock is believed between the hand-over
# and now, because a cabinet's read-back is judged by it.
REPORT = f"""
UPDATE downlink SET
    state = CASE WHEN {_AGAIN} THEN 'queued' WHEN $3 = 'unacknowledged' THEN 'failed' ELSE $3 END::downlink_state,
    reason = CASE $3 WHEN 'sending' THEN coalesce($4, reason)
                     WHEN 'unacknowledged' THEN 'le capteur n''a pas accusé réception' ELSE $4 END,
    sent_at = CASE WHEN $3 IN ('sent', 'acknowledged')
                   THEN coalesce(sent_at, greatest(least($5::timestamptz, now()), handed_at), now())
                   ELSE sent_at END,
    f_cnt_down = coalesce($6, f_cnt_down), gateway_id = coalesce($7, gateway_id),
    handed_at = CASE WHEN {_AGAIN} THEN NULL ELSE coalesce(handed_at, now()) END,
    attempts = attempts + CASE WHEN handed_at IS NULL THEN 1 ELSE 0 END,
    lns_item = CASE WHEN {_AGAIN} THEN NULL ELSE lns_item END, updated_at = now()
WHERE slot = 16 AND lns_source_id = $1 AND lns_item = $2
  AND (state = 'sending' OR (state = 'sent' AND $3 IN ('acknowledged', 'unacknowledged', 'failed')))
RETURNING id, slot, state::text AS state
"""
# What is asked about, where nothing is told: the longest unasked first.
TAKE_UNDECIDED = """
UPDATE downlink SET updated_at = now() WHERE id IN (
    SELECT id FROM downlink WHERE slot = 16 AND lns_source_id = $1 AND handed_at IS NOT NULL
      AND (state = 'sending' OR (state = 'sent' AND confirmed))
    ORDER BY updated_at LIMIT $2)
RETURNING lns_item, confirmed
"""
READ_ALLOW_LIST = "SELECT webhook_allow_list FROM tenant WHERE id = $1"
SAVE_ROUTES = """
INSERT INTO lns_route AS known (source_id, device_id, tenant_id, address, seen_at)
SELECT s.id, d.id, s.tenant_id, of.address, now()
FROM unnest($1::int[], $2::int[], $3::text[]) AS of (source_id, device_id, address)
JOIN lns_source s ON s.id = of.source_id JOIN device d ON d.id = of.device_id
ORDER BY s.id, d.id
ON CONFLICT (source_id, device_id) DO UPDATE SET address = excluded.address, seen_at = excluded.seen_at
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A row that is being handed over."""

    order: Order
    is_class_c: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """A row whose state changed: whoever waits for it is nudged after the commit."""

    id: int
    slot: int
    state: str


def _changed(rows: Iterable[Record]) -> list[Changed]:
    return [entity(Changed, row) for row in rows]


async def sweep(connection: Connection | Pool) -> list[Changed]:
    """Give up, of every source, what nobody wants any more or what nobody tells of."""
    return _changed(await connection.fetch(SWEEP))


async def take_due(connection: Connection, source_id: int, *, short_items: bool) -> Due | None:
    """The row to hand over next, if any is due; it is `sending` and has its item from here on."""
    row = await connection.fetchrow(TAKE_DUE, source_id, short_items)
    if row is None:
        return None
    return Due(entity(Order, row), row["is_class_c"])


async def note_handed(connection: Connection | Pool, order: Order, item: str, reason: str) -> list[Changed]:
    """Their LNS has it, as `item`."""
    return _changed(await connection.fetch(NOTE_HANDED, order.id, order.item, item, reason))


async def note_later(connection: Connection | Pool, order: Order, reason: str, wait: timedelta) -> list[Changed]:
    """They do not have it, and will be asked again."""
    return _changed(await connection.fetch(NOTE_LATER, order.id, order.item, reason, wait))


async def note_refused(connection: Connection | Pool, order: Order, reason: str) -> list[Changed]:
    """They will never have it."""
    return _changed(await connection.fetch(NOTE_REFUSED, order.id, order.item, reason))


async def report(
    connection: Connection | Pool, source_id: int, told: DownlinkReport, at: datetime | None
) -> list[Changed]:
    """Write what their LNS says; nothing for an item that is not known, or that is done with."""
    return _changed(
        await connection.fetch(
            REPORT, source_id, told.item, told.state, told.reason, at, told.f_cnt_down, told.gateway_id
        )
    )


async def take_undecided(connection: Connection, source_id: int, most: int) -> list[tuple[str, bool]]:
    """Items to ask about, and whether each is to be acknowledged by its device."""
    rows = await connection.fetch(TAKE_UNDECIDED, source_id, most)
    return [(row["lns_item"], row["confirmed"]) for row in rows]


async def read_allow_list(connection: Connection | Pool, tenant_id: int) -> list[str]:
    """The inner networks and hosts that the tenant's addresses may lead to."""
    return await connection.fetchval(READ_ALLOW_LIST, tenant_id) or []


async def save_routes(connection: Connection | Pool, routes: Iterable[tuple[int, int, str]]) -> None:
    """How their LNS call these devices: source, device, address."""
    rows = list(routes)
    await connection.execute(SAVE_ROUTES, *([row[place] for row in rows] for place in range(3)))
