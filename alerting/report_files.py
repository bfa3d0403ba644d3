"""The files of monthly reports that go with a letter."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.runtime.postgres import Connection, Pool

ATTACHED_MOST, ATTACHED_OCTETS_MOST = 20, 8 << 20

FILES = """
SELECT title, pdf FROM (
    SELECT title, pdf, commune, sum(octet_length(pdf)) OVER (ORDER BY commune, id) AS octets
    FROM report WHERE tenant_id = $1 AND id = ANY($2::int[])) AS r
WHERE octets <= $3 ORDER BY commune
"""


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that goes with a letter."""

    name: str
    content: bytes


async def read_attached(
    connection: Connection | Pool, tenant_id: int, report_ids: Sequence[int]
) -> list[Attached]:
    """The first files that one letter bears; all are under its link."""
    rows = await connection.fetch(FILES, tenant_id, list(report_ids)[:ATTACHED_MOST], ATTACHED_OCTETS_MOST)
    return [
        Attached(f"{row['title'].replace(' :', ',').replace(':', ',').replace('/', '-')}.pdf", row["pdf"])
        for row in rows
    ]
