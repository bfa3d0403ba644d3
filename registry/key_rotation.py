"""Seals every key and secret anew under the current key-encryption key, while everything runs.

What is left to do stands in the rows themselves: a rotation that is killed goes on where it stopped.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from core.runtime.postgres import Connection, Record
from lorawan.crypto import WrongKek
from registry.keys import MULTIPLE, KeyWrap, is_sealed_for_owner
from registry.sealed_columns import SEALED_TABLES, SealedTable

# Rows of one transaction: some ten milliseconds, for which the network server may wait for its sessions.
BATCH = 100
PAGE = 2_000
# A row that its writer holds is left out and tried again.
PASSES = 20
AGAIN_S = 0.2
QUIETLY = "SELECT set_config('app.resealing', 'on', true)"


@dataclass(slots=True)
class Rotation:
    """What a rotation has done."""

    sealed: int = 0
    """Rows that were sealed anew."""
    closed: list[str] = field(default_factory=list[str])
    """Owners of values that no key opens: they stay as they are."""
    left: int = 0
    """Rows that their writers held each time."""


@dataclass(slots=True)
class Check:
    """What is under which key-encryption key, and what does not open."""

    counts: Counter[str] = field(default_factory=Counter[str])
    """Values that open, by the key-encryption key that stands beside them."""
    unowned: int = 0
    """Of them, those of RFC 3394, which name no owner."""
    closed: list[str] = field(default_factory=list[str])
    """Owners of values that do not open."""

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
) -> Rotation:
    """Seal anew, for its owner and under the current key, what is not. Half of the time the database has rest.

    `on_progress` is called with the rows of each batch.
    """
    done = Rotation()
    for table in SEALED_TABLES:
        left = 0
        closed: list[str] = []
        for _ in range(PASSES):
            closed = []
            await _seal_stale(connection, keys, table, batch, done, closed, on_progress)
            left = await connection.fetchval(
                f"SELECT count(*) FROM {table.source} WHERE {_stale(table)}", keys.kek_id
            ) - len(closed)
            if left <= 0:
                break
            await asyncio.sleep(AGAIN_S)
        else:
            done.left += left
        done.closed += closed
    return done


async def check(connection: Connection, keys: KeyWrap) -> Check:
    """Open everything that is sealed."""
    found = Check()
    for table in SEALED_TABLES:
        async for row in _rows(connection, table):
            for number, column in enumerate(table.columns):
                wrapped = row[column.name]
                if wrapped is None:
                    continue
                owner = row[f"owner_{number}"] or table.name
                if not keys.opens(wrapped, owner):
                    found.closed.append(owner)
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
    batch: int,
    done: Rotation,
    closed: list[str],
    on_progress: Callable[[int], None],
) -> None:
    read = (
        f"SELECT {_columns(table)} FROM {table.source} WHERE {_stale(table)} AND {_beyond(table, 2)} "
        f"ORDER BY {_key(table)} LIMIT {batch} FOR UPDATE OF t SKIP LOCKED"
    )
    write, last = _update(table), [None] * len(table.key)
    while True:
        began = time.monotonic()
        async with connection.transaction():
            await connection.execute(QUIETLY)
            rows = await connection.fetch(read, keys.kek_id, *last)
            values = [_sealed_anew(table, row, keys, closed) for row in rows]
            await connection.executemany(write, [one for one in values if one is not None])
        if not rows:
            return
        done.sealed += sum(one is not None for one in values)
        on_progress(len(rows))
        last = [rows[-1][name] for name, _ in table.key]
        await asyncio.sleep(time.monotonic() - began)


def _update(table: SealedTable) -> str:
    """Each sealed column and its key-encryption key, the fingerprint, then the row's key, in this order."""
    names = [column.name for column in table.columns]
    names += dict.fromkeys(column.kek for column in table.columns)
    if table.fingerprint is not None:
        names.append(table.fingerprint[0])
    changes = [f"{name} = ${number}" for number, name in enumerate(names, 1)]
    if any(column.owner_to_be for column in table.columns):
        changes.append("sealed_for = NULL")
    named = " AND ".join(f"{name} = ${number}" for number, (name, _) in enumerate(table.key, len(names) + 1))
    return f"UPDATE {table.name} SET {', '.join(changes)} WHERE {named}"


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
