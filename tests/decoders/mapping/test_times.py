from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.mapping.times import FORMATS, read_instant

S = 1_000_000


@pytest.mark.parametrize(
    ("value", "form", "microseconds"),
    [
        (1_700_000_000, "auto", 1_700_000_000 * S),
        (1_700_000_000.5, "auto", 1_700_000_000_500_000),
        (1_700_000_000_123, "auto", 1_700_000_000_123_000),
        ("1700000000", "auto", 1_700_000_000 * S),
        ("2023-11-14T22:13:20Z", "auto", 1_700_000_000 * S),
        ("2023-11-14T23:13:20+01:00", "iso", 1_700_000_000 * S),
        ("2023-11-14 22:13:20", "auto", 1_700_000_000 * S),
        ("2023-11-14T22:13:20.123456789Z", "auto", 1_700_000_000_123_456),
        (0, "unix_s", 0),
        (12, "unix_ms", 12_000),
    ],
)
def test_reads_dates_as_codecs_write_them(value: Any, form: str, microseconds: int) -> None:
    assert read_instant(value, form) == microseconds


@pytest.mark.parametrize(
    ("value", "form"),
    [(12, "auto"), (1e8 - 1, "auto"), (1e13, "auto"), (-1, "unix_s"), (1e10, "unix_s"), (1_700_000_000, "iso")]
    + [(value, "auto") for value in ("hier", "", "2023-13-01", True, None, [], {}, float("nan"), 10**400)],
)
def test_a_value_that_is_no_date_has_no_instant(value: Any, form: str) -> None:
    assert read_instant(value, form) is None


@given(st.integers(126_230_400_000, 7_258_118_400_000))
def test_a_date_reads_alike_in_every_form(milliseconds: int) -> None:
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)

    assert read_instant(date.isoformat(), "iso") == milliseconds * 1000
    assert read_instant(milliseconds, "unix_ms") == milliseconds * 1000
    assert read_instant(milliseconds / 1000, "unix_s") == pytest.approx(milliseconds * 1000, abs=1)


@given(st.one_of(st.text(max_size=30), st.integers(), st.floats()), st.sampled_from(FORMATS))
def test_anything_is_a_date_or_none(value: Any, form: str) -> None:
    assert read_instant(value, form) is None or isinstance(read_instant(value, form), int)
