"""The radio network in a monthly report: which assets it reaches, and what it loses."""

from collections.abc import Sequence
from datetime import date

from api.reporting.asked import Asked
from core.model.calendar_buckets import moved
from core.runtime.postgres import Connection
from indicators.network.coverage import Coverage, by_commune, coverage_of
from indicators.network.store import CoveredAsset, list_coverage
from indicators.reports.model import Amount, Section, Table, Unknown, figures_of, table_of

OBJECTIVE_PERCENT = 90.0
WORST_MOST = 10


async def read_network(connection: Connection, asked: Asked, personal: frozenset[int]) -> Section | None:
    """The section; None where no device serves anything."""
    rows = {month: await _rows(connection, asked.commune, month, personal) for month in asked.months}
    if not rows[asked.month]:
        return None
    figures = figures_of(asked.month, {month: _amounts(asked.commune, found) for month, found in rows.items()})
    return Section("network", tuple(figures), (), tuple(_worst(rows[asked.month])))


async def _rows(
    connection: Connection, commune: str, month: date, personal: frozenset[int]
) -> list[tuple[CoveredAsset, Coverage]]:
    found = await list_coverage(connection, month, moved(month, "month", 1), commune)
    return [(one, coverage_of(one.sums)) for one in found if one.asset_id not in personal]


def _amounts(commune: str, rows: Sequence[tuple[CoveredAsset, Coverage]]) -> dict[str, Amount]:
    sent = sum(one.sent or 0 for one, _ in rows)
    received = sum(one.received or 0 for one, _ in rows)
    found = by_commune(((commune, known.state) for _, known in rows), OBJECTIVE_PERCENT)
    if not found or not found[0].known:
        nothing = Amount(None, 0, len(rows), Unknown.NOT_MEASURED)
        return dict.fromkeys(("network.covered", "network.white", "network.loss"), nothing)
    [of_commune] = found
    return {
        "network.covered": Amount(of_commune.percent, of_commune.known, len(rows)),
        "network.white": Amount(of_commune.white, of_commune.known, len(rows)),
        "network.loss": Amount(100 * (1 - received / sent), of_commune.known, len(rows)),
    }


def _worst(rows: Sequence[tuple[CoveredAsset, Coverage]]) -> list[Table]:
    bad = [
        (one.name, known.loss_percent, known.mean_margin)
        for one, known in sorted(rows, key=lambda row: (-(row[1].loss_percent or 0.0), row[0].asset_id))
        if known.state in {"white", "weak"}
    ]
    return table_of("network.worst", bad, WORST_MOST)
