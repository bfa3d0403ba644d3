"""Chooses the RxDelay of devices whose gateways have long round trips. Pure.

The longer delay begins at a longer round trip than it ends at, and lasts for a day at least, so that a device
whose gateways are far only now and then is not switched to and fro.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lorawan.windows import COMFORTABLE_MARGIN_DB

# An answer leaves the network 200 to 375 ms after its uplink came in (batch, bus, window, MIC and commit), and a
# gateway wants it 50 ms before a window that opens a second after the uplink: what is left is about half a second.
FAR_US = 500_000
STILL_FAR_US = 350_000
HOLD_US = 24 * 3_600_000_000
RENEW_EVERY_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Distance:
    """How well a gateway receives a device, and how far away it is."""

    margin_db: float
    round_trip_us: int
    """0: it was not measured."""


def nearest_us(distances: Iterable[Distance]) -> int:
    """The round trip of the nearest gateway that the device may well be answered through.

    Those are the gateways that receive it well; without any, the one that receives it best. 0 when it is not
    known of one of them: it may be near.
    """
    gateways = list(distances)
    enough = min((COMFORTABLE_MARGIN_DB, max((distance.margin_db for distance in gateways), default=0.0)))
    return min((distance.round_trip_us for distance in gateways if distance.margin_db >= enough), default=0)


def far_until_us(before_us: int, round_trip_us: int, now_us: int) -> int:
    """Until when a device's gateways count as far, after one more uplink whose nearest gateway is so far away."""
    is_far = round_trip_us > (STILL_FAR_US if now_us < before_us else FAR_US)
    is_due = before_us - now_us < HOLD_US - RENEW_EVERY_US  # Each renewal is a write.
    return now_us + HOLD_US if is_far and is_due else before_us
