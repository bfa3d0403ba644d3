"""Puts a file down in parts of one size, as it is written: never more than a part of it is in memory."""

import hashlib

from core.runtime.postgres import Pool
from ingest.exports import store


class NotOurs(Exception):
    """The job was cancelled or given up, or another process has taken it."""


class ExportFailed(Exception):
    """The job cannot be done; the message says why, in French."""


class PartWriter:
    """The parts of one file, each in a transaction of its own."""

    def __init__(self, pool: Pool, job_id: int, runner: str, room: int) -> None:
        """`room`: how many octets the files of everybody may fill together."""
        self._pool = pool
        self._job_id = job_id
        self._runner = runner
        self._room = room
        self._held = bytearray()
        self._number = 0
        self._digest = hashlib.sha256()
        self.failure: Exception | None = None
        """What `write` has raised: in the middle of a COPY the driver closes its connection, and raises that."""

    async def write(self, octets: bytes) -> None:
        """What follows in the file.

        Raises:
            NotOurs: somebody else has the job, or nobody wants it any more.
            ExportFailed: the files of everybody have no room left.
        """
        self._held += octets
        while len(self._held) >= store.PART_OCTETS:
            try:
                await self._put(bytes(self._held[: store.PART_OCTETS]))
            except Exception as failure:
                self.failure = failure
                raise
            del self._held[: store.PART_OCTETS]

    async def close(self) -> bytes:
        """Put down what is left: the digest of the whole file."""
        if self._held:
            await self._put(bytes(self._held))
            self._held.clear()
        return self._digest.digest()

    async def _put(self, part: bytes) -> None:
        if await store.kept_octets(self._pool) + len(part) > self._room:
            raise ExportFailed(
                f"les fichiers d'exports remplissent leur place ({self._room >> 20} Mo) : attendez que les "
                "derniers expirent, ou demandez moins"
            )
        self._digest.update(part)
        if not await store.put_part(self._pool, self._job_id, self._runner, self._number, part):
            raise NotOurs(f"export {self._job_id}")
        self._number += 1
