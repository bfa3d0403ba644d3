"""What a line of an export of buckets looks like. Pure.

A bucket is put together here, of pieces: its line is made here, too, and not by the database.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from ingest.exports.lines import COLUMNS, FRENCH, MARK, LineForm, Stream, csv_line, line_form

# Beside the datastream's, as the answer of /v1/measurements/series has them.
OF_BUCKET = (
    *("from", "to", "readings", "suspects", "completeness", "value", "value_is"),
    *("minimum", "maximum", "first", "last", "in_gap"),
)
OF_BUCKET_FRENCH = (
    *("début", "fin", "mesures", "suspectes", "complétude", "valeur", "valeur est"),
    *("minimum", "maximum", "première", "dernière", "lacune"),
)
WORDS = {"mean": "moyenne", "difference": "progression", None: ""}
LOCAL_TIME = "%d/%m/%Y %H:%M:%S"


@dataclass(frozen=True, slots=True)
class BucketRow:
    """A bucket as a file has it."""

    since: datetime
    until: datetime
    readings: int
    suspects: int
    completeness: float | None
    value: float | None
    value_is: str | None
    minimum: float | None
    maximum: float | None
    first: float | None
    last: float | None
    in_gap: bool


class BucketLines:
    """CSV or NDJSON of buckets; a spreadsheet's has the words, commas and hours of `zone`."""

    def __init__(self, form: str, *, is_spreadsheet: bool, zone: ZoneInfo) -> None:
        self._form: LineForm = line_form(form, is_spreadsheet=is_spreadsheet, zone=zone.key)
        self._zone = zone if is_spreadsheet else UTC
        self._is_spreadsheet = is_spreadsheet
        self.header = ""
        if is_spreadsheet:
            self.header = MARK + csv_line((*FRENCH[: len(COLUMNS)], *OF_BUCKET_FRENCH), ";") + "\n"
        elif self._form.separator:
            self.header = csv_line((*COLUMNS, *OF_BUCKET), ",") + "\n"

    def identity(self, stream: Stream) -> str:
        """What each line of a datastream begins with."""
        return self._form.identity(stream)

    def line(self, identity: str, row: BucketRow) -> str:
        """One bucket, with its line break."""
        numbers = (row.completeness, row.value, row.minimum, row.maximum, row.first, row.last)
        since, until = self._instant(row.since), self._instant(row.until)
        if not self._form.separator:
            complete, value, minimum, maximum, first, last = (
                "null" if one is None else _number(one) for one in numbers
            )
            return (
                f'{identity}"from":"{since}","to":"{until}","readings":{row.readings},"suspects":{row.suspects},'
                f'"completeness":{complete},"value":{value},"value_is":{msgspec.json.encode(row.value_is).decode()},'
                f'"minimum":{minimum},"maximum":{maximum},"first":{first},"last":{last},'
                f'"in_gap":{"true" if row.in_gap else "false"}}}\n'
            )
        decimal = self._form.decimal
        complete, value, minimum, maximum, first, last = (
            "" if one is None else _number(one).replace(".", decimal) for one in numbers
        )
        words = WORDS[row.value_is] if self._is_spreadsheet else row.value_is or ""
        gap = ("oui" if self._is_spreadsheet else "true") if row.in_gap else ""
        cells = (
            *(since, until, str(row.readings), str(row.suspects), complete, value, words),
            *(minimum, maximum, first, last, gap),
        )
        return identity + self._form.separator.join(cells) + "\n"

    def _instant(self, at: datetime) -> str:
        local = at.astimezone(self._zone)
        return local.strftime(LOCAL_TIME) if self._is_spreadsheet else local.strftime("%Y-%m-%dT%H:%M:%SZ")


def _number(value: float) -> str:
    """As the database writes it: 20, and not 20.0."""
    return repr(value).removesuffix(".0")
