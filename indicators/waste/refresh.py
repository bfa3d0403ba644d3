"""Keeps the days of bins and their emptyings up to date with what the feed says has changed (decision 0106).

A day is made from readings, anew and as a whole, when it is over: late, corrected and removed values are right by
construction, and a pass that is repeated changes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog

from core.runtime.leader import leading
from core.runtime.postgres import Connection, Pool
from indicators.telemetry import FILL_DAYS_KEPT, FILL_DAYS_MADE, REBUILDS
from indicators.waste import fill_day_store as store
from indicators.waste.emptyings import MOST_FALLS, Emptying, emptyings
from indicators.waste.fill_days import FillDay, Hold, LevelReading, LocalDay, fill_days, local_days
from registry.feed import Standing

# Arbitrary, ours: the advisory lock of the days of bins.
LOCK = 0x7E44173
# Entries of the feed looked at, and days made, in one transaction: each below a second.
BATCHES_AT_ONCE, DAYS_AT_ONCE = 2_000, 500
ONE_DAY = timedelta(days=1)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What one call did."""

    days: int  # Made anew.
    kept: int  # Left as they were: what they were made from was deleted by age.
    is_rebuilt: bool  # What had changed could not be known: all days are made.


@dataclass(frozen=True, slots=True)
class _Run:
    """Days of a datastream that follow one another."""

    datastream_id: int
    holds: list[Hold]
    days: list[LocalDay]
    earliest: datetime | None  # Before it readings were deleted.

    @property
    def changed(self) -> store.LevelRange:
        """What may stand for one of its days; an emptying before may be confirmed by one of its readings."""
        since = self.days[0].since - MOST_FALLS * store.longest(self.holds)
        since = since if self.earliest is None else max(since, self.earliest)
        return store.LevelRange(self.datastream_id, since, self.days[-1].until)

    @property
    def read(self) -> store.LevelRange:
        """With what follows, which may confirm an emptying of its last day."""
        return self.changed._replace(until=self.days[-1].until + MOST_FALLS * store.longest(self.holds))

    @property
    def emptied_within(self) -> store.LevelRange:
        """Where what was before an emptying is there, too."""
        if self.earliest is None:
            return self.changed
        since = max(self.changed.since, self.earliest + store.longest(self.holds))
        return self.changed._replace(since=since)

    def emptied(self, readings: Sequence[LevelReading]) -> list[Emptying]:
        """When the bin was emptied in the time that is changed."""
        _, since, until = self.emptied_within
        return [one for one in emptyings(readings, self.holds) if since <= one.at < until]


async def refresh_fill_days(
    pool: Pool, *, batches_at_once: int = BATCHES_AT_ONCE, days_at_once: int = DAYS_AT_ONCE
) -> Refreshed:
    """Make the days anew that are over and have changed since the last call.

    Raises:
        NotLeader: another replica does.
    """
    is_rebuilt = False
    while True:
        async with leading(pool, LOCK) as connection:
            was_lost, is_all = await _read_feed(connection, batches_at_once)
        is_rebuilt = is_rebuilt or was_lost
        if is_all:
            break
    made = kept = 0
    while True:
        async with leading(pool, LOCK) as connection:
            taken, left = await _make_due(connection, days_at_once)
        made, kept = made + taken - left, kept + left
        if taken < days_at_once:
            break
    FILL_DAYS_MADE.inc(made)
    FILL_DAYS_KEPT.inc(kept)
    if made or is_rebuilt:
        log.info("fill_days_made", days=made, kept=kept, is_rebuilt=is_rebuilt)
    return Refreshed(made, kept, is_rebuilt)


async def _read_feed(connection: Connection, most: int) -> tuple[bool, bool]:
    """Mark what has changed; whether the position was lost, and whether nothing more is there to read."""
    zone, _ = await store.read_clock(connection)
    state, (epoch, position) = await store.read_feed_state(connection), await store.read_position(connection)
    if state.standing_of(epoch, position) is not Standing.GOOD:
        # What is committed by now is seen; all that is not comes from here on.
        await store.save_position(connection, state.epoch, state.now)
        await store.mark_all(connection, zone)
        REBUILDS.inc()
        say = log.warning if epoch else log.info
        say("fill_days_rebuilt", epoch=state.epoch, former_epoch=epoch)
        return True, False
    following = await store.mark_changes(connection, position, state.settled, most, zone)
    await store.save_position(connection, state.epoch, following or state.now)
    await store.remove_personal(connection)
    return False, following is None


async def _make_due(connection: Connection, most: int) -> tuple[int, int]:
    """Make days that are due: how many were taken, and how many of them stay as they are."""
    zone, today = await store.read_clock(connection)
    due = await store.take_due(connection, today, most)
    ids = sorted({one.datastream_id for one in due})
    holds, forgotten = await store.read_holds(connection, ids), await store.read_forgotten(connection, ids)
    before = {id_: max((forgotten[one] for one in (0, id_) if one in forgotten), default=None) for id_ in ids}
    runs: list[_Run] = []
    left = 0
    for id_, first, last in _runs(due):
        whole = local_days(first, last, zone)
        limit = before[id_]
        # Made of what is left, it would say less than it says.
        kept = [
            day
            for day in whole
            if id_ in holds and (limit is None or day.since - store.longest(holds[id_]) >= limit)
        ]
        left += len(whole) - len(kept)
        if kept:
            runs.append(_Run(id_, holds[id_], kept, limit))
    ranges = [run.read for run in runs]
    levels, former = (
        await store.read_levels(connection, ranges),
        await store.read_former(connection, ranges, MOST_FALLS + 1),
    )
    made: list[tuple[int, FillDay]] = []
    emptied: list[tuple[store.LevelRange, list[Emptying]]] = []
    for run, readings, before_them in zip(runs, levels, former, strict=True):
        made += [(run.datastream_id, day) for day in fill_days(readings, run.holds, run.days)]
        emptied.append((run.emptied_within, run.emptied([*before_them, *readings])))
    await store.replace_days(connection, made)
    await store.replace_emptyings(connection, emptied)
    return len(due), left


def _runs(due: Sequence[store.DueDay]) -> Iterator[tuple[int, date, date]]:
    """Each datastream with the first and the last of days that follow one another."""
    place = 0
    while place < len(due):
        end = place
        while end + 1 < len(due) and due[end + 1] == (due[end].datastream_id, due[end].day + ONE_DAY):
            end += 1
        yield due[place].datastream_id, due[place].day, due[end].day
        place = end + 1
