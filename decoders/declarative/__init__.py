"""Codecs that a technician writes as a table: `parse` makes a codec of its YAML."""

from decoders.declarative.declaration import Declaration, parse, parse_declaration
from decoders.declarative.nodes import InvalidDeclaration

__all__ = ["Declaration", "InvalidDeclaration", "parse", "parse_declaration"]
