"""The chain over the audit: sealed every few seconds, verified from its beginning, cut by its term."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from core.runtime.postgres import Connection, Pool
from registry.rows import fetch_all, fetch_one

SEAL_AT_ONCE = 5_000
END_AT_ONCE = 20_000
PROBLEMS_SHOWN = 100

SEAL = "SELECT seal_audit($1)"
# Three tables of a million lines each are joined in memory.
ROOM = "SET LOCAL work_mem = '256MB'"
END_LINES = "SELECT end_audit_lines($1, $2)"
ERASE_DETAILS = "SELECT erase_audit_details($1)"
# In one pass, and by its own text rather than a function of the database that it examines: each seal against the
# one before it, its line and that line's details. Where an erasure took what a line was about, its seal is taken
# as it is; those before and after it are compared all the same.
COUNT_SEALS = f"""
WITH chain AS (
    SELECT s.sequence, s.line_id, s.digest,
           lag(s.sequence, 1, b.sequence) OVER (ORDER BY s.sequence) AS former_sequence,
           lag(s.digest, 1, b.digest) OVER (ORDER BY s.sequence) AS former
    FROM audit_seal s CROSS JOIN audit_start b
), seen AS (
    SELECT c.sequence, c.line_id, d.line_id IS NULL AS is_erased, l.erased_by IS NOT NULL AS is_unnamed,
           CASE WHEN c.sequence <> c.former_sequence + 1 THEN 'seal_missing'
                WHEN l.id IS NULL THEN 'line_missing'
                WHEN l.erased_by IS NULL AND c.digest <> sha256(c.former || convert_to(jsonb_build_array(
                     l.id, l.tenant_id, (extract(epoch FROM l.at) * 1000000)::bigint, l.actor, l.action,
                     l.entity, l.entity_id, encode(l.details_digest, 'hex'))::text, 'UTF8'))
                THEN 'line_changed'
                WHEN sha256(d.salt || convert_to(d.details::text, 'UTF8')) <> l.details_digest
                THEN 'details_changed'
           END AS problem
    FROM chain c LEFT JOIN audit_line l ON l.id = c.line_id LEFT JOIN audit_detail d ON d.line_id = c.line_id
)
SELECT count(*) AS sealed, count(*) FILTER (WHERE is_erased) AS erased,
       count(*) FILTER (WHERE is_unnamed) AS unnamed,
       count(*) FILTER (WHERE problem IS NOT NULL) AS problems,
       (array_agg(sequence || ' ' || line_id || ' ' || problem ORDER BY sequence)
        FILTER (WHERE problem IS NOT NULL))[1:{PROBLEMS_SHOWN}] AS found
FROM seen
"""
HEAD = """
SELECT sequence, digest FROM audit_seal
UNION ALL SELECT sequence, digest FROM audit_start ORDER BY sequence DESC LIMIT 1
"""
FIND_SEAL = """
SELECT digest FROM audit_seal WHERE sequence = $1 UNION ALL SELECT digest FROM audit_start WHERE sequence = $1
"""
START = "SELECT sequence, moved_at FROM audit_start"
TAIL = """
SELECT count(*) AS lines, min(l.at) AS since FROM audit_line l
WHERE EXISTS (SELECT FROM audit_pending p WHERE p.line_id = l.id)
"""
# Neither sealed nor waiting: written behind the sealer's back.
SLIPPED = """
SELECT l.id FROM audit_line l
WHERE NOT EXISTS (SELECT FROM audit_seal s WHERE s.line_id = l.id)
  AND NOT EXISTS (SELECT FROM audit_pending p WHERE p.line_id = l.id) ORDER BY l.id LIMIT 100
"""
PENDING_WITHOUT_LINE = """
SELECT p.line_id AS id FROM audit_pending p WHERE NOT EXISTS (SELECT FROM audit_line l WHERE l.id = p.line_id)
ORDER BY p.line_id LIMIT 100
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """A place where the chain does not hold; `line_id` is a number of `/v1/audit`."""

    line_id: int
    problem: str
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Tail:
    """Lines that are committed and not sealed yet."""

    lines: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Head:
    """The last seal; noted down elsewhere, it shows later that nothing before it was cut off."""

    sequence: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Start:
    """The last seal that the term removed."""

    sequence: int
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of the chain."""

    sealed: int
    erased: int
    problem_count: int
    problems: tuple[Problem, ...]
    tail: Tail
    head: Head
    start: Start
    unnamed: int = 0
    """Lines of which an erasure took what they were about; nothing shows whether they were changed besides."""


async def seal(pool: Pool) -> int:
    """Seal what was committed, in transactions of thousands; how many lines."""
    total = 0
    while True:
        sealed: int = await pool.fetchval(SEAL, SEAL_AT_ONCE)
        total += sealed
        if sealed < SEAL_AT_ONCE:
            return total


async def end_lines(pool: Pool, keep: timedelta) -> int:
    """Remove the lines from the first on that are older than their term; how many."""
    total = 0
    while True:
        ended: int = await pool.fetchval(END_LINES, keep, END_AT_ONCE)
        total += ended
        if ended < END_AT_ONCE:
            return total


async def erase_details(connection: Connection | Pool, line_ids: list[int]) -> int:
    """Erase what these lines say of somebody; the lines, and their seals, stay."""
    return await connection.fetchval(ERASE_DETAILS, line_ids)


async def read_head(connection: Connection | Pool) -> Head:
    """The last seal."""
    found = await fetch_one(connection, Head, HEAD)
    assert found is not None  # noqa: S101 - The start is always there.
    return found


async def verify(connection: Connection, expected: Head | None = None) -> Verification:
    """Go through the whole chain; `expected` is a head that was noted down before."""
    async with connection.transaction():
        await connection.execute(ROOM)
        return await _verify(connection, expected)


async def _verify(connection: Connection, expected: Head | None) -> Verification:
    row = await connection.fetchrow(COUNT_SEALS, timeout=600)
    assert row is not None  # noqa: S101 - An aggregate.
    problems = [_problem(text) for text in row["found"] or ()]
    count: int = row["problems"]
    for statement, problem in ((SLIPPED, "line_unsealed"), (PENDING_WITHOUT_LINE, "line_missing")):
        found = [Problem(line["id"], problem) for line in await connection.fetch(statement, timeout=600)]
        problems += found
        count += len(found)
    start, tail = await fetch_one(connection, Start, START), await fetch_all(connection, Tail, TAIL)
    assert start is not None  # noqa: S101 - It is always there.
    if expected is not None and not await _has_seal(connection, expected, start):
        problems.append(Problem(0, "head_differs", expected.sequence))
        count += 1
    return Verification(
        row["sealed"],
        row["erased"],
        count,
        tuple(problems),
        tail[0],
        await read_head(connection),
        start,
        row["unnamed"],
    )


async def _has_seal(connection: Connection, expected: Head, start: Start) -> bool:
    if expected.sequence < start.sequence:  # Its term is over.
        return True
    return await connection.fetchval(FIND_SEAL, expected.sequence) == expected.digest


def _problem(text: str) -> Problem:
    sequence, line_id, problem = text.split(" ")
    return Problem(int(line_id), problem, int(sequence))
