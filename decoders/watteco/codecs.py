"""Watteco's codecs: one decoder, the profiles' options, and the commands of the Triphas'O."""

from collections.abc import Mapping
from typing import Any, cast

from decoders.canonical import Decoded, Reading
from decoders.codec import Codec, EncodedCommand, UnsupportedCommand
from decoders.watteco.frame import F_PORT
from decoders.watteco.standard import decode_standard

_COMMANDS = {
    "switch_on": bytes.fromhex("1150000601"),
    "switch_off": bytes.fromhex("1150000600"),
    "read_state": bytes.fromhex("110000060000"),
}


def decode_pulse(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Decode a pulse counter; option `litres_per_pulse` adds `water_volume` beside each `pulse_count`.

    The option is a positive number, or a mapping from channel (`""` for endpoint 0, `"1"`...) to one.
    """
    decoded = decode_standard(f_port, payload, time_us, options)
    weights: Any = options.get("litres_per_pulse")
    if weights is None:
        return decoded
    by_channel = cast("Mapping[str, Any]", weights) if isinstance(weights, Mapping) else None
    for reading in [reading for reading in decoded.readings if reading.quantity == "pulse_count"]:
        weight = cast("Any", weights) if by_channel is None else by_channel.get(reading.channel)
        if isinstance(weight, int | float) and weight > 0:
            volume = reading.value * weight
            decoded.readings.append(Reading(reading.time_us, reading.channel, "water_volume", volume))
        elif weight is not None:
            decoded.warnings.append(f"option litres_per_pulse illisible : {weight!r}")
    return decoded


def encode_triphaso(command: str, parameters: Mapping[str, Any]) -> EncodedCommand:
    """Encode `switch_on`, `switch_off` or `read_state` for endpoint 0, on f_port 125.

    `switch_on` and `switch_off` are the cluster command 50 of cluster 0006 with 01 and 00. Its layout
    comes from the cluster library and the shape of Watteco's other 50 commands: the vendor publishes no
    vector of it, so whoever switches confirms by the report of 0006/0000 that follows, or by
    `read_state`. Both are absolute, never a toggle, so that a repeated command changes nothing.
    """
    if command == "dim":
        raise UnsupportedCommand(
            "Gradation impossible : le Triphas'O commande un relais tout ou rien, il n'a pas de gradateur."
        )
    octets = _COMMANDS.get(command)
    if octets is None:
        raise UnsupportedCommand(f"Le Triphas'O ne connaît pas la commande « {command} ».")
    if parameters:
        names = ", ".join(sorted(map(str, parameters)))
        raise UnsupportedCommand(f"La commande « {command} » ne prend pas de paramètre (reçu : {names}).")
    return EncodedCommand(F_PORT, octets)


STANDARD = Codec("watteco.standard", 1, decode_standard)
TRIPHASO = Codec("watteco.triphaso", 1, decode_standard, encode_triphaso)
PULSE = Codec("watteco.pulse", 1, decode_pulse)
TIC = Codec("watteco.tic", 1, decode_standard)
