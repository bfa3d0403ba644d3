"""What must hold after a case: each uplink once, last values and rollups as a recount, counters that only rise."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.runtime.postgres import Pool
from ingest.recount import recount
from ingest.rollups import roll_up
from lab.device.device import SentUplink
from lab.simulator.account import Key
from services.supervisor.run_info import RunInfo

# The uplinks of each session from the first that it sent in this case.
STORED_SINCE = """
SELECT d.dev_eui, s.dev_addr, u.f_cnt, u.status, count(*) AS times
FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS began (dev_eui, dev_addr, f_cnt)
JOIN device d ON d.dev_eui = began.dev_eui
JOIN session s ON s.device_id = d.id AND s.dev_addr = began.dev_addr
JOIN observation.uplink u ON u.device_id = d.id AND u.session_id = s.id AND u.f_cnt >= began.f_cnt
GROUP BY d.dev_eui, s.dev_addr, u.f_cnt, u.status
"""
# Of the hour that is not over, rollups cannot be compared yet: it must be marked for every datastream that has
# measured in it. An instant on the edge is in the hour before for a counter, which is marked as well.
COUNT_UNMARKED = """
WITH measured AS (
    SELECT DISTINCT m.datastream_id, date_trunc('hour', m.time, 'UTC') AS hour
    FROM observation.measurement m WHERE m.time >= date_trunc('hour', now(), 'UTC')
), marked AS (
    SELECT DISTINCT u.id, date_trunc('hour', d.hour, 'UTC') AS hour
    FROM observation.dirty d CROSS JOIN LATERAL unnest(d.datastream_ids) AS u (id)
)
SELECT count(*) FROM measured LEFT JOIN marked ON marked.id = datastream_id AND marked.hour = measured.hour
WHERE marked.id IS NULL
"""
READ_COUNTERS = """
SELECT s.id, s.f_cnt_up, s.f_cnt_down FROM session s JOIN device d ON d.id = s.device_id WHERE d.tenant_id = $1
"""
TRACEBACK = b"Traceback (most recent call last)"
WARNING = b'"level": "warning"'
EXAMPLES = 3


async def read_stored_since(pool: Pool, sent: Sequence[SentUplink]) -> tuple[Counter[Key], set[Key]]:
    """How many times each uplink of these sessions is stored from the first of `sent` on; and the undecodable."""
    began: dict[tuple[bytes, bytes], int] = {}
    for uplink in sent:
        session = (uplink.dev_eui, uplink.dev_addr)
        began[session] = min(began.get(session, uplink.f_cnt), uplink.f_cnt)
    times: Counter[Key] = Counter()
    undecodable: set[Key] = set()
    columns = [dev_eui for dev_eui, _ in began], [dev_addr for _, dev_addr in began], list(began.values())
    async with pool.acquire() as connection:
        rows = await connection.fetch(STORED_SINCE, *columns, timeout=300)
    for row in rows:
        key = (row["dev_eui"], row["dev_addr"], row["f_cnt"])
        times[key] += row["times"]
        if row["status"] == "undecodable":
            undecodable.add(key)
    return times, undecodable


async def differences(pool: Pool) -> list[str]:
    """After a forced run of rollups: what is not as raw measurements say, in words."""
    await roll_up(pool, force=True)
    found = [
        f"{one.table} {one.datastream_id} {one.bucket:%H:%M:%S.%f}: {one.stored} au lieu de {one.recounted}"
        for one in await recount(pool)
    ]
    async with pool.acquire() as connection:
        unmarked = await connection.fetchval(COUNT_UNMARKED, timeout=120)
    return found + ([f"{unmarked} heures de flux mesurées et non marquées"] if unmarked else [])


@dataclass(slots=True)
class CounterWatch:
    """Session counters as they were seen last: none may ever be seen lower."""

    tenant_id: int
    went_back: int = 0
    _seen: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])

    async def look(self, pool: Pool) -> None:
        """Compare with what was seen before; raises what the database raises when it is away."""
        for row in await pool.fetch(READ_COUNTERS, self.tenant_id):
            up, down = self._seen.get(row["id"], (0, 0))
            self.went_back += (row["f_cnt_up"] < up) + (row["f_cnt_down"] < down)
            self._seen[row["id"]] = (max(up, row["f_cnt_up"]), max(down, row["f_cnt_down"]))


@dataclass(slots=True)
class LogWatch:
    """The services' logs from a moment on."""

    _ends: dict[str, int] = field(default_factory=dict[str, int])

    def begin(self, run: RunInfo) -> None:
        """What is in the logs by now is of no interest."""
        self._ends = {one.log: _size(one.log) for one in run.services if one.health_url is not None}

    def tracebacks(self, run: RunInfo, victims: Iterable[str]) -> Mapping[str, list[str]]:
        """Tracebacks of the services that nobody harmed, by child: how each of the first few ended."""
        spared = tuple(victims)
        found: dict[str, list[str]] = {}
        for one in run.services:
            if one.log not in self._ends or one.name.startswith(spared):
                continue
            with Path(one.log).open("rb") as log:
                start = self._ends[one.log]
                log.seek(start if start <= _size(one.log) else 0)
                # A warning with a traceback is a driver's, of a server that is away: it tries again.
                lines = [line for line in log if TRACEBACK in line and WARNING not in line]
            if lines:
                found[one.name] = [_ending(line) for line in lines[:EXAMPLES]] + [f"({len(lines)})"]
        return found


def _size(log: str) -> int:
    file = Path(log)
    return file.stat().st_size if file.exists() else 0


def _ending(line: bytes) -> str:
    """Our logs carry the whole traceback in one JSON line."""
    return line.decode("utf-8", "replace").replace("\\n", "\n").strip().splitlines()[-1][:200]
