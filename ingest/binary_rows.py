"""PostgreSQL's binary rows of readings as columns of numpy, without a Python object for each.

Only what is NOT NULL is asked for: all rows have one length. numpy is of the optional extra, and loaded when used.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

HEADER_OCTETS, TRAILER = 19, b"\xff\xff"
EPOCH_2000_US = 946_684_800_000_000


@dataclass(frozen=True, slots=True)
class Readings:
    """Columns of one length: datastreams, instants in microseconds since 1970, values, flags."""

    ids: Any
    times: Any
    values: Any
    flags: Any

    def __len__(self) -> int:
        """How many readings."""
        return len(self.ids)

    def where(self, chosen: Any) -> "Readings":
        """Those of a mask, or of places, or of a slice."""
        return Readings(self.ids[chosen], self.times[chosen], self.values[chosen], self.flags[chosen])

    def among(self, ids: Collection[int]) -> Any:
        """Which of them are of these datastreams, as a mask."""
        np: Any = import_module("numpy")
        return np.isin(self.ids, np.array(sorted(ids), dtype=np.int32))

    def parts(self, most: int) -> Iterator["Readings"]:
        """In pieces of so many at most."""
        for place in range(0, len(self), most):
            yield self.where(slice(place, place + most))


def joined(parts: list[Readings]) -> Readings:
    """All of them, one behind the other."""
    np: Any = import_module("numpy")
    kinds = (np.int32, np.int64, np.float64, np.int16)
    columns = zip(*((part.ids, part.times, part.values, part.flags) for part in parts), strict=True)
    found = [np.concatenate(column) for column in columns] or [np.array([], dtype=kind) for kind in kinds]
    return Readings(*found)


class BinaryRows:
    """Takes a binary COPY of (datastream_id, time, value, flags) as it comes, and hands it on as columns."""

    def __init__(self, take: Callable[[Readings], Awaitable[None]], most: int) -> None:
        """`take` is given `most` readings at a time, the last time what is left."""
        np: Any = import_module("numpy")
        self._np = np
        # How many fields, then each with its length before it.
        self._row: Any = np.dtype(
            [
                *(("fields", ">i2"), ("id_length", ">i4"), ("id", ">i4"), ("time_length", ">i4")),
                *(("time", ">i8"), ("value_length", ">i4"), ("value", ">f8")),
                *(("flags_length", ">i4"), ("flags", ">i2")),
            ]
        )
        self._take = take
        self._most = most
        self._held = bytearray()
        self._is_first = True

    async def receive(self, octets: bytes) -> None:
        """What follows of the COPY."""
        self._held += octets
        if self._is_first and len(self._held) >= HEADER_OCTETS:
            del self._held[:HEADER_OCTETS]
            self._is_first = False
        if not self._is_first:
            await self._hand_on(self._most)

    async def finish(self) -> None:
        """Hand on what is left; raises ValueError where the COPY did not end as one ends."""
        if not self._held.endswith(TRAILER) or (len(self._held) - len(TRAILER)) % self._row.itemsize:
            raise ValueError("a COPY of readings that ends in the middle of a row")
        del self._held[-len(TRAILER) :]
        await self._hand_on(1)

    async def _hand_on(self, least: int) -> None:
        size = self._row.itemsize
        while len(self._held) // size >= least:
            octets = bytes(self._held[: min(len(self._held) // size, self._most) * size])
            del self._held[: len(octets)]
            await self._take(self._columns(octets))

    def _columns(self, octets: bytes) -> Readings:
        np = self._np
        rows = np.frombuffer(octets, dtype=self._row)
        return Readings(
            rows["id"].astype(np.int32),
            rows["time"].astype(np.int64) + EPOCH_2000_US,
            rows["value"].astype(np.float64),
            rows["flags"].astype(np.int16),
        )
