"""Erasures of what concerns a dwelling, a device, a person or a contact: asked for, and worked off in batches.

Functions of the database erase, as their owner (the migration `erasures`): neither the API nor maintenance may
delete what they do. A ledger beside the backups names by keyed digests what was erased: a restore reads it, and
erases again.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import structlog

from core.runtime.errors import OperatorError
from core.runtime.postgres import Connection, Pool
from registry.rows import columns_of, fetch_all, fetch_one, insert

if TYPE_CHECKING:
    from registry.keys import KeyWrap

log = structlog.get_logger()

# Octets of a digest.
FINGERPRINT = 16
DIGEST_OWNER = "erasure"
# Before the name of a key-encryption key and a digest that it alone makes, among the digests of a line.
KEY_MARK = b"key "


@dataclass(frozen=True, slots=True)
class Erasure:
    """A request, how far it is, and at its end how many rows of which table were erased."""

    id: int
    tenant_id: int
    kind: str
    subject_id: int
    reason: str
    requested_by: str
    requested_at: datetime
    state: str  # waiting, running, settling, done, refused
    refusal: str | None  # unknown, of_others
    started_at: datetime | None
    ended_at: datetime | None
    erased: int
    counts: dict[str, int]
    subjects: int
    receipt_sha256: bytes | None


COLUMNS = columns_of(Erasure)
REQUEST = f"""
INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by, by_operator)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING {COLUMNS}
"""
READ = f"SELECT {COLUMNS} FROM erasure WHERE id = $1"
LIST = f"SELECT {COLUMNS} FROM erasure WHERE $1::int IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"
UNDER_WAY = "SELECT id, state, settling_since FROM erasure WHERE state NOT IN ('done', 'refused') ORDER BY id"
BEGIN = "SELECT state, scope FROM begin_erasure($1)"
RECORD_DIGESTS = "SELECT record_erasure_digests($1, $2)"
ERASE_SOME = "SELECT erase_some($1, $2)"
SETTLE = "SELECT settle_erasure($1)"
END = "SELECT end_erasure($1)"
# A folder may hold more than this database names.
MAY_HAVE_COLD_FILES = """
SELECT EXISTS (SELECT FROM erasure
               WHERE id = $1 AND datastream_ids || array_remove(span_datastream_ids, NULL) <> '{}')
   AND (EXISTS (SELECT FROM observation.cold_file)
        OR EXISTS (SELECT FROM observation.cold_file_replaced WHERE removed_at IS NULL))
