"""What a line of an export looks like: what comes before and behind the reading, and the texts of its flags. Pure.

The database puts the lines together: a reading is a row of a few octets there, and several objects here.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from core.messages.measurements import Flag, flag_names
from registry.bulk_imports.kinds import FORMULA

COLUMNS = ("datastream_id", "asset", "kind", "commune", "position", "channel", "quantity", "unit")
READING = ("time", "value", "flags")
# What a spreadsheet shows to people.
FRENCH = (
    "flux",
    "actif",
    "type",
    "commune",
    "position",
    "voie",
    "grandeur",
    "unité",
    "instant",
    "valeur",
    "marques",
)
# By which a spreadsheet knows what the letters are.
MARK = "\ufeff"
# Every combination, with 16 and 32, which are free.
FLAGS = range(max(Flag) * 2)


@dataclass(frozen=True, slots=True)
class Stream:
    """What a datastream is called in a file."""

    id: int
    asset: str | None
    kind: str | None
    commune: str | None
    position: str
    channel: str
    quantity: str
    unit: str


@dataclass(frozen=True, slots=True)
class LineForm:
    """The parts of a line that are the same for every reading, as parameters of `store.LINES`."""

    header: str
    zone: str
    """Of the instants."""
    whole: str
    """How PostgreSQL's to_char writes an instant, one of whole seconds."""
    exact: str
    """The same for any other."""
    before_value: str
    before_flags: str
    end: str
    decimal: str
    flags: tuple[str, ...]
    """By their number, from 0."""
    separator: str = ""
    """Between the cells of CSV; empty for NDJSON."""

    def prefix(self, stream: Stream) -> str:
        """What stands before the instant."""
        return self.identity(stream) + ('"time":"' if not self.separator else "")

    def identity(self, stream: Stream) -> str:
        """What the stream is called, at the beginning of a line."""
        if not self.separator:
            said = dict(zip(COLUMNS, _values(stream), strict=True))
            return msgspec.json.encode(said).decode()[:-1] + ","
        cells = ["" if value is None else _cell(str(value)) for value in _values(stream)]
        return csv_line(cells, self.separator) + self.separator


def _values(stream: Stream) -> tuple[int | str | None, ...]:
    return (
        *(stream.id, stream.asset, stream.kind, stream.commune),
        *(stream.position, stream.channel, stream.quantity, stream.unit),
    )


def _cell(text: str) -> str:
    """No line break, and nothing that a spreadsheet takes for a formula."""
    plain = " ".join(text.splitlines())
    return f"'{plain}" if plain.startswith(FORMULA) else plain


def csv_line(cells: Sequence[str], separator: str) -> str:
    """A line of CSV, without its break."""
    output = io.StringIO()
    csv.writer(output, delimiter=separator, lineterminator="").writerow(cells)
    return output.getvalue()


def line_form(form: str, *, is_spreadsheet: bool, zone: str) -> LineForm:
    """Of `csv` or `ndjson`; a spreadsheet's has semicolons, decimal commas, a mark and instants of `zone`."""
    if form == "ndjson":
        marks = tuple(msgspec.json.encode(flag_names(one)).decode() for one in FLAGS)
        iso, micro = 'YYYY-MM-DD"T"HH24:MI:SS"Z"', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
        return LineForm("", "UTC", iso, micro, '","value":', ',"flags":', "}", ".", marks)
    marks = tuple(" ".join(flag_names(one)) for one in FLAGS)
    if is_spreadsheet:
        header = MARK + csv_line(FRENCH, ";") + "\n"
        day = "DD/MM/YYYY HH24:MI:SS"
        return LineForm(header, zone, day, day, ";", ";", "", ",", marks, ";")
    header = csv_line((*COLUMNS, *READING), ",") + "\n"
    iso, micro = 'YYYY-MM-DD"T"HH24:MI:SS"Z"', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
    return LineForm(header, "UTC", iso, micro, ",", ",", "", ".", marks, ",")
