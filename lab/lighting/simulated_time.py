"""A database on a simulated clock: every `now()` of the platform's statements and defaults is the bench's."""

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection

# For connections that look for names on this path, and were given out by a pool with `clock_setter`.
PATH = "simulated, pg_catalog, public"
# Found before the server's own, which is looked for last; functions that set their own path keep the true time.
MAKE_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS simulated;
GRANT USAGE ON SCHEMA simulated TO PUBLIC;
CREATE OR REPLACE FUNCTION simulated.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT current_setting('simulated.now')::timestamptz $$;
"""
MAKE_CLOCK = f"""
{MAKE_SCHEMA}
DO $$
DECLARE one record;
BEGIN
    FOR one IN
        SELECT c.oid::regclass AS place, a.attname FROM pg_attrdef d
        JOIN pg_class c ON c.oid = d.adrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.adnum
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND c.relkind = 'r' AND pg_get_expr(d.adbin, d.adrelid) = 'now()'
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT simulated.now()', one.place, one.attname);
    END LOOP;
    EXECUTE format('ALTER DATABASE %I SET search_path = {PATH}', current_database());
    EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
END $$;
"""
SET_CLOCK = "SELECT set_config('simulated.now', $1, false)"


async def make_schema(admin: Connection) -> None:
    """The clock for those who look for it; everything else keeps the true time."""
    await admin.execute(MAKE_SCHEMA)


async def make_clock(admin: Connection, now: datetime) -> None:
    """Once in a database, before its pools are opened; for this connection it is `now` from here on."""
    await admin.execute(MAKE_CLOCK)
    await admin.execute(SET_CLOCK, now.isoformat())


def clock_setter(clock: Callable[[], datetime]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """What a pool does with each connection that it gives out."""
    given: dict[int, datetime] = {}

    async def set_clock(connection: Any) -> None:
        now = clock()
        server_pid = connection.get_server_pid()
        if given.get(server_pid) != now:
            await connection.execute(SET_CLOCK, now.isoformat())
            given[server_pid] = now

    return set_clock
