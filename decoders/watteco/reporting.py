"""Reads a device's reporting configuration (command 09; docs/decoders-formats.md, "nke Watteco")."""

from typing import Any

from decoders.canonical import MalformedPayload
from decoders.watteco.frame import FIXED_SIZES, LENGTH_SIZES, StandardFrame

_HEADER_SIZE = 5  # Type, shortest and longest delay.
_MINUTES = 0x8000


def read_configuration(frame: StandardFrame) -> dict[str, Any]:
    """Type, delays in seconds, and the change that makes a report: in raw units, or octets of several fields."""
    data = frame.data
    if len(data) < _HEADER_SIZE:
        raise MalformedPayload(f"une configuration de rapports a au moins {_HEADER_SIZE} octets : {data.hex()}")
    kind = data[0]
    configuration: dict[str, Any] = {
        "type": f"{kind:02x}",
        "shortest_s": _seconds(data[1:3]),
        "longest_s": _seconds(data[3:5]),
    }
    change = data[_HEADER_SIZE:]
    size = FIXED_SIZES.get(kind, 0)
    if size and len(change) == size:
        configuration["change"] = int.from_bytes(change)
    elif change:
        configuration["change_octets"] = change[LENGTH_SIZES.get(kind, 0) :].hex()
    return configuration


def _seconds(octets: bytes) -> int:
    delay = int.from_bytes(octets)
    return (delay & ~_MINUTES) * 60 if delay & _MINUTES else delay
