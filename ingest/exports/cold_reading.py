"""Readings of cold files for an export: of datastreams that its tenant may read now, at the instants that it may.

Up to where a datastream was forgotten its truth is in files; what has come late to there and is still in the
hypertable is added where no file has that instant. After that the hypertable alone is asked.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core.runtime.postgres import Connection
from ingest.binary_rows import Readings, joined
from ingest.cold import files, store
from ingest.cold.files import ColdFailure
from ingest.cold.periods import within
from ingest.cold.store import Cut
from ingest.exports.store import Readable, multirange
from lorawan.instants import to_us

HOLD = "LOCK TABLE observation.measurement IN ACCESS SHARE MODE"


@dataclass(frozen=True, slots=True)
class ColdStream:
    """What files have of a datastream, in order, and the periods that are left for the hypertable."""

    readings: Readings
    warm: str


async def hold_chunks(connection: Connection) -> None:
    """First of all in a transaction of REPEATABLE READ: what it reads of files and of the hypertable is one.

    No chunk goes before it ends, and what is deleted meanwhile it sees.
    """
    await connection.execute(HOLD)


async def read_cold(
    connection: Connection, root: Path | None, streams: Sequence[Readable], since: datetime, until: datetime
) -> Mapping[int, ColdStream]:
    """By datastream; those of which files have nothing are not there: the hypertable has all.

    Raises:
        FileNotFoundError: a file has been written anew meanwhile, and has another name.
        ColdFailure: the folder is not there, or a file is damaged.
    """
    ids = [one.stream.id for one in streams]
    cuts = {cut.id: cut for cut in await store.cuts(connection, ids, [one.periods for one in streams], since)}
    found = await store.files_between(connection, cuts.keys(), since, until) if cuts else []
    if not found:
        return {}
    if root is None:
        raise ColdFailure("unset")
    await connection.execute(store.PATIENT)
    state = await store.read_state(connection)
    await asyncio.to_thread(files.check_folder, root, state.folder_id, may_mark=False)
    parts = await asyncio.to_thread(_parts, [root / file.name for file in found], list(cuts))
    late = await store.late_rows(connection, list(cuts.values()), since, until)
    return await asyncio.to_thread(_by_stream, cuts, parts, late, to_us(since), to_us(until))


def _parts(paths: Sequence[Path], ids: Sequence[int]) -> list[Readings]:
    return [part for path in paths for part in files.read_file(path, ids)]


def _by_stream(
    cuts: Mapping[int, Cut], parts: list[Readings], late: list[Readings], since: int, until: int
) -> dict[int, ColdStream]:
    from numpy import lexsort, searchsorted, unique  # noqa: PLC0415 - Of the optional extra.

    # Stable: of two at one instant the file's is first, and stays.
    both = joined([*parts, *late])
    both = both.where(lexsort((both.times, both.ids)))
    found: dict[int, ColdStream] = {}
    for cut in cuts.values():
        begin, end = searchsorted(both.ids, cut.id), searchsorted(both.ids, cut.id, side="right")
        if begin == end:
            continue
        own = both.where(slice(begin, end))
        own = own.where(unique(own.times, return_index=True)[1])
        own = own.where((own.times >= since) & (own.times < until) & within(own.times, cut.before))
        found[cut.id] = ColdStream(own, multirange(cut.warm))
    return found
