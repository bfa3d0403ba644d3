"""Frozen baselines of buildings: written once, never changed, retired at most. The only writer of the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from core.runtime.postgres import Connection
from indicators.buildings.degree_days import Method
from indicators.buildings.regression import Fit
from indicators.buildings.savings import Month
from registry.rows import columns_of, fetch_all, fetch_one, insert


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a building took from `since` to `until`, before works from `works_since` to `works_until`.

    `until` and `works_until` are the first days after. `months` is what it was made of, as it was then.
    """

    id: int
    asset_id: int
    energy_use: str
    depends_on_weather: bool
    method: Method | None
    station: str | None
    since: date
    until: date
    works_since: date
    works_until: date
    n: int
    intercept: float
    slope: float
    r2: float | None
    cv_rmse: float
    residual_s: float
    x_mean: float
    x_spread: float
    dof: int
    months: Any
    label: str
    created_at: datetime
    created_by: str
    retired_at: datetime | None

    @property
    def fit(self) -> Fit:
        """What a day takes, by its degree days or at all."""
        return Fit(
            self.n, self.intercept, self.slope, self.r2, self.cv_rmse, self.residual_s, self.x_mean, self.x_spread,
            self.dof,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewBaseline:
    """What somebody decides of one; the regression follows from it."""

    asset_id: int
    energy_use: str
    depends_on_weather: bool
    method: Method | None
    station: str | None
    since: date
    until: date
    works_since: date
    works_until: date
    label: str


SHOWN = columns_of(Baseline)
CREATE = f"""
INSERT INTO energy_baseline (
    tenant_id, created_by, asset_id, energy_use, depends_on_weather, method, station, since, until, works_since,
    works_until, label, n, intercept, slope, r2, cv_rmse, residual_s, x_mean, x_spread, dof, months)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
RETURNING {SHOWN}
"""
READ = f"SELECT {SHOWN} FROM energy_baseline WHERE id = $1"
LIST = f"""
SELECT {SHOWN} FROM energy_baseline
WHERE id > $1 AND ($2::int IS NULL OR asset_id = $2) AND ($3 OR retired_at IS NULL) ORDER BY id LIMIT $4
"""
# The last one of each use: what counts now.
LATEST = f"""
SELECT DISTINCT ON (asset_id, energy_use) {SHOWN} FROM energy_baseline
WHERE asset_id = ANY($1::int[]) AND retired_at IS NULL
ORDER BY asset_id, energy_use, depends_on_weather DESC, id DESC
"""
RETIRE = f"""
UPDATE energy_baseline SET retired_at = CASE WHEN $2 THEN coalesce(retired_at, now()) END
WHERE id = $1 RETURNING {SHOWN}
"""


async def create_baseline(
    connection: Connection, tenant_id: int, created_by: str, new: NewBaseline, fit: Fit, months: Sequence[Month]
) -> Baseline:
    """Freeze a baseline with the months that it was made of."""
    frozen = [
        {
            "month": month.first.isoformat(),
            "days": month.days,
            "amount": month.amount,
            "degree_days": month.degree_days,
        }
        for month in months
    ]
    return await insert(
        connection, Baseline, CREATE, tenant_id, created_by, new.asset_id, new.energy_use, new.depends_on_weather,
        new.method, new.station, new.since, new.until, new.works_since, new.works_until, new.label, fit.n,
        fit.intercept, fit.slope, fit.r2, fit.cv_rmse, fit.residual_s, fit.x_mean, fit.x_spread, fit.dof, frozen,
    )  # fmt: skip


async def read_baseline(connection: Connection, baseline_id: int) -> Baseline | None:
    """One of the tenant's."""
    return await fetch_one(connection, Baseline, READ, baseline_id)


async def list_baselines(
    connection: Connection, *, asset_id: int | None = None, with_retired: bool = False, after: int = 0, most: int
) -> list[Baseline]:
    """The tenant's by id, beyond `after`; of one building, or of all."""
    return await fetch_all(connection, Baseline, LIST, after, asset_id, with_retired, most)


async def latest_baselines(connection: Connection, asset_ids: Sequence[int]) -> dict[tuple[int, str], Baseline]:
    """Of each use of these buildings the last that counts; one that follows the weather first."""
    found = await fetch_all(connection, Baseline, LATEST, asset_ids)
    return {(one.asset_id, one.energy_use): one for one in found}


async def retire_baseline(connection: Connection, baseline_id: int, *, is_retired: bool) -> Baseline | None:
    """Take one out of the figures, or back into them; None: there is none."""
    return await fetch_one(connection, Baseline, RETIRE, baseline_id, is_retired)
