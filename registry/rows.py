"""Converts a row to an entity whose fields are named like its columns."""

from dataclasses import fields
from typing import Any, TypeVar, cast

from core.runtime.postgres import Record

Entity = TypeVar("Entity")


def entity(kind: type[Entity], row: Record) -> Entity:
    """The dataclass `kind` made from the columns of its fields; arrays become tuples."""
    values: dict[str, Any] = {}
    for column in fields(kind):  # pyright: ignore[reportArgumentType]
        value = row[column.name]
        values[column.name] = tuple(cast(list[Any], value)) if isinstance(value, list) else value
    return kind(**values)
