"""The rows of a mapping in a form: each a rule, of which the form shows the path, quantity, channel and unit."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from api.console.forms import Form
from core.runtime.http.errors import invalid
from decoders.mapping import InvalidMapping, Mapping
from decoders.mapping.doubts import FRENCH
from decoders.mapping.revision import confirm

SHOWN = ("path", "quantity", "channel", "unit")
# A form has two hundred fields at most, and a row five; a longer mapping is edited as its text.
ROWS_MOST = 32
NEW_ROWS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """A rule in a form; `rest` is what of it is not shown, as JSON."""

    path: str = ""
    quantity: str = ""
    channel: str = ""
    unit: str = ""
    rest: str = "{}"
    why: str = ""


def rows_of(rules: Sequence[dict[str, Any]], *, new: int = NEW_ROWS) -> list[Row]:
    """The rules, and empty rows for further ones."""
    return [_row(rule) for rule in rules] + [Row() for _ in range(new)]


def _row(rule: dict[str, Any]) -> Row:
    shown = {name: str(rule.get(name, "")) for name in SHOWN}
    rest = {name: value for name, value in rule.items() if name not in SHOWN}
    why = "" if rule.get("to_confirm") is None else FRENCH.get(rule["to_confirm"], str(rule["to_confirm"]))
    return Row(**shown, rest=json.dumps(rest, ensure_ascii=False), why=why)


def typed_rows(form: Form) -> list[Row]:
    """The rows as they were typed, to be mended; ticks are to be set again."""
    columns = [form.texts(name) for name in (*SHOWN, "rest")]
    return [Row(*row) for row in zip_longest(*columns, fillvalue="")]


def rules_of(form: Form) -> list[dict[str, Any]]:
    """The rules of a form's rows or of its text; those that are ticked are confirmed. Raises 422."""
    try:
        rules = json.loads(form.text("rules")) if form.text("rules") else [*_rows(form)]
        mapping = Mapping.parse(rules)
        ticked = [{"path": path} for path in form.texts("confirmed")]
        known = {rule["path"] for rule in rules}
        return confirm(mapping, [one for one in ticked if one["path"] in known]).as_json()
    except InvalidMapping as wrong:
        raise invalid("mapping", "mapping", str(wrong)) from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise invalid("mapping", "json", "la correspondance n'est pas une liste de règles en JSON") from None


def _rows(form: Form) -> list[dict[str, Any]]:
    columns = [form.texts(name) for name in (*SHOWN, "rest")]
    rows = [row for row in zip_longest(*columns, fillvalue="") if row[0].strip()]
    return [
        {name: text.strip() for name, text in zip(SHOWN, row, strict=False) if text.strip() or name == "channel"}
        | json.loads(row[-1] or "{}")
        for row in rows
    ]
