"""Files for French spreadsheets: semicolons, decimal commas, a mark; what is unknown is empty."""

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import Response

from registry.bulk_imports.kinds import csv_lines, harmless

MARK = "\ufeff"
MEDIA_TYPE = "text/csv; charset=utf-8"


def sheet(name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """A file that a browser keeps under this name."""
    lines = csv_lines([map(harmless, columns), *([harmless(_cell(one)) for one in row] for row in rows)])
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(f"{MARK}{lines}", media_type=MEDIA_TYPE, headers=headers)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "oui" if value else "non"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".").replace(".", ",")
        case _:
            return str(value)
