"""Bosch TPS110 parking sensor: occupied or free, by f_port (docs/decoders-formats.md, "Short formats")."""

from collections.abc import Mapping
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec

STATUS_PORT, HEARTBEAT_PORT, STARTUP_PORT = 1, 2, 3
_SIZES = {STATUS_PORT: 1, HEARTBEAT_PORT: 2, STARTUP_PORT: 17}
_FRAMES = {STATUS_PORT: "status", HEARTBEAT_PORT: "heartbeat", STARTUP_PORT: "startup"}
_DEBUG_PLACES, _TWELVE_BITS = (0, 4, 8), 0x0FFF
_RESETS = {1: "watchdog", 2: "power_on", 3: "system_request"}


def decode(f_port: int, payload: bytes, time_us: int, _options: Mapping[str, Any]) -> Decoded:
    """Decode a status, a heartbeat or a start. Raises MalformedPayload for another f_port or size."""
    size = _SIZES.get(f_port)
    if size is None or len(payload) != size:
        raise MalformedPayload(
            f"f_port {f_port}, {len(payload)} octets : un TPS110 en émet 1 sur 1, 2 sur 2, 17 sur 3 : "
            f"{payload.hex()}"
        )
    decoded = Decoded(data={"frame": _FRAMES[f_port]})
    occupied = payload[-1] if f_port == STARTUP_PORT else payload[0]
    decoded.readings.append(Reading(time_us, "", "occupancy", float(occupied & 1)))
    if f_port == HEARTBEAT_PORT:
        temperature = int.from_bytes(payload[1:2], signed=True)
        decoded.readings.append(Reading(time_us, "", "temperature", float(temperature)))
    elif f_port == STARTUP_PORT:
        codes = [int.from_bytes(payload[at : at + 2], "little") & _TWELVE_BITS for at in _DEBUG_PLACES]
        decoded.data |= {
            "debug_codes": [code for code in codes if code],
            "firmware": ".".join(str(part) for part in payload[12:15]),
            "reset": _RESETS.get(payload[15], str(payload[15])),
        }
    return decoded


CODEC = Codec("bosch.tps110", 1, decode)
