"""Marks the hours whose rollups are to be computed anew (docs/architecture.md, "Rollups and retention")."""

from collections.abc import Mapping

from ingest.batch import HOUR_US

# Hours by their number since 1970, and the datastreams whose rollup of that hour is to be made anew.
Hours = Mapping[int, set[int]]


class MarkedHours:
    """The hours that this owner has marked and committed.

    Maintenance takes an hour two minutes after its end at the earliest, so a mark that is committed stands until
    then: marking again is needless as long as the hour lasts, by the clock of the database.
    """

    def __init__(self) -> None:
        self._marked: dict[int, set[int]] = {}

    def to_mark(self, hours: Hours, now_us: int) -> dict[int, set[int]]:
        """What a transaction that began at `now_us`, by the database's clock, has to mark."""
        current = now_us // HOUR_US
        wanted: dict[int, set[int]] = {}
        for hour, datastream_ids in hours.items():
            unmarked = datastream_ids
            if hour >= current:
                unmarked = datastream_ids - self._marked.get(hour, set())
            if unmarked:
                wanted[hour] = unmarked
        return wanted

    def committed(self, marked: Hours, now_us: int) -> None:
        """These marks stand now; hours that are over are forgotten."""
        current = now_us // HOUR_US
        for hour in [hour for hour in self._marked if hour < current]:
            del self._marked[hour]
        for hour, datastream_ids in marked.items():
            if hour >= current:
                self._marked.setdefault(hour, set()).update(datastream_ids)
