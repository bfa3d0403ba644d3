"""A data subject as a zip file that is written while it is sent: each table as JSON and as CSV."""

import csv
import io
import json
import zipfile
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from api.list_formats import safe_cell
from core.runtime.postgres import Connection
from registry.data_subjects import Scope, each_row
from registry.personal_data import exports

CHUNK = 64 << 10
READ_ME = """\
Données à caractère personnel, exportées de Territoire le {at}.

Un fichier .json et un fichier .csv par table (UTF-8). Les instants sont en UTC.
Les clés et les secrets n'y sont pas. docs/rgpd.md dit ce que contient chaque table, et combien de temps.
"""


class _Pipe(io.RawIOBase):
    """Where the zip file is written: it is taken out as it comes, and cannot be gone back in."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._held += data
        return len(data)

    def read_octets(self, least: int = 1) -> bytes:
        """What was written, once it is so much."""
        if len(self._held) < least:
            return b""
        taken, self._held = bytes(self._held), bytearray()
        return taken


def plain(value: object) -> object:
    """As JSON has it."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case bytes():
            return value.hex()
        case UUID():
            return str(value)
        case _:
            return value


def _cell(value: object) -> str:
    shown = plain(value)
    text = "" if shown is None else shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    return safe_cell(text) if isinstance(value, str) else text


def _in_json(row: dict[str, Any], *, is_first: bool) -> str:
    before = "[\n" if is_first else ",\n"
    return before + json.dumps(
        {name: plain(value) for name, value in row.items()}, ensure_ascii=False, default=plain
    )


def _in_csv(row: dict[str, Any], *, is_first: bool) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines)
    if is_first:
        writer.writerow(row)
    writer.writerow([_cell(value) for value in row.values()])
    return lines.getvalue()


class _Form(Protocol):
    def __call__(self, row: dict[str, Any], *, is_first: bool) -> str:
        """What is written of a row; of the first with what goes before all."""
        ...


# With what goes behind all of them, and what there is when there are none.
FORMS: tuple[tuple[str, _Form, str, str], ...] = ((".json", _in_json, "\n]\n", "[]\n"), (".csv", _in_csv, "", ""))


async def export_zip(connection: Connection, scope: Scope) -> AsyncGenerator[bytes]:
    """The file in parts; no table is ever held whole."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("LISEZMOI.txt", READ_ME.format(at=datetime.now(UTC).isoformat(timespec="seconds")))
        for name, export in exports():
            for suffix, form, end, empty in FORMS:
                with file.open(name + suffix, "w", force_zip64=True) as member:
                    is_first = True
                    async for row in each_row(connection, scope, export):
                        member.write(form(row, is_first=is_first).encode())
                        is_first = False
                        if part := pipe.read_octets(CHUNK):
                            yield part
                    member.write((empty if is_first else end).encode())
    yield pipe.read_octets()
