"""Codecs that a technician writes as a table: `parse` makes a codec of its YAML."""

from decoders.declarative.declaration import parse
from decoders.declarative.nodes import InvalidDeclaration

__all__ = ["InvalidDeclaration", "parse"]
