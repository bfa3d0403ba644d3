"""The instant of a reception (docs/protocols.md, "Matrix", row 16), and the round-trip time to its gateway."""

from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median_low

from core.runtime.postgres import Pool
from lorawan.identifiers import GatewayId
from registry.gateway_supervision import read_round_trips

CLOCK_TOLERANCE_US = 30_000_000
# No gateway keeps frames for longer. A receiver whose week number has rolled over is twenty years behind.
OLDEST_REPLAY_US = 30 * 24 * 3_600_000_000
SAMPLES = 9
# Of one that is farther away nobody would ever ask for RX2 again, and so nobody would know when it is nearer.
MOST_US = 1_000_000


def reception_time_us(
    received_at_us: int,
    *,
    gps_time_us: int | None = None,
    gateway_time_us: int | None = None,
    replayed_since_us: int | None = None,
) -> int:
    """The end of the frame, in microseconds since 1970 UTC.

    GPS time of the last 30 days; else the gateway's clock when it is within 30 s of ours; else `received_at_us`.
    While a gateway or its broker hands over what it kept during an absence, `replayed_since_us` says when that
    began: from then on the gateway's clock is believed however late the copy comes. A time that is ahead of ours
    by more than 30 s is never taken.
    """
    latest = received_at_us + CLOCK_TOLERANCE_US
    if gps_time_us is not None and received_at_us - OLDEST_REPLAY_US <= gps_time_us <= latest:
        return gps_time_us
    if gateway_time_us is None or gateway_time_us > latest:
        return received_at_us
    earliest = received_at_us if replayed_since_us is None else min(received_at_us, replayed_since_us)
    return gateway_time_us if gateway_time_us >= earliest - CLOCK_TOLERANCE_US else received_at_us


@dataclass(slots=True)
class RoundTrip:
    """The round trips of one gateway, in microseconds; the median counts."""

    median_us: int | None = None
    """The median; None before the first sample."""
    _samples: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def record_sample(self, sample_us: int) -> None:
        """Add a sample."""
        self._samples.append(sample_us)
        self.median_us = median_low(self._samples)


class RoundTrips:
    """Round trips of the gateways that can be measured only when they are asked to transmit.

    Kept when a path is lost, and when a replica ends: a gateway that is back is as far away as before.
    """

    def __init__(self) -> None:
        self._of: dict[GatewayId, RoundTrip] = {}

    async def load(self, pool: Pool) -> None:
        """Read what any replica has measured within a day."""
        measured = await read_round_trips(pool, datetime.now(UTC) - timedelta(days=1))
        for gateway_id, round_trip_ms in measured.items():
            self.record_sample(GatewayId(gateway_id), round(round_trip_ms * 1000))

    def record_sample(self, gateway_id: GatewayId, sample_us: int) -> None:
        """The gateway answered a request after this time."""
        self._of.setdefault(gateway_id, RoundTrip()).record_sample(min(sample_us, MOST_US))

    def of(self, gateway_id: GatewayId) -> int | None:
        """The round trip in microseconds; None while nothing was measured."""
        measured = self._of.get(gateway_id)
        return None if measured is None else measured.median_us

    def keep_only(self, gateway_ids: Container[bytes]) -> None:
        """Forget gateways that are no longer registered."""
        for gateway_id in [known for known in self._of if known not in gateway_ids]:
            del self._of[gateway_id]
