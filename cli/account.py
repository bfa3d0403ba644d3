"""What a database contains at an instant, counted: a backup notes it, a restore is compared with it."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from core.runtime.postgres import Connection

COUNTED = {
    "tenants": "SELECT count(*) FROM tenant",
    "devices": "SELECT count(*) FROM device",
    "sessions": "SELECT count(*) FROM session",
    "assets": "SELECT count(*) FROM asset",
    "datastreams": "SELECT count(*) FROM datastream",
    "uplinks": "SELECT count(*) FROM observation.uplink",
    "receptions": "SELECT count(*) FROM observation.reception",
    "measurements": "SELECT count(*) FROM observation.measurement",
    "rollup_hours": "SELECT count(*) FROM observation.rollup_hour",
    "rollup_days": "SELECT count(*) FROM observation.rollup_day",
    "alerts": "SELECT count(*) FROM alert",
    "downlinks": "SELECT count(*) FROM downlink",
}
HAS_ERASURES = "SELECT to_regclass('erasure') IS NOT NULL"
ERASURES = "SELECT count(*) FROM erasure WHERE cardinality(digests) > 0"
SCHEMA_VERSION = "SELECT max(number) FROM schema_migration"
TIMESCALE_VERSION = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"

# Held while the mark is made: then no transaction has written to a counted table and is still open. The parents
# are enough, because every write locks them; there may be thousands of chunks.
STOP_WRITERS = (
    f"LOCK TABLE ONLY {', ONLY '.join(text.rpartition(' ')[2] for text in COUNTED.values())} IN SHARE MODE"
)
# Shorter than deadlock_timeout, so that it is we who give way.
STOPS_WITHIN = "SET LOCAL lock_timeout = '500ms'"
MARK = "SELECT pg_create_restore_point($1)::text"
EXPORT = "SELECT pg_export_snapshot()"
TRIES, TRIES_AGAIN_AFTER_S = 20, 1.0


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    """Row counts of a database, the versions that can read it, and samples of what its keys have sealed.

    Without a key it reveals nothing.
    """

    schema: int
    timescaledb: str
    counts: dict[str, int]
    sealed: dict[str, list[str]] = {}
    """Of each key-encryption key what it has sealed, one example and its owner for each column that has some:
    whether a key opens this database is known before anything is restored."""
    erasures: int | None = None
    """How many erasures it knows of; None: a schema of before there were any. The ledger has to have them."""


async def take_account(connection: "Connection") -> Account:
    """All of it in the transaction of this connection."""
    from registry.sealed_columns import read_sealed

    sealed: dict[str, list[str]] = {}
    for one in await read_sealed(connection):
        sealed.setdefault(one.kek_id, []).append(f"{one.sample.hex()} {one.owner}")
    return Account(
        await connection.fetchval(SCHEMA_VERSION),
        await connection.fetchval(TIMESCALE_VERSION),
        await count(connection),
        sealed,
        await connection.fetchval(ERASURES) if await connection.fetchval(HAS_ERASURES) else None,
    )


async def count(connection: "Connection", names: Iterable[str] = COUNTED) -> dict[str, int]:
    """Every table that is counted, or those of these names that are."""
    return {name: await connection.fetchval(COUNTED[name]) for name in names if name in COUNTED}


def differences(expected: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """One line for each count that differs."""
    return [
        f"{name} : {found.get(name)} au lieu de {number}"
        for name, number in expected.items()
        if found.get(name) != number
    ]


async def mark_instant(url: str, name: str) -> tuple[Account, str]:
    """Name an instant in the database's log, and take its account: exactly what was committed before it.

    Writers wait for the few milliseconds of the mark, not while it is counted. Returns the account, and where in
    the log the mark is.

    Raises:
        LockNotAvailableError: something wrote without an end.
    """
    from core.runtime.postgres import LockNotAvailableError, connect

    marking, counting = await connect(url, "territoire-mark"), await connect(url, "territoire-mark")
    try:
        for left in reversed(range(TRIES)):
            transaction = marking.transaction()
            await transaction.start()
            try:
                await marking.execute(STOPS_WITHIN)
                await marking.execute(STOP_WRITERS)
                place = await marking.fetchval(MARK, name)
                snapshot = await marking.fetchval(EXPORT)
                async with counting.transaction(isolation="repeatable_read", readonly=True):
                    await counting.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                    await transaction.rollback()
                    return await take_account(counting), place
            except LockNotAvailableError:
                await transaction.rollback()
                if not left:
                    raise
                await asyncio.sleep(TRIES_AGAIN_AFTER_S)
        raise AssertionError  # The last try returns or raises.
    finally:
        await marking.close()
        await counting.close()
