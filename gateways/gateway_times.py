"""The instant of a reception (docs/protocols.md, "Matrix", row 16), and the round-trip time to its gateway."""

import time
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median_low

from core.model.instants import LATE_AT_MOST_US
from core.runtime.postgres import Pool
from lorawan.identifiers import GatewayId
from registry.gateway_supervision import read_round_trips

CLOCK_TOLERANCE_US = 30_000_000
SAMPLES = 9
# The worst of so many counts: a link that has become slow is believed at once, one pause of it soon forgotten.
LAST_SAMPLES = 3
# Of one that is farther away nobody would ever ask for RX2 again, and so nobody would know when it is nearer.
MOST_US = 1_400_000
LATE_HOLDS_S = 3600.0


def reception_time_us(
    received_at_us: int,
    *,
    gps_time_us: int | None = None,
    gateway_time_us: int | None = None,
    replayed_since_us: int | None = None,
) -> int:
    """The end of the frame, in microseconds since 1970 UTC.

    GPS time of the last 366 days: a receiver whose week number has rolled over is twenty years behind. Else the
    gateway's clock when it is within 30 s of ours; else `received_at_us`.
    While a gateway or its broker hands over what it kept during an absence, `replayed_since_us` says when that
    began: from then on the gateway's clock is believed however late the copy comes. A time that is ahead of ours
    by more than 30 s is never taken.
    """
    latest = received_at_us + CLOCK_TOLERANCE_US
    if gps_time_us is not None and received_at_us - LATE_AT_MOST_US <= gps_time_us <= latest:
        return gps_time_us
    if gateway_time_us is None or gateway_time_us > latest:
        return received_at_us
    earliest = received_at_us if replayed_since_us is None else min(received_at_us, replayed_since_us)
    return gateway_time_us if gateway_time_us >= earliest - CLOCK_TOLERANCE_US else received_at_us


@dataclass(slots=True)
class RoundTrip:
    """The round trips of one gateway, in microseconds."""

    median_us: int | None = None
    """For people: how far away it usually is. None before the first one."""
    worst_us: int | None = None
    """For decisions: the worst of the last three, since an answer that comes too late is lost."""
    _samples: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def record_sample(self, sample_us: int) -> None:
        """Add a sample."""
        self._samples.append(sample_us)
        self.median_us = median_low(self._samples)
        self.worst_us = max(tuple(self._samples)[-LAST_SAMPLES:])


class RoundTrips:
    """Round trips of the gateways that can be measured only when they are asked to transmit.

    Kept when a path is lost, and when a replica ends: a gateway that is back is as far away as before.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._of: dict[GatewayId, RoundTrip] = {}
        self._late: dict[GatewayId, tuple[int, float]] = {}  # At least so far away, until when.
        self._monotonic = monotonic

    async def load(self, pool: Pool) -> None:
        """Read what any replica has measured within a day."""
        measured = await read_round_trips(pool, datetime.now(UTC) - timedelta(days=1))
        for gateway_id, round_trip_ms in measured.items():
            self.record_sample(GatewayId(gateway_id), round(round_trip_ms * 1000))

    def record_sample(self, gateway_id: GatewayId, sample_us: int) -> None:
        """The way to the gateway and back took this time."""
        self._of.setdefault(gateway_id, RoundTrip()).record_sample(min(sample_us, MOST_US))

    def record_late(self, gateway_id: GatewayId, at_least_us: int) -> None:
        """A gateway that nothing measures was asked too late: believed for an hour: nothing takes it back."""
        self._late[gateway_id] = (min(at_least_us, MOST_US), self._monotonic() + LATE_HOLDS_S)

    def measured(self, gateway_id: GatewayId) -> int | None:
        """The worst of the last few round trips in microseconds; None while nothing was measured."""
        measured = self._of.get(gateway_id)
        return None if measured is None else measured.worst_us

    def of(self, gateway_id: GatewayId) -> int | None:
        """How far away a gateway is to be taken for, in microseconds; None while nothing is known."""
        measured_us, late = self.measured(gateway_id), self._late.get(gateway_id)
        if late is None:
            return measured_us
        at_least_us, until = late
        if self._monotonic() >= until:
            del self._late[gateway_id]
            return measured_us
        return max(at_least_us, measured_us or 0)

    def keep_only(self, gateway_ids: Container[bytes]) -> None:
        """Forget gateways that are no longer registered."""
        for known_of in (self._of, self._late):
            for gateway_id in [known for known in known_of if known not in gateway_ids]:
                del known_of[gateway_id]
