"""What is stored of signs of life says, after the upgrade and whatever happens, what a plain statement says."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from core.runtime.postgres import Connection, Pool, open_pool
from ingest.redecode_store import DROP_LATEST, RAISE_LAST_SEEN, SET_LATEST
from ingest.store import UPDATE_LATEST, UPSERT_LATEST
from registry.assignments import assign, end_assignment
from registry.schema import migrate
from registry.sharing import History
from tests.api.plain_lists import ASTRAY, same_lists
from tests.api.plain_states import same_states
from tests.core.runtime.versions import migrate_up_to
from tests.entering import LET_EVERYBODY_SEAL, tenant_transaction, transfer

BEFORE = 87
TENANTS, ASSETS_AT_LEAST, STEPS, LOOK_EVERY = (1, 2, 3), 15, 120, 20
# The second tenant is a member of the first; the third has granted the second what it has, dwellings by name.
PLANT = (
    """
    INSERT INTO tenant (slug, name, member_of)
    VALUES ('syndicat', 'S', NULL), ('commune', 'C', 1), ('autre', 'A', NULL)
    """,
    """
    INSERT INTO device_profile (tenant_id, name, vendor, model, codec, expected_interval)
    SELECT nullif(n % 4, 0), 'p' || n, 'v', 'm', 'c', n * interval '5 minutes' FROM generate_series(1, 12) n
    """,
    """
    INSERT INTO asset (tenant_id, kind, name, commune, privacy_class, archived_at)
    SELECT 1 + n % 3, kind, 'actif ' || n, 'Metz', CASE kind WHEN 'dwelling' THEN 2 ELSE 0 END,
           CASE WHEN n % 17 = 0 THEN now() END
    FROM generate_series(1, 60) n, LATERAL (SELECT CASE WHEN n % 7 = 0 THEN 'dwelling' ELSE 'room' END AS kind) k
    """,
    """
    INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation, enabled)
    SELECT 1 + n % 3, int8send(n), int8send(0), 'd' || n,
           (SELECT p.id FROM device_profile p WHERE coalesce(p.tenant_id, 1 + n % 3) = 1 + n % 3
            ORDER BY (p.id * n) % 13, p.id LIMIT 1), 0, 'EXTERNAL', n % 11 > 0
    FROM generate_series(1, 75) n
    """,
    # Every fifth asset has two, every sixth none.
    """
    INSERT INTO assignment (tenant_id, asset_id, device_id, position, during)
    SELECT a.tenant_id, a.id, d.id, d.id::text,
           tstzrange(now() - interval '3 days', CASE WHEN d.id % 8 = 0 THEN now() - interval '1 day' END)
    FROM asset a JOIN device d ON d.tenant_id = a.tenant_id
         AND (d.id = a.id OR (a.id % 5 = 0 AND d.id = 60 + a.id / 5))
    WHERE a.id % 6 > 0
    """,
    """
    INSERT INTO datastream (tenant_id, asset_id, device_id, position, quantity, unit, stated_class)
    SELECT s.tenant_id, s.asset_id, s.device_id, s.position, q, '1', CASE WHEN s.asset_id % 9 = 0 THEN 2 ELSE 0 END
    FROM assignment s, unnest('{temperature,humidity,co2}'::text[]) q
    """,
    """
    INSERT INTO observation.latest (datastream_id, time, value, flags)
    SELECT id, now() - id * interval '1 minute', 1, CASE WHEN id % 4 = 0 THEN 4 ELSE 0 END
    FROM datastream WHERE id % 10 > 0
    """,
    """
    INSERT INTO access_grant (tenant_id, offered_slug, asset_id, everything, role, valid, data, granted_by)
    SELECT 3, 'commune', NULL::int, true, 'reader', tstzrange(now() - interval '1 day', NULL),
           tstzrange(now() - interval '90 minutes', NULL), 'x'
    UNION ALL
    SELECT 3, 'commune', min(id), false, 'reader', tstzrange(now() - interval '1 day', NULL),
           tstzrange(NULL, NULL), 'x' FROM asset WHERE tenant_id = 3 AND kind = 'dwelling'
    """,
    "UPDATE access_grant SET grantee_id = offered_to, accepted_at = now()",
    "INSERT INTO alert_rule (tenant_id, name, kind, severity, message) VALUES (1, 'r', 'silence', 'info', 'm')",
    """
    INSERT INTO alert (tenant_id, rule_id, asset_id, severity, message, condition, opened_at)
    SELECT 1, 1, id, 'major', 'm', 'firing', now() FROM asset WHERE tenant_id = 1 AND id % 8 = 0
    """,
)
OWNERS = "SELECT id, tenant_id FROM asset WHERE archived_at IS NULL ORDER BY id"
ADD_STREAM = """
INSERT INTO datastream (tenant_id, asset_id, device_id, position, quantity, unit)
SELECT a.tenant_id, a.id, d.id, 'x', $3, '1' FROM asset a, device d WHERE a.id = $1 AND d.id = $2
ON CONFLICT DO NOTHING
"""
# The others are entered by hand.
BY_DEVICES = "(id % 4 > 0)"
SET_TERM = "UPDATE datastream SET fine_until = now() + (random() - 0.5) * interval '1 day' WHERE id = $1"


class Scenario:
    """Something happens in it, at random and as it happens in the platform."""

    def __init__(self, pool: Pool, connection: Connection, seed: int) -> None:
        self.pool, self.connection, self.choice = pool, connection, random.Random(seed)
        self.happenings: tuple[Callable[[], Awaitable[None]], ...] = (
            *(self.measure, self.measure, self.measure_something_new, self.forget, self.replace),
            *(self.change_device, self.change_profile, self.give_away, self.read_by_hand, self.decode_again),
        )

    async def one_of(self, table: str, condition: str = "true") -> int:
        rows = await self.connection.fetch(f"SELECT id FROM {table} WHERE {condition} ORDER BY id")
        return self.choice.choice(rows)[0]

    async def measure(self) -> None:
        """Ingest's statements: an update first, the rest when that was not all of it; twice, as after a crash."""
        streams = sorted({await self.one_of("datastream", BY_DEVICES) for _ in range(8)})
        now = int(datetime.now(UTC).timestamp() * 1e6)
        times = [now - self.choice.randrange(18_000_000_000) for _ in streams]
        heard: dict[int, int] = {}
        for asset, time in zip(await self.assets_of(streams), times, strict=True):
            heard[asset] = max(heard.get(asset, 0), time)
        latest = ([stream << 16 for stream in streams], times, [2.0] * len(streams))
        for _ in range(2):
            await self.connection.execute(
                UPDATE_LATEST, *latest, sorted(heard), [heard[id_] for id_ in sorted(heard)]
            )
            await self.connection.execute(UPSERT_LATEST, *latest)

    async def assets_of(self, streams: list[int]) -> list[int]:
        rows = await self.connection.fetch("SELECT id, asset_id FROM datastream WHERE id = ANY($1)", streams)
        assets = {row["id"]: row["asset_id"] for row in rows}
        return [assets[stream] for stream in streams]

    async def read_by_hand(self) -> None:
        """Nobody has spoken."""
        stream = await self.one_of("datastream", f"NOT {BY_DEVICES}")
        await self.connection.execute(
            UPSERT_LATEST, [stream << 16 | 4], [int(datetime.now(UTC).timestamp() * 1e6)], [1.0]
        )

    async def decode_again(self) -> None:
        """What could not be read is newer than the last value, or the last value was none."""
        stream, now = await self.one_of("datastream", BY_DEVICES), int(datetime.now(UTC).timestamp() * 1e6)
        if self.choice.random() < 0.5:
            await self.connection.execute(DROP_LATEST, [stream], [now])
        await self.connection.execute(
            SET_LATEST, [stream], [now - self.choice.randrange(36_000_000_000)], [3.0], [8]
        )
        await self.connection.execute(RAISE_LAST_SEEN, [stream])

    async def measure_something_new(self) -> None:
        asset, device = await self.one_of("asset"), await self.one_of("device")
        await self.connection.execute(ADD_STREAM, asset, device, f"q{self.choice.randrange(1000)}")

    async def forget(self) -> None:
        stream = await self.one_of("datastream")
        await self.connection.execute("DELETE FROM observation.latest WHERE datastream_id = $1", stream)
        await self.connection.execute(SET_TERM, await self.one_of("datastream"))

    async def replace(self) -> None:
        asset = await self.one_of("asset")
        tenant = await self.connection.fetchval("SELECT tenant_id FROM asset WHERE id = $1", asset)
        device = await self.one_of("device", f"tenant_id = {tenant}")
        eui = await self.connection.fetchval("SELECT dev_eui FROM device WHERE id = $1", device)
        async with tenant_transaction(self.pool, tenant) as inside:
            if self.choice.random() < 0.3:
                await end_assignment(inside, asset)
            else:
                await assign(inside, asset, eui, self.choice.choice("ab"))

    async def change_device(self) -> None:
        device = await self.one_of("device")
        await self.connection.execute("UPDATE device SET enabled = NOT enabled WHERE id = $1", device)
        await self.connection.execute(
            "UPDATE device SET device_profile_id = $2 WHERE id = $1",
            await self.one_of("device"),
            await self.one_of("device_profile"),
        )

    async def change_profile(self) -> None:
        await self.connection.execute(
            "UPDATE device_profile SET expected_interval = $2 WHERE id = $1",
            await self.one_of("device_profile"),
            timedelta(minutes=self.choice.randrange(1, 300)),
        )

    async def give_away(self) -> None:
        owners = await self.connection.fetch(OWNERS)
        asset, giver = self.choice.choice(owners)
        receiver = self.choice.choice([one for one in TENANTS if one != giver])
        await transfer(self.pool, giver, asset, receiver, self.choice.choice(list(History)))


async def look(pool: Pool) -> None:
    """As the API, for everybody."""
    states: set[str] = set()
    for tenant in TENANTS:
        async with tenant_transaction(pool, tenant) as inside:
            await inside.execute("SET LOCAL ROLE territoire_api")
            found = await same_states(inside)
            await same_lists(inside)
        assert found["count"] >= ASSETS_AT_LEAST
        states.update(found["states"])
    assert states >= {"ok", "silent", "unknown", "major"}
    assert await pool.fetchval(ASTRAY) == 0


async def test_states_after_the_upgrade_and_whatever_happens_are_those_of_the_plain_statement(
    empty_database_url: str,
) -> None:
    await migrate_up_to(BEFORE, empty_database_url)
    async with open_pool(empty_database_url, "test", size=2) as pool, pool.acquire() as connection:
        for statement in PLANT:
            await connection.execute(statement)

        await migrate(empty_database_url)

        await connection.execute(LET_EVERYBODY_SEAL)
        await look(pool)
        scenario = Scenario(pool, connection, seed=16)
        for step in range(1, STEPS + 1):
            await scenario.choice.choice(scenario.happenings)()
            if step % LOOK_EVERY == 0:
                await look(pool)
