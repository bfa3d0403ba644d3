"""Writes down how a restore went that was tried."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection

RECORD = """
INSERT INTO restore_drill (began_at, outcome, detail, octets, restored_s, ready_s) VALUES ($1, $2, $3, $4, $5, $6)
"""


@dataclass(frozen=True, slots=True)
class Drill:
    """One try: a code of the table's list, and what was seen."""

    began_at: datetime
    outcome: str
    detail: str = ""
    octets: int = 0
    restored_s: float = 0.0
    ready_s: float = 0.0


async def record_drill(connection: Connection, drill: Drill) -> None:
    """Write how it went."""
    values = (drill.began_at, drill.outcome, drill.detail, drill.octets, drill.restored_s, drill.ready_s)
    await connection.execute(RECORD, *values)
