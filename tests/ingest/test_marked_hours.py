from ingest.batch import HOUR_US
from ingest.store import MarkedHours

HOUR = 498_777  # 2026-11-25 09:00 UTC, counted from 1970.
NOW_US = HOUR * HOUR_US + 60_000_000


def test_a_mark_that_is_committed_is_left_out_as_long_as_the_hour_lasts() -> None:
    marked = MarkedHours()
    marked.committed({HOUR: {1, 2}}, NOW_US)

    assert marked.to_mark({HOUR: {1, 2, 3}}, NOW_US + 1) == {HOUR: {3}}
    assert marked.to_mark({HOUR: {1, 2}}, NOW_US + 1) == {}


def test_a_mark_that_was_not_committed_is_made_again() -> None:
    marked = MarkedHours()

    first = marked.to_mark({HOUR: {1}}, NOW_US)

    assert first == marked.to_mark({HOUR: {1}}, NOW_US)


def test_an_hour_that_is_over_by_the_database_s_clock_is_always_marked() -> None:
    marked = MarkedHours()
    marked.committed({HOUR: {1}, HOUR - 1: {1}}, NOW_US)

    assert marked.to_mark({HOUR - 1: {1}}, NOW_US) == {HOUR - 1: {1}}
    assert marked.to_mark({HOUR: {1}}, NOW_US + HOUR_US) == {HOUR: {1}}


def test_a_mark_of_an_hour_that_has_not_begun_stands_until_that_hour_is_over() -> None:
    marked = MarkedHours()
    marked.committed({HOUR + 1: {1}}, NOW_US)
    marked.committed({}, NOW_US + HOUR_US)

    assert marked.to_mark({HOUR + 1: {1}}, NOW_US + HOUR_US) == {}
