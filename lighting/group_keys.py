"""Gives each clock of the open profile the keys of its permanent multicast group, until it has acknowledged them.

One clock of each group at a time, a minute after the former: at the slowest data rate such a message holds a
gateway for three seconds. A clock that has joined again is given them again; so is, once an hour, one that has not
acknowledged and is heard. It holds one group: the newest that it is a member of.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from core.runtime.postgres import Pool
from decoders.territoire.clock import CODEC
from lighting.swept import Swept
from registry.downlinks import enqueue_group_keys
from registry.rows import fetch_all

USEFUL_FOR = timedelta(hours=1)
# The end of a row may come in the same second as the next look at it.
AGAIN_AFTER = USEFUL_FOR + timedelta(minutes=1)

ACKNOWLEDGE = """
UPDATE multicast_member m SET keys_acknowledged_at = l.updated_at
FROM downlink l
WHERE m.keys_given_at IS NOT NULL AND m.keys_acknowledged_at IS NULL
  AND l.keys_of_group = m.group_id AND l.device_id = m.device_id
  AND l.state = 'acknowledged' AND l.created_at >= m.keys_given_at
"""
FIND_DUE = """
SELECT DISTINCT ON (m.group_id) m.group_id, m.device_id, m.keys_given_at AS given_at
FROM multicast_member m
JOIN device d ON d.id = m.device_id AND d.tenant_id = m.tenant_id AND d.enabled AND d.lns_source_id IS NULL
JOIN device_profile p ON p.id = d.device_profile_id AND p.codec = $1 AND p.device_class = 'C'
JOIN session s ON s.device_id = d.id AND s.closed_at IS NULL AND s.last_uplink_at IS NOT NULL
WHERE (m.keys_given_at IS NULL OR s.activated_at > m.keys_given_at
       OR (m.keys_acknowledged_at IS NULL AND m.keys_given_at < now() - $2::interval
           AND s.last_uplink_at > m.keys_given_at))
  AND NOT EXISTS (SELECT FROM multicast_member o WHERE o.device_id = m.device_id AND o.group_id > m.group_id)
ORDER BY m.group_id, m.keys_given_at NULLS FIRST, m.device_id
"""
# Nothing when another replica was faster.
CLAIM = """
UPDATE multicast_member SET keys_given_at = now(), keys_acknowledged_at = NULL
WHERE group_id = $1 AND device_id = $2 AND keys_given_at IS NOT DISTINCT FROM $3
RETURNING true
"""
FORGET_OTHERS = """
UPDATE multicast_member SET keys_given_at = NULL, keys_acknowledged_at = NULL
WHERE device_id = $2 AND group_id <> $1 AND keys_given_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class _Due:
    group_id: int
    device_id: int
    given_at: datetime | None


async def give_group_keys(pool: Pool, now: datetime) -> Swept:
    """Note who has acknowledged, and queue the message of the next clock of each group."""
    swept = Swept()
    async with pool.acquire() as connection:
        await connection.execute(ACKNOWLEDGE)
        for due in await fetch_all(connection, _Due, FIND_DUE, CODEC.name, AGAIN_AFTER):
            async with connection.transaction():
                if await connection.fetchval(CLAIM, due.group_id, due.device_id, due.given_at):
                    await connection.execute(FORGET_OTHERS, due.group_id, due.device_id)
                    row = await enqueue_group_keys(
                        connection, due.device_id, due.group_id, not_after=now + USEFUL_FOR
                    )
                    swept.slots.add(row.slot)
                    swept.outcomes.append("group_keys")
    return swept
