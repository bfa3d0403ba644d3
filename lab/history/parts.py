"""Gives an installation without rollups the parts that years of work would have given it."""

from datetime import datetime

from core.runtime.postgres import Connection

# The oldest part ends where the first month (of days: the first year) begins; others follow up to where it ended.
DIVIDE = """
DO $$
DECLARE
    name text;
    unit text;
    first timestamptz;
    since timestamptz;
    following timestamptz;
    until timestamptz;
BEGIN
    FOREACH name IN ARRAY ARRAY['rollup_hour', 'rollup_day'] LOOP
        unit := CASE name WHEN 'rollup_hour' THEN 'month' ELSE 'year' END;
        first := date_trunc(unit, timestamptz '{since}', 'UTC');
        SELECT substring(pg_get_expr(relpartbound, oid) FROM $re$TO \\('([^']+)'\\)$re$)::timestamptz INTO until
        FROM pg_class WHERE oid = format('observation_part.%I', name)::regclass;
        CONTINUE WHEN first >= until;
        EXECUTE format('ALTER TABLE observation.%I DETACH PARTITION observation_part.%1$I', name);
        EXECUTE format('ALTER TABLE observation.%I ATTACH PARTITION observation_part.%1$I '
                       'FOR VALUES FROM (MINVALUE) TO (%L)', name, first);
        since := first;
        WHILE since < until LOOP
            following := date_add(since, ('1 ' || unit)::interval, 'UTC');
            EXECUTE format('CREATE TABLE observation_part.%I PARTITION OF observation.%I '
                           'FOR VALUES FROM (%L) TO (%L)',
                           name || to_char(since AT TIME ZONE 'UTC',
                                           CASE unit WHEN 'month' THEN '"_"YYYY"_"MM' ELSE '"_"YYYY' END),
                           name, since, following);
            since := following;
        END LOOP;
    END LOOP;
END
$$
"""


async def divide(admin: Connection, since: datetime) -> None:
    """Divide the oldest part of both tables from `since` on, where nothing is in it."""
    async with admin.transaction():
        if await admin.fetchval(
            "SELECT NOT EXISTS (SELECT FROM observation_part.rollup_hour)"
            " AND NOT EXISTS (SELECT FROM observation_part.rollup_day)"
        ):
            await admin.execute(DIVIDE.format(since=since.isoformat()))
