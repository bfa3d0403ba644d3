"""Gives an installation without rollups the parts of months that years of work would have given it."""

from datetime import datetime

from core.runtime.postgres import Connection

IS_EMPTY = """
SELECT NOT EXISTS (SELECT FROM observation_part.rollup_hour)
   AND NOT EXISTS (SELECT FROM observation_part.rollup_day)
"""
# The oldest part ends where the first month begins, and months follow up to where it ended.
DIVIDE = """
DO $$
DECLARE
    name text;
    since timestamptz;
    following timestamptz;
    until timestamptz;
    first CONSTANT timestamptz := date_trunc('month', timestamptz '{since}', 'UTC');
BEGIN
    FOREACH name IN ARRAY ARRAY['rollup_hour', 'rollup_day'] LOOP
        SELECT substring(pg_get_expr(relpartbound, oid) FROM $re$TO \\('([^']+)'\\)$re$)::timestamptz INTO until
        FROM pg_class WHERE oid = format('observation_part.%I', name)::regclass;
        CONTINUE WHEN first >= until;
        EXECUTE format('ALTER TABLE observation.%I DETACH PARTITION observation_part.%1$I', name);
        EXECUTE format('ALTER TABLE observation.%I ATTACH PARTITION observation_part.%1$I '
                       'FOR VALUES FROM (MINVALUE) TO (%L)', name, first);
        since := first;
        WHILE since < until LOOP
            following := date_add(since, interval '1 month', 'UTC');
            EXECUTE format('CREATE TABLE observation_part.%I PARTITION OF observation.%I '
                           'FOR VALUES FROM (%L) TO (%L)',
                           name || to_char(since AT TIME ZONE 'UTC', '"_"YYYY"_"MM'), name, since, following);
            since := following;
        END LOOP;
    END LOOP;
END
$$
"""


async def divide(admin: Connection, since: datetime) -> None:
    """Divide the oldest part of both tables into months from `since` on, where nothing is in it."""
    async with admin.transaction():
        if await admin.fetchval(IS_EMPTY):
            await admin.execute(DIVIDE.format(since=since.isoformat()))
