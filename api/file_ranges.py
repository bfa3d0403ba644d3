"""Ranges of a file that is finished (RFC 9110, section 14): which octets of it a request asks for. Pure."""

import re
from typing import NamedTuple

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Span(NamedTuple):
    """From an octet to before another one."""

    begin: int
    end: int


def span_of(header: str | None, size: int) -> Span | None:
    """What `Range` asks for of so many octets; None: the whole, also for what is no single range of octets.

    Raises:
        ValueError: nothing of it is in the file (416).
    """
    found = RANGE.fullmatch((header or "").replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        span = Span(max(0, size - int(last)), size)
    else:
        span = Span(int(first), size if not last else min(int(last) + 1, size))
    if span.begin >= span.end:
        raise ValueError(f"bytes */{size}")
    return span


def is_same(if_range: str | None, tag: str) -> bool:
    """Whether a range may be answered: the file is the one of which the client has the beginning."""
    return if_range is None or if_range.strip() == tag


def names_tag(if_none_match: str | None, tag: str) -> bool:
    """Whether the client has this very file."""
    return if_none_match is not None and tag in {
        one.strip().removeprefix("W/") for one in if_none_match.split(",")
    }
