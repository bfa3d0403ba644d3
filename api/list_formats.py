"""A list as CSV or as GeoJSON: one page of it, by the header Accept. Same rights, same filters, same cursor.

Which columns a list has is declared once, by the model of its items. Pure.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, cast, get_args, get_origin

import msgspec
from pydantic import BaseModel

from registry.bulk_imports.kinds import FORMULA

CSV, GEOJSON, JSON = "text/csv", "application/geo+json", "application/json"
Format = Literal["text/csv", "application/geo+json", "application/json"]
LONGITUDE, LATITUDE = "longitude", "latitude"
# What names an item, where it has no id.
KEYS = ("id", "dev_eui", "gateway_id", "name")
Columns = tuple[tuple[str, ...], ...]


def chosen_format(accept: str | None) -> Format:
    """The one of the three that the header prefers; JSON where it has no preference or names none of them."""
    best: Format = JSON
    weight = 0.0
    for part in (accept or "").split(","):
        name, *parameters = (one.strip().lower() for one in part.split(";"))
        wanted = JSON if name in {"*/*", "application/*"} else name
        if wanted in get_args(Format) and (quality := _quality(parameters)) > weight:
            best, weight = cast(Format, wanted), quality
    return best


def _quality(parameters: Sequence[str]) -> float:
    for one in parameters:
        name, _, value = one.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


@cache
def columns_of(model: type[BaseModel]) -> Columns:
    """The fields of the items of a list, in their order; those of a model within it one by one, each as a path."""
    return tuple(_paths(model))


def _paths(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        shown = field.serialization_alias or name
        kinds = cast(tuple[Any, ...], (field.annotation, *get_args(field.annotation)))
        inner: type[BaseModel] | None = next((one for one in kinds if _is_model(one)), None)
        if get_origin(field.annotation) is list or inner is None or inner is model:
            yield (shown,)
        else:
            yield from ((shown, *path) for path in _paths(inner))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def as_csv(items: Sequence[Mapping[str, Any]], columns: Columns) -> str:
    """RFC 4180, with a line of names: `supervision.load` is a field of a field; what is no plain value is JSON."""
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow([".".join(path) for path in columns])
    writer.writerows([_cell(_at(item, path)) for path in columns] for item in items)
    return output.getvalue()


def _at(item: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(item, dict):
            return None
        item = cast(dict[str, Any], item).get(name)
    return item


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():  # A number is no formula, whatever its sign.
            return str(value)
        case str():
            return safe_cell(value)
        case _:
            return safe_cell(msgspec.json.encode(value).decode())


def safe_cell(text: str) -> str:
    """A text of a CSV that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def as_geojson(items: Sequence[Mapping[str, Any]]) -> bytes:
    """A FeatureCollection (RFC 7946); what has no place is a Feature without geometry (its section 3.2)."""
    features = [_feature(item) for item in items]
    return msgspec.json.encode({"type": "FeatureCollection", "features": features})


def _feature(item: Mapping[str, Any]) -> dict[str, Any]:
    longitude, latitude = item.get(LONGITUDE), item.get(LATITUDE)
    is_placed = longitude is not None and latitude is not None
    feature: dict[str, Any] = {"type": "Feature"}
    key = next((item[name] for name in KEYS if isinstance(item.get(name), int | str)), None)
    if key is not None:
        feature["id"] = key
    feature["geometry"] = {"type": "Point", "coordinates": [longitude, latitude]} if is_placed else None
    feature["properties"] = {name: value for name, value in item.items() if name not in {LONGITUDE, LATITUDE}}
    return feature