"""
DIGESTS = "SELECT id, digests FROM erasure WHERE cardinality(digests) > 0 ORDER BY id"
# Of a database that was restored: everything that the ledger may name.
NAMED = """
SELECT 'asset' AS kind, id, tenant_id, (extract(epoch FROM created_at) * 1000000)::bigint AS created FROM asset
UNION ALL
SELECT 'device', id, tenant_id, (extract(epoch FROM created_at) * 1000000)::bigint FROM device
UNION ALL
SELECT 'contact', id, tenant_id, (extract(epoch FROM created_at) * 1000000)::bigint FROM contact
UNION ALL
SELECT DISTINCT ON (p.id) 'person', p.id, m.tenant_id, (extract(epoch FROM p.created_at) * 1000000)::bigint
FROM person p JOIN membership m ON m.person_id = p.id
"""
REQUEST_AGAIN = """
INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by, by_operator)
SELECT $1, $2, $3, $4, $5, true
WHERE NOT EXISTS (SELECT FROM erasure WHERE kind = $2 AND subject_id = $3 AND state NOT IN ('done', 'refused'))
RETURNING id
"""


class UnreadableLedger(Exception):
    """A line of the ledger is none; the message says which."""


class Entry(msgspec.Struct, frozen=True):
    """A line of the ledger: an erasure, by keyed digests of what it erased. It holds no name and no id."""

    at: datetime
    digests: list[str]

    @property
    def key(self) -> tuple[str, bytes] | None:
        """The name of the key of its digests, and what tells that key; None in lines of before they said it."""
        for octets in map(bytes.fromhex, self.digests):
            if octets.startswith(KEY_MARK) and len(octets) > FINGERPRINT:
                return octets[len(KEY_MARK) : -FINGERPRINT].decode(errors="replace"), octets[-FINGERPRINT:]
        return None


class ClosedLines(OperatorError):
    """Lines of the ledger are under a key that is not given: whom they name is not known, and not erased."""

    def __init__(self, lines: int, kek_ids: Sequence[str]) -> None:
        names = ", ".join(kek_ids)
        which = "1 ligne est" if lines == 1 else f"{lines} lignes sont"
        super().__init__(
            f"{lines} lines of the ledger of erasures are under {names}, which is not given",
            f"registre des effacements : {which} sous une clé qui manque ici ({names}), et ce qui y est nommé "
            "n'est pas effacé. Donnez un secrets.json qui la garde, celui d'aujourd'hui si la clé a été changée "
            "depuis la sauvegarde : il garde aussi celles d'avant (former_keks, TERRITOIRE_KEK_FORMER)",
        )


async def request_erasure(
    connection: Connection,
    tenant_id: int,
    kind: str,
    subject_id: int,
    reason: str,
    actor: str,
    *,
    by_operator: bool,
) -> Erasure:
    """A new one, which waits for maintenance; raises UniqueViolationError while one of it is under way."""
    return await insert(connection, Erasure, REQUEST, tenant_id, kind, subject_id, reason, actor, by_operator)


async def read_erasure(connection: Connection | Pool, erasure_id: int) -> Erasure | None:
    """One erasure."""
    return await fetch_one(connection, Erasure, READ, erasure_id)


async def list_erasures(connection: Connection, *, before: int | None = None, most: int = 100) -> list[Erasure]:
    """The tenant's, newest first, below the id `before`."""
    return await fetch_all(connection, Erasure, LIST, before, most)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An erasure that is not done."""

    id: int
    state: str
    settling_since: datetime | None


async def list_under_way(connection: Connection | Pool) -> list[UnderWay]:
    """Those that wait or are being worked off, the oldest first."""
    return await fetch_all(connection, UnderWay, UNDER_WAY)


async def begin(connection: Connection | Pool, erasure_id: int) -> tuple[str, list[str]]:
    """Fix what an erasure is about, once: its state, and what the ledger is to name."""
    row = await connection.fetchrow(BEGIN, erasure_id)
    assert row is not None  # noqa: S101 - The function returns one row.
    return row["state"], row["scope"]


async def record_digests(connection: Connection | Pool, erasure_id: int, digests: Sequence[bytes]) -> None:
    """The ledger has them; from now on `erase_some` erases."""
    await connection.execute(RECORD_DIGESTS, erasure_id, list(digests))


async def erase_some(connection: Connection | Pool, erasure_id: int, most: int) -> int:
    """Erase about so many rows in a transaction of its own; how many. 0: nothing is left."""
    return await connection.fetchval(ERASE_SOME, erasure_id, most)


async def settle(connection: Connection | Pool, erasure_id: int) -> None:
    """Nothing is left; what is on its way inside comes in meanwhile, and is erased before the end."""
    await connection.execute(SETTLE, erasure_id)


async def end(connection: Connection | Pool, erasure_id: int) -> None:
    """Forget what it was about; its receipt stays."""
    await connection.execute(END, erasure_id)


def digests_of(keys: "KeyWrap", scope: Iterable[str]) -> list[bytes]:
    """Of each subject, and the key's mark: of no use to who has not the key-encryption key."""
    mark = KEY_MARK + keys.kek_id.encode() + keys.fingerprint(DIGEST_OWNER, KEY_MARK)
    return [*(keys.fingerprint(DIGEST_OWNER, one.encode()) for one in scope), mark]


def append_to_ledger(file: Path, digests: Sequence[bytes], at: datetime) -> None:
    """Add a line, and have it on the disk before anything is erased; one that is there already is not repeated."""
    line = msgspec.json.encode(Entry(at, [one.hex() for one in digests]))
    if tuple(one.hex() for one in digests) in _known(file):
        return
    whole = b"" if not file.exists() else file.read_bytes()
    begun = whole[whole.rfind(b"\n") + 1 :]
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.seek(0, os.SEEK_END)
        if begun and _is_torn(begun):
            # What a process that was killed began to write was of no effect.
            log.warning("erasure_ledger_torn_line_removed", file=str(file), octets=len(begun))
            output.truncate(len(whole) - len(begun))
            output.seek(0, os.SEEK_END)
        elif begun:
            output.write(b"\n")
        output.write(line + b"\n")
        output.flush()
        os.fsync(output.fileno())


