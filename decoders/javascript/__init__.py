"""Runs vendors' JavaScript codecs in sandboxed worker processes (docs/decoders-javascript.md)."""
