"""Converts pulse counts to volumes."""

from collections.abc import Mapping
from typing import Any, cast

from decoders.canonical import Decoded, Reading


def add_volumes(options: Mapping[str, Any], decoded: Decoded) -> None:
    """Add a `water_volume` beside each `pulse_count`, when the profile has the volume of a pulse.

    Option `litres_per_pulse` is a positive number, or a mapping from channel to one; a channel without
    weight has no volume.
    """
    weights: Any = options.get("litres_per_pulse")
    if weights is None:
        return
    by_channel = cast("Mapping[str, Any]", weights) if isinstance(weights, Mapping) else None
    for reading in [reading for reading in decoded.readings if reading.quantity == "pulse_count"]:
        weight = cast("Any", weights) if by_channel is None else by_channel.get(reading.channel)
        if isinstance(weight, int | float) and weight > 0:
            volume = reading.value * weight
            decoded.readings.append(Reading(reading.time_us, reading.channel, "water_volume", volume))
        elif weight is not None:
            decoded.warnings.append(f"option litres_per_pulse illisible : {weight!r}")
