"""Teneo fill sensor: battery and distance (docs/decoders-formats.md, "Short formats")."""

from collections.abc import Mapping
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec

MEASURE_PORT, FAILURE_PORT = 1, 2
_SIZES = {MEASURE_PORT: 3, FAILURE_PORT: 2}
_LEAST_TENTHS = 20  # Volts of a battery whose nibble is zero.
_MM_PER_CM = 10


def decode(f_port: int, payload: bytes, time_us: int, _options: Mapping[str, Any]) -> Decoded:
    """Decode a measure (f_port 1), or a measure that failed (2). Raises MalformedPayload for anything else."""
    if len(payload) != _SIZES.get(f_port):
        raise MalformedPayload(
            f"f_port {f_port}, {len(payload)} octets : un capteur Teneo en émet 3 sur 1, 2 sur 2 : {payload.hex()}"
        )
    decoded = Decoded()
    decoded.readings.append(Reading(time_us, "", "battery_voltage", (_LEAST_TENTHS + (payload[0] & 0x0F)) / 10))
    if f_port == MEASURE_PORT:
        distance = int.from_bytes(payload[1:3]) * _MM_PER_CM
        decoded.readings.append(Reading(time_us, "", "distance", float(distance)))
    else:
        decoded.warnings.append("la mesure de distance a échoué")
    return decoded


CODEC = Codec("teneo.fill", 1, decode)
