"""A transmission on the air, its reception by a gateway, and a window in which a device receives one."""

from dataclasses import dataclass

SECOND_US = 1_000_000
# EU868 uplink channels of a joined device; a join-request uses the first three.
DEFAULT_CHANNELS = (868_100_000, 868_300_000, 868_500_000)
CHANNELS = (*DEFAULT_CHANNELS, 867_100_000, 867_300_000, 867_500_000, 867_700_000, 867_900_000)
BANDWIDTH = 125_000
RX2_FREQUENCY = 869_525_000
JOIN_DELAYS_US = (5_000_000, 6_000_000)
SLOWEST_SPREADING_FACTOR = 12
# A receiver that opens its window finds a preamble that starts this much early or late.
WINDOW_TOLERANCE_US = 20_000


@dataclass(frozen=True, slots=True)
class Transmission:
    """One frame on the air. Times are microseconds since 1970 UTC on the simulation's one true clock."""

    phy_payload: bytes
    frequency: int  # Hz
    spreading_factor: int
    start_us: int
    airtime_us: int

    @property
    def end_us(self) -> int:
        """When the last symbol has left the antenna."""
        return self.start_us + self.airtime_us


@dataclass(frozen=True, slots=True)
class Reception:
    """An uplink as one gateway received it."""

    transmission: Transmission
    rssi: float  # dBm
    snr: float  # dB


@dataclass(frozen=True, slots=True)
class Window:
    """When and where a device listens after an uplink."""

    opens_us: int
    frequency: int
    spreading_factor: int

    def catches(self, transmission: Transmission) -> bool:
        """Whether the transmission's preamble meets this window."""
        return (
            abs(transmission.start_us - self.opens_us) <= WINDOW_TOLERANCE_US
            and transmission.frequency == self.frequency
            and transmission.spreading_factor == self.spreading_factor
        )