def read_ledger(file: Path) -> Iterator[Entry]:
    """Every line that is whole, the last one also without its end; `trouble_at_end` says more of that one.

    Raises:
        UnreadableLedger: one is none of ours.
        OSError: the file cannot be read.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip() and not _is_torn(line):
                try:
                    yield msgspec.json.decode(line, type=Entry)
                except msgspec.DecodeError as wrong:
                    raise UnreadableLedger(f"ligne {number} : {wrong}") from None


def trouble_at_end(file: Path) -> str | None:
    """In French: that the last line is cut off, or whole without its end; None: it is as we write it."""
    begun = file.read_bytes().rpartition(b"\n")[2]
    if not begun.strip():
        return None
    if not _is_torn(begun):
        return f"la dernière ligne de {file} n'a pas sa fin de ligne : elle est entière, et lue"
    return (
        f"la dernière ligne de {file} est coupée, et n'est pas lue. Si c'est une copie, reprenez le registre "
        "entier : qui elle nomme reviendrait. Sinon la machine s'est arrêtée en l'écrivant, et rien n'était "
        "encore effacé"
    )


def _is_torn(line: bytes) -> bool:
    """Whether this is the beginning of a line; whole, it has an end, or is JSON, which no beginning of it is."""
    if line.endswith(b"\n"):
        return False
    try:
        msgspec.json.decode(line)
    except msgspec.DecodeError:
        return True
    return False


def continue_ledger(entries: Iterable[Entry], file: Path) -> None:
    """Go on with these lines elsewhere."""
    for entry in entries:
        append_to_ledger(file, [bytes.fromhex(one) for one in entry.digests], entry.at)


def _known(file: Path) -> set[tuple[str, ...]]:
    return {tuple(entry.digests) for entry in read_ledger(file)} if file.exists() else set()


async def write_missing(connection: Connection, file: Path) -> int:
    """Add what the database knows to have erased and this ledger lacks; how many lines."""
    known, added = _known(file), 0
    for row in await connection.fetch(DIGESTS):
        digests: list[bytes] = row["digests"]
        if tuple(one.hex() for one in digests) not in known:
            append_to_ledger(file, digests, datetime.now(UTC))
            added += 1
    return added


class ErasedAgain(NamedTuple):
    """How many dwellings, devices and people were, and how many lines may be of a key that was not given.

    Those are of before lines named their key, and name nothing that was found here.
    """

    done: int
    unproved: int


async def erase_again(
    connection: Connection, keys: "KeyWrap", ledger: Sequence[Entry], *, most: int = 20_000
) -> ErasedAgain:
    """Erase from a restored database what the ledger says was erased.

    By the schema's owner, while nothing else is connected. What an erasure had begun is finished, too.

    Raises:
        ClosedLines: at its end, where a line that this database does not know is under another key than these.
    """
    known = {tuple(one.hex() for one in row["digests"]) for row in await connection.fetch(DIGESTS)}
    closed = [entry for entry in ledger if tuple(entry.digests) not in known and is_closed(entry, keys)]
    wanted = {digest for entry in ledger for digest in entry.digests}
    found: set[str] = set()
    again = 0
    for row in await connection.fetch(NAMED):
        subject = f"{row['kind']}/{row['id']}/{row['created']}".encode()
        named = wanted.intersection(one.hex() for one in keys.fingerprints(DIGEST_OWNER, subject))
        if named:
            found |= named
            given = (row["tenant_id"], row["kind"], row["id"], "restauration d'une sauvegarde", "restauration")
            again += await connection.fetchval(REQUEST_AGAIN, *given) is not None
    for one in await list_under_way(connection):
        await work_off(connection, keys, one.id, most)
    if closed:
        raise ClosedLines(len(closed), sorted({entry.key[0] for entry in closed if entry.key is not None}))
    keyless = [entry.digests for entry in ledger if entry.key is None and tuple(entry.digests) not in known]
    return ErasedAgain(again, sum(found.isdisjoint(digests) for digests in keyless))


def is_closed(entry: Entry, keys: "KeyWrap") -> bool:
    """Whether none of these keys has made its digests; a line of before they named their key does not say."""
    return entry.key is not None and entry.key[1] not in keys.fingerprints(DIGEST_OWNER, KEY_MARK)


async def work_off(connection: Connection, keys: "KeyWrap", erasure_id: int, most: int) -> None:
    """From its beginning to its end, where nothing is on its way inside; cold files stay to be done."""
    state, scope = await begin(connection, erasure_id)
    if state == "waiting":
        await record_digests(connection, erasure_id, digests_of(keys, scope))
    while await erase_some(connection, erasure_id, most):
        pass
    await settle(connection, erasure_id)
    # What it names in cold files is taken out by maintenance, which has their folder, and which ends it then.
    if not await connection.fetchval(MAY_HAVE_COLD_FILES, erasure_id):
        await end(connection, erasure_id)


def receipt_of(erasure: Erasure) -> Mapping[str, Any]:
    """The document that stays of an erasure: counts by table, dates, a digest, and nobody's name."""
    return {
        "erasure": erasure.id,
        "kind": erasure.kind,
        "subject": erasure.subject_id,
        "subjects": erasure.subjects,
        "reason": erasure.reason,
        "requested_by": erasure.requested_by,
        "requested_at": erasure.requested_at.isoformat(),
        "ended_at": None if erasure.ended_at is None else erasure.ended_at.isoformat(),
        "erased": erasure.erased,
        "counts": dict(sorted(erasure.counts.items())),
        "sha256": None if erasure.receipt_sha256 is None else erasure.receipt_sha256.hex(),
    }


def receipt_text(erasure: Erasure) -> str:
    """As it is written to a file."""
    return json.dumps(receipt_of(erasure), ensure_ascii=False, indent=2)
