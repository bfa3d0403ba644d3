"""The numbered files of `registry/migrations`: their kind, what they lock, the steps they are made of. Pure.

A file of `FIRST_WITH_KIND` or later is called `NNNN_expand_what.sql` or `NNNN_contract_what.sql`. An expand step
adds what programs of before do not know and do not miss: they go on, and start, on the new schema. A contract step
takes away what only programs before number `needs` use. Comments at the head of a file say what it does to others:

    -- needs: 0125                               of a contract step: the oldest program that works after it
    -- locks: device ACCESS EXCLUSIVE instant    each lock that keeps a service waiting, and how long it is held
    -- outside a transaction                     its steps are committed one by one

Outside a transaction each step begins with a line `-- step`, or `-- step: until nothing changes` for a statement
that is repeated until it changes no row. A runner that was killed begins again with the first step: each must bear
being done twice.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

# Programs that know fewer files compare the ledger whole and refuse whatever is newer.
FIRST_WITH_KIND = 120

_NAME = re.compile(r"(?P<number>\d{4})_(?:(?P<kind>expand|contract)_)?\w+\.sql")
_HEAD = re.compile(r"-- (?P<key>needs|locks): (?P<value>.+)")
_OUTSIDE = "-- outside a transaction"
_STEP = re.compile(r"^-- step(?P<repeats>: until nothing changes)?$", re.MULTILINE)
_CONCURRENTLY = re.compile(r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (?P<index>\w+)")


class Kind(StrEnum):
    """Whether programs of before go on."""

    EXPAND = "expand"
    CONTRACT = "contract"


class Held(StrEnum):
    """How long a lock is held: an instant, while the table is read, while it is written anew."""

    INSTANT = "instant"
    SCAN = "scan"
    REWRITE = "rewrite"


# Where PostgreSQL holds a lock longer than the head says: files keep their bytes, whose checksums are stored.
_CORRECTED = {("0125_expand_measurement_webhooks.sql", "webhook_endpoint"): Held.SCAN}


@dataclass(frozen=True, slots=True, order=True)
class Lock:
    """What keeps others waiting: `mode` as PostgreSQL names it (`ACCESS EXCLUSIVE`)."""

    table: str
    mode: str
    held: Held


@dataclass(frozen=True, slots=True)
class Step:
    """One statement that is committed by itself."""

    sql: str
    repeats: bool

    @property
    def index(self) -> str | None:
        """The index that it makes while others write: left invalid where it was cut short."""
        found = _CONCURRENTLY.search(self.sql)
        return found["index"] if found else None


class MalformedMigration(ValueError):
    """A file does not say what it must; of the programmer, found by the tests."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `kind` is None before `FIRST_WITH_KIND`; `steps` is empty where all is one transaction."""

    number: int
    name: str
    sql: str
    kind: Kind | None = None
    needs: int | None = None
    locks: tuple[Lock, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def parse(name: str, sql: str) -> Migration | None:
    """The migration in a file of this name; None: no migration.

    Raises:
        MalformedMigration: the name lacks its kind, or the head is not as the head of this module says.
    """
    named = _NAME.fullmatch(name)
    if named is None:
        return None
    number = int(named["number"])
    if number < FIRST_WITH_KIND:
        return Migration(number, name, sql)
    if named["kind"] is None:
        raise MalformedMigration(f"{name}: from {FIRST_WITH_KIND} on a name says expand or contract")
    kind = Kind(named["kind"])
    head = _head_of(sql)
    found = [matched for line in head if (matched := _HEAD.fullmatch(line))]
    needs = [int(matched["value"]) for matched in found if matched["key"] == "needs"]
    if len(needs) != (kind is Kind.CONTRACT) or any(
        not FIRST_WITH_KIND <= number_of < number for number_of in needs
    ):
        raise MalformedMigration(f"{name}: a contract step, and no other, needs one number from before it")
    locks = tuple(_lock(name, matched["value"]) for matched in found if matched["key"] == "locks")
    steps = _steps(name, sql) if _OUTSIDE in head else ()
    return Migration(number, name, sql, kind, needs[0] if needs else None, locks, steps)


def _head_of(sql: str) -> list[str]:
    head: list[str] = []
    for line in sql.splitlines():
        if line and not line.startswith("--"):
            break
        head.append(line)
    return head


def _lock(name: str, value: str) -> Lock:
    try:
        table, *mode, held = value.split()
        return Lock(table, " ".join(mode), _CORRECTED.get((name, table), Held(held)))
    except ValueError:
        raise MalformedMigration(f"{name}: a lock is TABLE MODE {'|'.join(Held)}, not {value!r}") from None


def _steps(name: str, sql: str) -> tuple[Step, ...]:
    starts = list(_STEP.finditer(sql))
    if not starts:
        raise MalformedMigration(f"{name}: outside a transaction there are steps")
    ends = [*(start.start() for start in starts[1:]), len(sql)]
    return tuple(
        Step(sql[start.end() : end].strip(), repeats=start["repeats"] is not None)
        for start, end in zip(starts, ends, strict=True)
    )


def min_compatible(migration: Migration, before: int) -> int:
    """The oldest program, by the number of files that it knows, that works once this one is applied.

    `before`: the same of the schema that it is applied to.
    """
    if migration.kind is None:
        return migration.number
    return max(FIRST_WITH_KIND, before, migration.needs or 0)


def oldest_after(migrations: Iterable[Migration], before: int) -> int:
    """The same after all of these, in their order."""
    for migration in migrations:
        before = min_compatible(migration, before)
    return before
