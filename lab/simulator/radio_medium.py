"""Who spoils whose reception: same channel, same spreading factor, at the same time, at the same antenna. Pure.

Spreading factors are taken for orthogonal, and a gateway's downlinks (inverted IQ) never disturb its uplinks.
"""

from collections import defaultdict, deque
from collections.abc import Mapping

from lab.simulator.transmission import Emission

# The stronger of two is received when it is stronger by this much.
CAPTURE_DB = 6.0
# A concentrator follows this many receptions at once (SX1301, SX1302 at 125 kHz: 8 and 16).
DEMODULATORS = 8
# Longer than any transmission, and than a gateway knows of one beforehand.
FORGET_AFTER_US = 15_000_000


class Airwaves:
    """What is on the air, by antenna. An antenna is whatever can hear: a gateway, or a device."""

    def __init__(self) -> None:
        self._heard: defaultdict[object, deque[tuple[Emission, float]]] = defaultdict(deque)

    def add(self, emission: Emission, levels: Mapping[object, float]) -> None:
        """An emission begins; `levels` is its SNR at each antenna in range, in dB."""
        for antenna, snr in levels.items():
            heard = self._heard[antenna]
            while heard and heard[0][0].end_us < emission.start_us - FORGET_AFTER_US:
                heard.popleft()
            heard.append((emission, snr))

    def spoils(self, emission: Emission, antenna: object, snr: float) -> bool:
        """Whether something else on the air takes this emission from this antenna."""
        return any(
            other is not emission
            and other.frequency == emission.frequency
            and other.spreading_factor == emission.spreading_factor
            and other.start_us < emission.end_us
            and emission.start_us < other.end_us
            and snr - level < CAPTURE_DB
            for other, level in self._heard[antenna]
        )

    def is_saturated(self, emission: Emission, antenna: object) -> bool:
        """Whether all demodulators follow emissions that began earlier."""
        followed = sum(
            other is not emission and other.start_us <= emission.start_us < other.end_us
            for other, _ in self._heard[antenna]
        )
        return followed >= DEMODULATORS
