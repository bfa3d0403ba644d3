"""When a device asks again to join (LoRaWAN L2 1.0.4, section 7, "Retransmissions back-off"). Pure.

Between the end of RX2 and the next request lies a random time, different for each device; and in the first hour
after power-up all requests together take less than 36 s of air, which is the law's 1 % of the join channels, too.
How long the random time is, the specification leaves open: here it doubles with each attempt.
"""

import random
from dataclasses import dataclass

SECOND_US = 1_000_000
FIRST_HOUR_AIRTIME_US = 36 * SECOND_US
# Devices do not boot in the same millisecond: the first request comes within this time after power-up.
BOOT_US = 10 * SECOND_US
FIRST_PAUSE_US = 10 * SECOND_US
LONGEST_PAUSE_US = 160 * SECOND_US


@dataclass(slots=True)
class JoinBackoff:
    """One device's requests since power-up."""

    random: random.Random
    powered_up_us: int
    attempts: int = 0
    airtime_us: int = 0

    def first_us(self) -> int:
        """When the first request begins."""
        return self.powered_up_us + self.random.randrange(BOOT_US)

    def record_request(self, airtime_us: int) -> None:
        """A request was sent."""
        self.attempts += 1
        self.airtime_us += airtime_us

    def next_us(self, rx2_over_us: int, airtime_us: int) -> int | None:
        """When the next request of this air time begins; None: not within the first hour any more."""
        if self.airtime_us + airtime_us >= FIRST_HOUR_AIRTIME_US:
            return None
        pause_us = min(FIRST_PAUSE_US << (self.attempts - 1), LONGEST_PAUSE_US)
        return rx2_over_us + self.random.randrange(pause_us)
