"""What anybody reads at a public address: last values, thirty days of each, and how long that may be kept."""

import gzip
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from fastapi import Request, Response

from core.model.quantities import QUANTITIES, Kind
from core.runtime.postgres import Connection, Pool
from registry.publications import (
    PublicDay,
    PublicPage,
    PublicValue,
    read_public_days,
    read_public_page,
    read_public_values,
)

SLUG = re.compile("[a-z0-9][a-z0-9-]{0,62}")
DAYS = 30
# Who keeps a page shows it for as long after it was withdrawn.
KEPT = "public, max-age=60"
NOT_MODIFIED = 304


@dataclass(frozen=True, slots=True)
class Day:
    """A local day: the mean of a quantity, the share of the time that a state lasted, what an index went on by."""

    day: date
    value: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One published datastream."""

    of: PublicValue
    kind: Kind
    days: list[Day]

    @property
    def is_known(self) -> bool:
        """Whether it has a value now."""
        return self.of.value is not None

    @property
    def has_days(self) -> bool:
        """Whether any of its days is known."""
        return any(one.value is not None for one in self.days)


@dataclass(frozen=True, slots=True)
class Published:
    """A whole public page."""

    page: PublicPage
    shown: list[Shown]

    @property
    def updated_at(self) -> datetime | None:
        """The instant of its newest reading."""
        return max((one.of.measured_at for one in self.shown if one.of.measured_at is not None), default=None)


async def read_published(at: Connection | Pool, slug: str, preview: int | None = None) -> Published | None:
    """What is published at an address; of one that has ended nothing is shown. None: there never was anything."""
    if not SLUG.fullmatch(slug):
        return None
    page = await read_public_page(at, slug, preview)
    if page is None or page.ended_at is not None:
        return None if page is None else Published(page, [])
    values, days = await read_public_values(at, slug, preview), await read_public_days(at, slug, preview)
    by_stream: dict[int, dict[date, PublicDay]] = {}
    for one in days:
        by_stream.setdefault(one.id, {})[one.day] = one
    calendar = _days_before(datetime.now(UTC) - timedelta(seconds=page.delay_seconds or 0), page.timezone or "UTC")
    return Published(page, [_shown(value, by_stream.get(value.id, {}), calendar) for value in values])


def _days_before(at: datetime, timezone: str) -> list[date]:
    today = at.astimezone(ZoneInfo(timezone)).date()
    return [today - timedelta(days=back) for back in range(DAYS, 0, -1)]


def _shown(value: PublicValue, days: Mapping[date, PublicDay], calendar: Sequence[date]) -> Shown:
    known = QUANTITIES.get(value.quantity)
    kind = Kind.GAUGE if known is None else known.kind
    return Shown(value, kind, [Day(day, value_of_day(kind, days, day)) for day in calendar])


def value_of_day(kind: Kind, days: Mapping[date, PublicDay], day: date) -> float | None:
    """The one value that stands for a day; None where nobody knows it."""
    found = days.get(day)
    if found is None:
        return None
    match kind:
        case Kind.GAUGE:
            return found.mean
        case Kind.BOOLEAN:
            return found.share
        case Kind.COUNTER:
            before = days.get(day - timedelta(days=1))
            if before is None or before.last is None or found.last is None or found.is_broken:
                return None
            return found.last - before.last if found.last >= before.last else None
        case Kind.ENUMERATION:
            return None


def cacheable(
    request: Request, content: bytes, media_type: str, headers: Mapping[str, str], vary: str = ""
) -> Response:
    """An answer that anybody may keep for a minute, and ask for again by its tag."""
    return compressed(request, content, media_type, KEPT, headers, vary)


def compressed(
    request: Request,
    content: bytes,
    media_type: str,
    kept: str,
    headers: Mapping[str, str] | None = None,
    vary: str = "",
) -> Response:
    """An answer with its tag, how it may be kept, and compressed for who can read that; 304 for who has it."""
    sent = dict(headers or {})
    sent["ETag"] = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    sent["Cache-Control"] = kept
    sent["Vary"] = ", ".join(filter(None, ("Accept-Encoding", vary)))
    if sent["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=NOT_MODIFIED, headers=sent)
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, sent["Content-Encoding"] = gzip.compress(content, 6, mtime=0), "gzip"
    return Response(content, headers=sent, media_type=media_type)
