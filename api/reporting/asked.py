"""Which report is asked for: of a commune, a month that is over, on a day."""

from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from core.model.calendar_buckets import last_month, midnight, moved
from core.model.region import Region
from indicators.reports.model import Service, chart_months, compared_months
from indicators.waste.tonnage_store import Loads


@dataclass(frozen=True, slots=True)
class Shared:
    """What the reports of all communes of a tenant are made from alike: the first one reads it."""

    loads: dict[tuple[date, date], Loads] = field(default_factory=dict[tuple[date, date], Loads])
    """By the local days of which they are."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A report that is to be made, as a tenant sees it at `now`."""

    tenant_id: int
    commune: str
    insee: str | None
    service: Service
    month: date
    region: Region
    now: datetime
    shared: Shared

    @property
    def zone(self) -> ZoneInfo:
        """Of its months."""
        return self.region.zone

    @property
    def after(self) -> date:
        """The first day of the month after."""
        return moved(self.month, "month", 1)

    @property
    def months(self) -> tuple[date, date, date]:
        """The month, the one before, the same a year before."""
        return compared_months(self.month)

    @property
    def chart(self) -> list[date]:
        """The months of charts, in their order."""
        return chart_months(self.month)

    @property
    def is_last(self) -> bool:
        """Whether it is of the last month that is over: what is so now says something of it."""
        return self.month == last_month(self.now, self.zone)

    def span(self, month: date) -> tuple[datetime, datetime]:
        """When a month begins and ends."""
        return midnight(month, self.zone), midnight(moved(month, "month", 1), self.zone)
