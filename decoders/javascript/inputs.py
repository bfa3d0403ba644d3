"""Builds the arguments of vendors' functions (docs/decoders-javascript.md, "Compatibility").

`recvTime` is in milliseconds since 1970: the harness makes the Date of it, and the clock that a script sees.
Examples of a catalogue may have none: then `clock` is the script's clock alone. `context` is what Actility's
drivers remember.
"""

from collections.abc import Mapping
from typing import Any


def uplink_input(
    f_port: int,
    payload: bytes,
    time_us: int,
    *,
    dev_eui: str = "",
    device_name: str = "",
    variables: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Of decodeUplink, and of decodeDownlink (TS013)."""
    return {
        "bytes": list(payload),
        "fPort": f_port,
        "recvTime": time_us // 1000,
        "variables": variables or {},
        "devEui": dev_eui,
        "deviceName": device_name,
        "tags": tags or {},
    }


def downlink_input(
    data: Mapping[str, Any],
    now_us: int,
    *,
    f_port: int | None = None,
    dev_eui: str = "",
    device_name: str = "",
    variables: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Of encodeDownlink; `f_port` is what the command asks for, None leaves it to the codec."""
    asked = {} if f_port is None else {"fPort": f_port}
    return {
        "data": data,
        "recvTime": now_us // 1000,
        "variables": variables or {},
        "devEui": dev_eui,
        "deviceName": device_name,
        **asked,
    }
