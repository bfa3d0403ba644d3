"""Which transmissions collide: same channel, same spreading factor, same time, same antenna. Pure.

Spreading factors are taken for orthogonal, and a gateway's downlinks (inverted IQ) never disturb its uplinks.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

from lab.radio.transmission import Transmission

# The stronger of two is received when it is stronger by this much.
CAPTURE_DB = 6.0
# A concentrator follows this many receptions at once (SX1301, SX1302 at 125 kHz: 8 and 16).
DEMODULATORS = 8
# Longer than any transmission, and than a gateway knows of one beforehand.
FORGET_AFTER_US = 15_000_000


class Collisions:
    """What is on the air, by antenna. An antenna is a gateway's or a device's, named by any hashable value."""

    def __init__(self) -> None:
        self._on_air: defaultdict[object, deque[tuple[Transmission, float]]] = defaultdict(deque)

    def record_transmission(self, transmission: Transmission, levels: Mapping[Any, float]) -> None:
        """A transmission begins; `levels` is its SNR at each antenna in range, in dB."""
        for antenna, snr in levels.items():
            on_air = self._on_air[antenna]
            while on_air and on_air[0][0].end_us < transmission.start_us - FORGET_AFTER_US:
                on_air.popleft()
            on_air.append((transmission, snr))

    def is_spoilt(self, transmission: Transmission, antenna: object, snr: float) -> bool:
        """Whether another transmission keeps this antenna from receiving this one."""
        return any(
            other is not transmission
            and other.frequency == transmission.frequency
            and other.spreading_factor == transmission.spreading_factor
            and other.start_us < transmission.end_us
            and transmission.start_us < other.end_us
            and snr - level < CAPTURE_DB
            for other, level in self._on_air[antenna]
        )

    def is_saturated(self, transmission: Transmission, antenna: object) -> bool:
        """Whether all demodulators follow transmissions that began earlier."""
        followed = sum(
            other is not transmission and other.start_us <= transmission.start_us < other.end_us
            for other, _ in self._on_air[antenna]
        )
        return followed >= DEMODULATORS
