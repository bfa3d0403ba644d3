"""The days of bins against what a look at every minute finds, whatever was written and in what order."""

import dataclasses
import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest

from core.messages.measurements import Flag
from core.runtime.leader import NotLeader, leading
from core.runtime.postgres import Pool
from indicators.waste import refresh
from indicators.waste.emptyings import Emptying, emptyings
from indicators.waste.fill_days import Hold, LevelReading
from indicators.waste.refresh import Refreshed, refresh_fill_days
from ingest.rollups import roll_up
from tests.indicators.waste.conftest import MINUTE, PARIS, Bins, Stored, at

HOUR = timedelta(hours=1)


def minute_by_minute(levels: Mapping[datetime, float], held_for: timedelta, days: list[date]) -> list[Stored]:
    """Another way to the same figures: each minute of each day is asked what was read last."""
    found = []
    for day in days:
        since = datetime.combine(day, datetime.min.time(), PARIS).astimezone(UTC)
        until = datetime.combine(day + timedelta(days=1), datetime.min.time(), PARIS).astimezone(UTC)
        known = full = 0
        for minute in range((until - since) // MINUTE):
            moment = since + minute * MINUTE
            read = max((one for one in levels if one <= moment), default=None)
            if read is not None and moment < read + held_for:
                known += 60
                full += 60 * (levels[read] >= 75)
        if known:
            found.append(Stored(day, (until - since) // timedelta(seconds=1), known, full))
    return found


async def test_the_first_pass_makes_the_days_of_what_is_there_and_a_second_one_nothing(
    indicators_pool: Pool, pool: Pool, bins: Bins
) -> None:
    [datastream] = await bins.make(expected=6 * HOUR)
    await bins.write(datastream, {at(10, 1, 20): 80.0, at(10, 3, 6): 74.9, at(10, 3, 8): 75.0})
    await pool.execute("DELETE FROM observation.feed")  # Of before there was one.
    await roll_up(pool, force=True)

    first, second = await refresh_fill_days(indicators_pool), await refresh_fill_days(indicators_pool)

    assert await bins.days(datastream) == [
        Stored(date(2026, 10, 1), 86_400, 4 * 3600, 4 * 3600),
        Stored(date(2026, 10, 2), 86_400, 8 * 3600, 8 * 3600),
        Stored(date(2026, 10, 3), 86_400, 14 * 3600, 12 * 3600),
    ]
    assert first.is_rebuilt
    assert second == Refreshed(0, 0, is_rebuilt=False)


@pytest.mark.parametrize("seed", range(3))
async def test_late_corrected_and_removed_readings_are_in_the_days_as_if_they_had_always_been(
    indicators_pool: Pool, bins: Bins, seed: int
) -> None:
    chance = random.Random(seed)
    held_for = chance.choice((3, 14, 30)) * 2 * HOUR
    one, other = await bins.make(2, expected=held_for / 2)
    levels: dict[int, dict[datetime, float]] = {one: {}, other: {}}
    # Over the change of the clocks on the 25th of October.
    moments = [at(10, 23) + minutes * MINUTE for minutes in range(0, 5 * 24 * 60, 30)]
    for _ in range(8):
        datastream = chance.choice((one, other))
        theirs = levels[datastream]
        removed = chance.sample(sorted(theirs), len(theirs) // 3)
        written = {moment: float(chance.choice((10, 74, 75, 90))) for moment in chance.sample(moments, 6)}
        await bins.remove(datastream, removed)
        await bins.write(datastream, written)
        for moment in removed:
            del theirs[moment]
        theirs |= written
        if chance.random() < 0.7:
            await refresh_fill_days(
                indicators_pool, batches_at_once=chance.choice((1, 100)), days_at_once=chance.choice((2, 500))
            )
    await refresh_fill_days(indicators_pool)

    days = [date(2026, 10, 23) + timedelta(days=n) for n in range(10)]
    for datastream, theirs in levels.items():
        assert await bins.days(datastream) == minute_by_minute(theirs, held_for, days)
        whole = [LevelReading(*one) for one in sorted(theirs.items())]
        assert await bins.emptied(datastream) == emptyings(whole, [Hold(at(1, 1), held_for)])


async def test_an_emptying_is_a_row_and_suspect_until_a_reading_of_the_next_day_confirms_it(
    indicators_pool: Pool, bins: Bins
) -> None:
    [datastream] = await bins.make(expected=6 * HOUR)
    await bins.write(datastream, {at(10, 1, 6): 80.0, at(10, 1, 18): 5.0})
    await refresh_fill_days(indicators_pool)
    waiting = await bins.emptied(datastream)
    await bins.write(datastream, {at(10, 2, 0): 6.0})
    await refresh_fill_days(indicators_pool)
    confirmed = await bins.emptied(datastream)
    await bins.write(datastream, {at(10, 2, 0): 81.0})
    await refresh_fill_days(indicators_pool)

    row = Emptying(at(10, 1, 18), at(10, 1, 6), before=80.0, after=5.0, suspect=True)
    assert (waiting, confirmed) == ([row], [dataclasses.replace(row, suspect=False)])
    assert await bins.emptied(datastream) == []


async def test_a_pass_that_is_repeated_writes_nothing(indicators_pool: Pool, pool: Pool, bins: Bins) -> None:
    [datastream] = await bins.make(expected=HOUR)
    await refresh_fill_days(indicators_pool)
    await bins.write(datastream, {at(10, 1, 12): 80.0})
    await refresh_fill_days(indicators_pool)
    version = await pool.fetchval("SELECT xmin::text FROM observation.fill_day")

    await pool.execute(
        "UPDATE observation.fill_day_reader SET xid = '0', number = 1"
    )  # As a crash would leave it.
    again = await refresh_fill_days(indicators_pool)

    assert again == Refreshed(1, 0, is_rebuilt=False)
    assert await pool.fetchval("SELECT xmin::text FROM observation.fill_day") == version


@pytest.mark.parametrize("flag", [Flag.SUSPECT, Flag.TIME_SUSPECT])
async def test_a_suspect_reading_is_none(indicators_pool: Pool, bins: Bins, flag: Flag) -> None:
    [datastream] = await bins.make(expected=HOUR)
    await bins.write(datastream, {at(10, 1, 12): 20.0})
    await bins.write(datastream, {at(10, 1, 13): 90.0}, flag)
    await refresh_fill_days(indicators_pool)

    assert await bins.days(datastream) == [Stored(date(2026, 10, 1), 86_400, 7200, 0)]


async def test_the_day_that_goes_on_is_made_when_it_is_over(indicators_pool: Pool, pool: Pool, bins: Bins) -> None:
    [datastream] = await bins.make(expected=HOUR)
    today = await pool.fetchval("SELECT (now() AT TIME ZONE timezone)::date FROM deployment")
    now = await pool.fetchval("SELECT now()")
    await bins.write(datastream, {now: 80.0})
    await refresh_fill_days(indicators_pool)

    assert await bins.days(datastream) == []
    assert await pool.fetchval("SELECT min(day) FROM observation.fill_day_due") == today


@pytest.mark.parametrize("lost", ["renew_feed", "forget_feed"])
async def test_when_the_feed_does_not_say_what_changed_all_days_are_made_anew(
    indicators_pool: Pool, bins: Bins, lost: str
) -> None:
    kept, emptied, written = await bins.make(3, expected=HOUR)
    await bins.write(kept, {at(10, 1, 12): 80.0})
    await bins.write(emptied, {at(10, 1, 12): 80.0})
    await refresh_fill_days(indicators_pool)
    await bins.write(written, {at(10, 2, 12): 90.0})
    await bins.remove(emptied, [at(10, 1, 12)])
    await getattr(bins, lost)()

    again = await refresh_fill_days(indicators_pool)

    assert again.is_rebuilt
    assert [await bins.days(one) for one in (kept, emptied, written)] == [
        [Stored(date(2026, 10, 1), 86_400, 7200, 7200)],
        [],
        [Stored(date(2026, 10, 2), 86_400, 7200, 7200)],
    ]
    assert not (await refresh_fill_days(indicators_pool)).is_rebuilt


async def test_after_readings_were_deleted_by_age_closed_days_stay_and_no_later_one_is_made_of_a_rest(
    indicators_pool: Pool, pool: Pool, bins: Bins
) -> None:
    [datastream] = await bins.make(expected=6 * HOUR)
    levels = {at(10, 1) + n * 6 * HOUR: 80.0 if n < 5 else 5.0 for n in range(4 * 6)}  # Emptied on the 2nd, 6:00.
    await bins.write(datastream, levels)
    await refresh_fill_days(indicators_pool)
    before, emptied = await bins.days(datastream), await bins.emptied(datastream)
    limit = at(10, 4)
    await pool.execute("DELETE FROM observation.measurement WHERE time < $1", limit)
    await pool.execute("INSERT INTO observation.forgotten VALUES ('measurement', 0, $1)", limit)

    await bins.write(datastream, {at(10, 2, 12): 10.0})
    late = await refresh_fill_days(indicators_pool)
    await bins.renew_feed()
    rebuilt = await refresh_fill_days(indicators_pool)

    # What stands over the midnight of the 4th was read on the 3rd.
    assert (late.days, late.kept) == (0, 3)
    assert rebuilt.kept == 4
    assert (await bins.days(datastream), await bins.emptied(datastream)) == (before, emptied)
    assert (len(before), len(emptied)) == (7, 1)


async def test_of_a_dwelling_nothing_is_kept(indicators_pool: Pool, pool: Pool, bins: Bins) -> None:
    [public] = await bins.make(expected=HOUR)
    [personal] = await bins.make(expected=HOUR, privacy_class=2)
    for datastream in (public, personal):
        await bins.write(datastream, {at(10, 1, 12): 80.0})
    await refresh_fill_days(indicators_pool)
    assert (len(await bins.days(public)), await bins.days(personal)) == (1, [])

    await pool.execute("UPDATE datastream SET privacy_class = 2 WHERE id = $1", public)
    await refresh_fill_days(indicators_pool)

    assert await bins.days(public) == []


async def test_other_quantities_have_no_days(indicators_pool: Pool, pool: Pool, bins: Bins, measuring) -> None:
    [temperature] = await measuring.datastreams("temperature")
    await bins.write(temperature, {at(10, 1, 12): 80.0})
    await refresh_fill_days(indicators_pool)

    assert await pool.fetchval("SELECT count(*) FROM observation.fill_day_due") == 0
    assert await bins.days(temperature) == []


async def test_a_second_replica_leaves_it_to_the_first(indicators_pool: Pool, pool: Pool) -> None:
    async with leading(pool, refresh.LOCK):
        with pytest.raises(NotLeader):
            await refresh_fill_days(indicators_pool)
