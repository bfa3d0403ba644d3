"""What a gateway is asked to transmit with, so that what its antenna radiates stays within the law. EIRP in dBm.

A packet forwarder takes its own `antenna_gain` off the power that it is asked for (`powe`), as do ChirpStack's
Concentratord and a station by its configuration; one that was set up without a gain radiates it on top.
"""

from enum import StrEnum
from math import floor

# What Semtech's forwarder puts out with the table that it is delivered with for EU868; version 4 refuses the rest.
FORWARDER_POWERS = frozenset({-6, -3, 0, 3, 6, 10, 11, 12, 13, 14, 16, 20, 23, 25, 26, 27})


class GainSubtraction(StrEnum):
    """Who takes the gain of a gateway's antenna off the power."""

    GATEWAY = "gateway"
    """Its own configuration has the gain."""
    NETWORK = "network"
    """We do: its configuration has none."""


def requested_power(
    eirp: float, antenna_gain: float, subtracted_by: str | None, max_eirp: float | None = None
) -> int:
    """The power to ask a gateway for, in whole dBm.

    Until it is said who subtracts the gain, the lower of the two powers is asked for: it is lawful either way.

    Args:
        eirp: the sub-band's limit.
        antenna_gain: dBi, cable losses taken off; may be negative.
        subtracted_by: a `GainSubtraction`; None: nobody has said.
        max_eirp: a cap of this gateway; None: none.
    """
    wanted = eirp if max_eirp is None else min(eirp, max_eirp)
    match subtracted_by:
        case GainSubtraction.GATEWAY:
            return floor(wanted)
        case GainSubtraction.NETWORK:
            return floor(wanted - antenna_gain)
        case _:
            return floor(wanted - max(0.0, antenna_gain))


def forwarder_power(wanted: int, antenna_gain: float, subtracted_by: str | None) -> int:
    """The highest power up to `wanted` that a packet forwarder's own table has, whoever subtracts the gain."""
    own_gain = int(antenna_gain)  # A forwarder has whole dB, and cuts the rest off.
    match subtracted_by:
        case GainSubtraction.GATEWAY:
            gains = {own_gain}
        case GainSubtraction.NETWORK:
            gains = {0}
        case _:
            gains = {0, own_gain}
    in_table = (
        power
        for power in range(wanted, min(FORWARDER_POWERS), -1)
        if all(power - gain in FORWARDER_POWERS for gain in gains)
    )
    return next(in_table, wanted)


def station_max_eirp(
    lowest_limit: float, antenna_gain: float, subtracted_by: str | None, max_eirp: float | None = None
) -> int | None:
    """The `max_eirp` of a station, which is told no power for a frame; None: as its region has it.

    It lowers every sub-band, RX2 too, hence it is for a gateway that would otherwise exceed the law, or has a cap.

    Args:
        lowest_limit: the EIRP that a station uses outside the sub-band of RX2.
        antenna_gain: as for `requested_power`.
        subtracted_by: as for `requested_power`.
        max_eirp: as for `requested_power`.
    """
    is_excess = subtracted_by != GainSubtraction.GATEWAY and antenna_gain > 0
    if max_eirp is None and not is_excess:
        return None
    excess = antenna_gain if is_excess else 0.0
    cap = lowest_limit - excess if is_excess else float("inf")
    return floor(cap if max_eirp is None else min(cap, max_eirp - excess))
