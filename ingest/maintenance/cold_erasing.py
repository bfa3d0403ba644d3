"""Takes what is erased out of cold files: each is written anew without it, and the erasure counts what went."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.runtime.postgres import Connection, Pool
from ingest.binary_rows import Readings
from ingest.cold import store
from ingest.cold.files import ColdFailure
from ingest.cold.periods import within
from ingest.maintenance.cold_keeping import ColdFolder


async def erase_from_files(pool: Pool, root: Path | None, erasure_id: int) -> None:
    """Nothing of it is left in any file, nor in one that no row names: whatever was begun before is ended first.

    Raises:
        ColdFailure: the folder does not let us, or is an older copy: the erasure does not end before.
        NotLeader: another replica writes files at this moment.
    """
    about = await store.erased(pool, erasure_id)
    if about is None:
        return
    spans = [
        (one, during)
        for one, during in zip(about.span_datastream_ids, about.span_during, strict=True)
        if one is not None
    ]
    touched = {*about.datastream_ids, *(one for one, _ in spans)}
    if not touched or (root is None and not await store.may_have_files(pool)):
        return
    cold = ColdFolder(pool, root)
    await cold.open()
    await cold.tidy()

    async def count(connection: Connection, readings: int) -> None:
        await store.count_erased(connection, erasure_id, readings)

    for file in await store.files_of_streams(pool, touched):
        await cold.rewrite(file.id, lambda part: _erased(part, about.datastream_ids, spans), count)
    if outdated := await cold.tidy():
        raise ColdFailure("broken", min(outdated))


def _erased(part: Readings, ids: Sequence[int], spans: Sequence[tuple[int, Any]]) -> Any:
    from numpy import array, int32, isin  # noqa: PLC0415 - Of the optional extra.

    gone = isin(part.ids, array(sorted(ids), dtype=int32))
    for one, during in spans:
        gone |= (part.ids == one) & within(part.times, [during])
    return gone
