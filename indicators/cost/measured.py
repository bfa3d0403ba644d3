"""What was used in a month, as entries of the ledger: what was counted less what the ledger has of it already.

Called by a process, in a transaction that lets one do it at a time; the same month again adds what has changed,
and nothing else.
"""

from collections.abc import Collection
from datetime import date, timedelta

from core.runtime.leader import leading
from core.runtime.postgres import Connection, Pool
from indicators.cost import store
from indicators.cost.model import Entry, OfLedger
from indicators.cost.use import differences

MEASURED: tuple[OfLedger, ...] = ("assets", "gateways", "uplinks", "air_time_ms", "exports")
BY = "plateforme"

# Arbitrary, ours: the advisory lock of what is measured for the ledger.
LOCK = 0x7E44175
# What there is now says what a month ended with while the next has only begun.
BEGINNING_DAYS = 2

READ_TODAY = "SELECT (now() AT TIME ZONE timezone)::date AS today, timezone FROM deployment"
IS_MEASURED = "SELECT EXISTS (SELECT FROM cost_entry WHERE origin = 'measured' AND day >= $1 AND day < $2)"
# Of contributors that are tenants here, on the first day of the month on which they belong to the group: what is
# there now, and what was used during the month.
COUNT = """
SELECT c.id AS contributor_id, c.tenant_id, greatest(lower(p.during), $1::date) AS day,
       (SELECT count(*) FROM asset a WHERE a.tenant_id = c.member_id AND a.archived_at IS NULL) AS assets,
       (SELECT count(*) FROM gateway g WHERE g.tenant_id = c.member_id) AS gateways,
       n.uplinks, n.air_time_ms,
       (SELECT count(*) FROM export_job e WHERE e.tenant_id = c.member_id
          AND e.created_at >= $1::date::timestamp AT TIME ZONE $3
          AND e.created_at < $2::date::timestamp AT TIME ZONE $3) AS exports
FROM cost_contributor c
JOIN LATERAL (SELECT during FROM cost_period p WHERE p.contributor_id = c.id AND p.during && daterange($1, $2)
              ORDER BY during LIMIT 1) AS p ON true
CROSS JOIN LATERAL (
    SELECT coalesce(sum(n.received), 0)::bigint AS uplinks,
           coalesce(sum(n.air_time_us) / 1000, 0)::bigint AS air_time_ms
    FROM observation.network_day n JOIN device d ON d.id = n.device_id
    WHERE d.tenant_id = c.member_id AND n.day >= $1 AND n.day < $2) AS n
WHERE c.member_id IS NOT NULL ORDER BY c.id
"""
# What was measured before: of stocks ever, of use in this month; whether somebody keeps it by hand; and whether a
# stock was measured for a later month: what is there now says nothing of this one.
RECORDED = """
SELECT contributor_id, basis,
       bool_or(origin = 'stated' AND corrects IS NULL AND day < $2::date) AS is_by_hand,
       bool_or(origin = 'measured' AND basis IN ('assets', 'gateways') AND day >= $2::date) AS is_later,
       sum(quantity) FILTER (WHERE origin = 'measured' AND day < $2::date
           AND (basis IN ('assets', 'gateways') OR day >= $1::date))::bigint AS quantity
FROM cost_entry GROUP BY contributor_id, basis
"""


async def measure_month(connection: Connection, first: date, until: date, timezone: str) -> int:
    """Write what was used from the first day of a month to that of the next: how many entries were made.

    Of contributors that are tenants of this platform, of all groups. A basis of which somebody states entries is
    left to them; corrections of what was measured stay beside it. Exports are forgotten a month after their end:
    what was counted of them before stays.
    """
    recorded: dict[int, dict[str, int | None]] = {}
    by_hand: set[tuple[int, str]] = set()
    for row in await connection.fetch(RECORDED, first, until):
        recorded.setdefault(row["contributor_id"], {})[row["basis"]] = row["quantity"]
        if row["is_by_hand"] or row["is_later"]:
            by_hand.add((row["contributor_id"], row["basis"]))
    made = 0
    for row in await connection.fetch(COUNT, first, until, timezone):
        id_: int = row["contributor_id"]
        known = recorded.get(id_, {})
        counted: dict[OfLedger, int] = {basis: row[basis] for basis in MEASURED}
        counted["exports"] = max(counted["exports"], known.get("exports") or 0)
        stated: Collection[OfLedger] = [basis for basis in MEASURED if (id_, basis) in by_hand]
        for basis, quantity in differences(counted, known, stated):
            entry = Entry(id_, basis, row["day"], quantity)
            await store.add_entry(connection, row["tenant_id"], entry, BY, origin="measured")
            made += 1
    return made


async def measure_last_month(pool: Pool) -> int:
    """The month that is over: in the first days of the next, and later only when nothing was measured of it.

    Raises:
        NotLeader: another replica does.
    """
    async with leading(pool, LOCK) as connection:
        row = await connection.fetchrow(READ_TODAY)
        assert row is not None  # noqa: S101 - The first migration wrote it.
        until = row["today"].replace(day=1)
        first = (until - timedelta(days=1)).replace(day=1)
        if row["today"].day > BEGINNING_DAYS and await connection.fetchval(IS_MEASURED, first, until):
            return 0
        return await measure_month(connection, first, until, row["timezone"])
