"""A transmission on the air, and a window in which a device catches it."""

from dataclasses import dataclass

# A receiver that opens its window finds a preamble that starts this much early or late.
WINDOW_TOLERANCE_US = 20_000


@dataclass(frozen=True, slots=True)
class Emission:
    """Times are microseconds since 1970 UTC on the simulation's one true clock."""

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
class Window:
    """When and where a device listens after an uplink."""

    opens_us: int
    frequency: int
    spreading_factor: int

    def catches(self, emission: Emission) -> bool:
        """Whether the emission's preamble meets this window."""
        return (
            abs(emission.start_us - self.opens_us) <= WINDOW_TOLERANCE_US
            and emission.frequency == self.frequency
            and emission.spreading_factor == self.spreading_factor
        )
