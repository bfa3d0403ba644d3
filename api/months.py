"""Months of the local calendar in queries: from one to another, both included."""

from datetime import date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Query

from core.model.calendar_buckets import first_of, last_month, months_between, moved, named
from core.runtime.http.errors import FieldError, Problem

__all__ = ["first_of", "last_month", "months_between", "named"]

MONTHS_MOST = 60
USUAL_MONTHS = 12
MONTH = r"^(19[7-9]\d|2[01]\d\d)-(0[1-9]|1[0-2])$"

FromMonth = Annotated[
    str | None,
    Query(alias="from", pattern=MONTH, description="Premier mois, compris", examples=["2026-01"]),
]
ToMonth = Annotated[
    str | None,
    Query(alias="to", pattern=MONTH, description="Dernier mois, compris ; absent : le dernier fini"),
]
OneMonth = Annotated[
    str | None, Query(pattern=MONTH, description="Mois ; absent : le dernier fini", examples=["2026-10"])
]


def span_of(since: str | None, until: str | None, now: datetime, zone: ZoneInfo) -> tuple[date, date]:
    """The first day of the first month, and the first one after the last.

    Raises 422 for what ends before it begins, or has more than sixty months.
    """
    last = last_month(now, zone) if until is None else first_of(until)
    first = moved(last, "month", 1 - USUAL_MONTHS) if since is None else first_of(since)
    after = moved(last, "month", 1)
    if not 0 < len(months_between(first, after)) <= MONTHS_MOST:
        message = f"« from » est avant « to » ou le même mois, {MONTHS_MOST} mois au plus"
        raise Problem(422, message, errors=[FieldError(field="query.from", code="range", message=message)])
    return first, after
