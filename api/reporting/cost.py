"""What a commune pays of the network, in a monthly report: its lines of the last statement that was issued."""

from api.reporting.asked import Asked
from core.runtime.postgres import Connection
from indicators.cost import store
from indicators.cost.communes import is_commune
from indicators.reports.model import Amount, Figure, Section, Unknown

STATEMENTS_MOST = 1_000


async def read_cost(connection: Connection, asked: Asked) -> Section | None:
    """The section; None where nobody has issued a statement that names the commune."""
    issued = await store.list_statements(connection, None, STATEMENTS_MOST)
    years = [await _share(connection, issued, asked.commune, year) for year in _years(asked)]
    if all(one.value is None for one in years):
        return None
    return Section("cost", (Figure("cost.share", years[0], None, years[1]),))


def _years(asked: Asked) -> tuple[int, int]:
    return asked.month.year, asked.month.year - 1


async def _share(connection: Connection, issued: list[store.IssuedStatement], commune: str, year: int) -> Amount:
    """Of the last version of the year; a contributor may be written as the town of the commune."""
    of_year = [one for one in issued if one.year == year]
    for statement in sorted(of_year, key=lambda one: (one.version, one.id), reverse=True)[:1]:
        lines = [
            line
            for line in await store.list_lines(connection, statement.id)
            if is_commune(line.contributor, commune)
        ]
        if lines:
            return Amount(sum(line.cents for line in lines) / 100)
    return Amount(None, unknown=Unknown.NO_STATEMENT)
