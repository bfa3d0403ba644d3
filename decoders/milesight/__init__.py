"""Milesight: level sensors and room sensors, little-endian TLV frames."""
