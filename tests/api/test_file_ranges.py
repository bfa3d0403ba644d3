"""Ranges of a finished file (RFC 9110, section 14), of a hundred octets."""

import pytest

from api.file_ranges import Span, is_same, names_tag, span_of

ASKED = {
    None: None, "": None, "bytes=-": None, "bytes=0-1,4-5": None, "items=0-1": None, "bytes=a-b": None,
    "bytes=0-0": Span(0, 1), "bytes=0-": Span(0, 100), "bytes=10-19": Span(10, 20), "bytes=90-200": Span(90, 100),
    "bytes=-10": Span(90, 100), "bytes=-200": Span(0, 100), "bytes= 5 - 6": Span(5, 7),
}  # fmt: skip


def test_a_range_is_what_of_it_is_in_the_file() -> None:
    assert {header: span_of(header, 100) for header in ASKED} == ASKED
    for outside in ("bytes=100-", "bytes=5-4", "bytes=-0"):
        with pytest.raises(ValueError, match=r"bytes \*/100"):
            span_of(outside, 100)


def test_a_file_is_known_by_its_tag() -> None:
    assert [is_same(one, '"a"') for one in (None, '"a"', ' "a" ', 'W/"a"', '"b"')] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [names_tag(one, '"a"') for one in (None, '"b", "a"', 'W/"a"', '"b"')] == [False, True, True, False]
