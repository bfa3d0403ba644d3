"""Seals every key and secret anew under the current key-encryption key, while everything runs.

What is left to do stands in the rows themselves: a rotation that is killed goes on where it stopped. It goes
slowly, so that uplinks notice nothing: few rows at a time, at a steady pace, with as much rest as work, and no
commit waits for the disk (what a crash of the database loses is sealed again).
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Record
from lorawan.crypto import WrongKek
from registry.former_format import read_sealed_at, reject_former_format
from registry.keys import MULTIPLE, KeyWrap, is_sealed_for_owner
from registry.sealed_columns import SEALED_TABLES, SealedTable

# Rows of one transaction: some milliseconds, for which the network server may wait for its sessions.
BATCH = 20
# 100,000 rows in a little more than four minutes, if the database keeps up: no faster than they have to be.
ROWS_PER_SECOND = 400.0
PAGE = 2_000
# A row that its writer holds is left out and tried again.
PASSES = 20
AGAIN_S = 0.2
QUIETLY = "SELECT set_config('app.resealing', 'on', true), set_config('synchronous_commit', 'off', true)"


@dataclass(slots=True)
class Rotation:
    """What a rotation has done."""

    sealed: int = 0
    """Rows that were sealed anew."""
    closed: list[str] = field(default_factory=list[str])
    """Owners of values that no key opens: they stay as they are."""
    left: int = 0
    """Rows that their writers held each time."""
    former_rejected_since: datetime | None = None
    """Since when values that name no owner open no more; None: some are left."""


@dataclass(slots=True)
class Check:
    """What is under which key-encryption key, and what does not open."""

    counts: Counter[str] = field(default_factory=Counter[str])
    """Values that open, by the key-encryption key that stands beside them."""
    unowned: int = 0
    """Of them, those of RFC 3394, which name no owner."""
    closed: list[str] = field(default_factory=list[str])
    """Owners of values that do not open."""
    former_rejected: int = 0
    """Of these, those of RFC 3394: they were put there after everything had been sealed for its owner."""
    former_rejected_since: datetime | None = None
    """Since when values that name no owner open no more; None: they still do."""

    @property
    def total(self) -> int:
        """How many values there are."""
        return sum(self.counts.values()) + len(self.closed)


async def count_stale(connection: Connection, keys: KeyWrap) -> int:
    """How many rows a rotation has to seal anew."""
    return sum(
        [
            await connection.fetchval(f"SELECT count(*) FROM {table.source} WHERE {_stale(table)}", keys.kek_id)
            for table in SEALED_TABLES
        ]
    )


async def rotate(
    connection: Connection,
    keys: KeyWrap,
    *,
    on_progress: Callable[[int], None] = lambda _: None,
    batch: int = BATCH,
    rows_per_second: float = ROWS_PER_SECOND,
) -> Rotation:
    """Seal anew, for its owner and under the current key, what is not; then refuse the former format for good.

    `on_progress` is called with the rows of each batch.
    """
    done = Rotation()
    pace = Pace(batch, rows_per_second)
    keys.former_format.is_rejected = await read_sealed_at(connection) is not None
    for table in SEALED_TABLES:
        left = 0
        closed: list[str] = []
        for _ in range(PASSES):
            closed = []
            await _seal_stale(connection, keys, table, pace, done, closed, on_progress)
            left = await connection.fetchval(
                f"SELECT count(*) FROM {table.source} WHERE {_stale(table)}", keys.kek_id
            ) - len(closed)
            if left <= 0:
                break
            await asyncio.sleep(AGAIN_S)
        else:
            done.left += left
        done.closed += closed
    done.former_rejected_since = await reject_former_format(connection)
    keys.former_format.is_rejected = done.former_rejected_since is not None
    return done


async def check(connection: Connection, keys: KeyWrap) -> Check:
    """Open everything that is sealed, as the services would."""
    found = Check(former_rejected_since=await read_sealed_at(connection))
    keys.former_format.is_rejected = found.former_rejected_since is not None
    for table in SEALED_TABLES:
        async for row in _rows(connection, table):
            for number, column in enumerate(table.columns):
                wrapped = row[column.name]
                if wrapped is None:
                    continue
                owner = row[f"owner_{number}"] or table.name
                if not keys.opens(wrapped, owner):
                    found.closed.append(owner)
                    found.former_rejected += keys.former_format.is_rejected and not is_sealed_for_owner(wrapped)
                    continue
                found.counts[row[f"kek_{number}"] or "?"] += 1
                found.unowned += not is_sealed_for_owner(wrapped)
    return found


def _key(table: SealedTable) -> str:
    return ", ".join(f"t.{name}" for name, _ in table.key)


def _columns(table: SealedTable) -> str:
    """What is read of a row: its key, and of each sealed value itself, its key-encryption key and its owners."""
    read = [_key(table)]
    for number, column in enumerate(table.columns):
        read += [
            f"t.{column.name}",
            f"t.{column.kek} AS kek_{number}",
            f"{column.owner} AS owner_{number}",
            f"{column.owner_to_be or column.owner} AS owner_to_be_{number}",
        ]
    if table.fingerprint is not None:
        read.append(f"{table.fingerprint[1]} AS fingerprint_owner")
    return ", ".join(read)


def _stale(table: SealedTable) -> str:
    """Whether a row is to be sealed anew; $1 is the current key's id."""
    wrong = [
        f"(t.{column.name} IS NOT NULL AND (t.{column.kek} IS DISTINCT FROM $1::text "
        f"OR octet_length(t.{column.name}) % {MULTIPLE} = 0))"
        for column in table.columns
    ]
    if table.fingerprint is not None:
        wrong.append(f"(t.{table.fingerprint[0]} IS NULL AND t.{table.columns[0].name} IS NOT NULL)")
    if any(column.owner_to_be for column in table.columns):
        wrong.append("t.sealed_for IS NOT NULL")
    return f"({' OR '.join(wrong)})"


