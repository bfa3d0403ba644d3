"""Elsys: room sensors, big-endian TLV frames."""