def _beyond(table: SealedTable, first: int) -> str:
    """Rows after a key; its parameters begin with `first`, NULL for all rows."""
    named = ", ".join(f"${number}::{kind}" for number, (_, kind) in enumerate(table.key, first))
    return f"(${first}::{table.key[0][1]} IS NULL OR ({_key(table)}) > ({named}))"


async def _rows(connection: Connection, table: SealedTable) -> AsyncGenerator[Record]:
    last: list[Any] = [None] * len(table.key)
    statement = (
        f"SELECT {_columns(table)} FROM {table.source} WHERE {_beyond(table, 1)} "
        f"ORDER BY {_key(table)} LIMIT {PAGE}"
    )
    while rows := await connection.fetch(statement, *last):
        for row in rows:
            yield row
        last = [rows[-1][name] for name, _ in table.key]


async def _seal_stale(
    connection: Connection,
    keys: KeyWrap,
    table: SealedTable,
    pace: "Pace",
    done: Rotation,
    closed: list[str],
    on_progress: Callable[[int], None],
) -> None:
    read = (
        f"SELECT {_columns(table)} FROM {table.source} WHERE {_stale(table)} AND {_beyond(table, 2)} "
        f"ORDER BY {_key(table)} LIMIT {pace.batch} FOR UPDATE OF t SKIP LOCKED"
    )
    write, last = _update(table), [None] * len(table.key)
    while True:
        began = time.monotonic()
        async with connection.transaction():
            await connection.execute(QUIETLY)
            rows = await connection.fetch(read, keys.kek_id, *last)
            values = [one for row in rows if (one := _sealed_anew(table, row, keys, closed)) is not None]
            if values:
                await connection.execute(write, *map(list, zip(*values, strict=True)))
        if not rows:
            return
        done.sealed += len(values)
        on_progress(len(rows))
        last = [rows[-1][name] for name, _ in table.key]
        await asyncio.sleep(pace.rest_s(time.monotonic() - began))


class Pace:
    """Spreads batches evenly; after one that took long there is as much rest, and no other makes up for it."""

    def __init__(self, batch: int, rows_per_second: float) -> None:
        self.batch = batch
        self._every_s = batch / rows_per_second

    def rest_s(self, worked_s: float) -> float:
        """Until the next batch, after one that took so long."""
        return max(worked_s, self._every_s - worked_s)


def _update(table: SealedTable) -> str:
    """Each sealed column and its key-encryption key, the fingerprint, then the row's key: a list of each."""
    kinds = {column.name: "bytea" for column in table.columns}
    kinds |= {column.kek: "text" for column in table.columns}
    if table.fingerprint is not None:
        kinds[table.fingerprint[0]] = "bytea"
    changes = [f"{name} = v.{name}" for name in kinds]
    if any(column.owner_to_be for column in table.columns):
        changes.append("sealed_for = NULL")
    kinds |= {f"of_{name}": kind for name, kind in table.key}
    lists = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(kinds.values(), 1))
    named = " AND ".join(f"t.{name} = v.of_{name}" for name, _ in table.key)
    return (
        f"UPDATE {table.name} t SET {', '.join(changes)} "
        f"FROM unnest({lists}) AS v ({', '.join(kinds)}) WHERE {named}"
    )


def _sealed_anew(table: SealedTable, row: Record, keys: KeyWrap, closed: list[str]) -> list[Any] | None:
    """The values of `_update`; None when one does not open, whose owner is added to `closed`."""
    opened: list[bytes | None] = []
    for number, column in enumerate(table.columns):
        wrapped, owner = row[column.name], row[f"owner_{number}"]
        try:
            opened.append(None if wrapped is None else keys.unwrap(wrapped, owner))
        except WrongKek:
            if column.kek != "kek_id":  # A former secret, which nothing needs for long.
                opened.append(None)
                continue
            closed.append(owner)
            return None
    sealed = [
        None if key is None else keys.wrap(key, row[f"owner_to_be_{number}"]) for number, key in enumerate(opened)
    ]
    keks = [keys.kek_id for _ in dict.fromkeys(column.kek for column in table.columns)]
    fingerprint: list[bytes] = []
    if table.fingerprint is not None:
        fingerprint.append(keys.fingerprint(row["fingerprint_owner"], *(key for key in opened if key is not None)))
    return [*sealed, *keks, *fingerprint, *(row[name] for name, _ in table.key)]
