"""The round-trip time to a gateway: the median of its last samples."""

from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median_low

from core.runtime.postgres import Pool
from lorawan.identifiers import GatewayId
from registry.gateway_supervision import read_round_trips

SAMPLES = 9
# Of one that is farther away nobody would ever ask for RX2 again, and so nobody would know when it is nearer.
MOST_US = 1_000_000


@dataclass(slots=True)
class RoundTrip:
    """Round trips in microseconds."""

    median_us: int | None = None
    """None before the first one."""
    _samples: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def record_sample(self, sample_us: int) -> None:
        """Count one more."""
        self._samples.append(sample_us)
        self.median_us = median_low(self._samples)


class RoundTrips:
    """Of the gateways whose distance shows only when they are asked to transmit.

    Kept when a path is lost, and when a replica ends: a gateway that is back is as far away as it was.
    """

    def __init__(self) -> None:
        self._of: dict[GatewayId, RoundTrip] = {}

    async def load(self, pool: Pool) -> None:
        """What any replica has measured within a day."""
        measured = await read_round_trips(pool, datetime.now(UTC) - timedelta(days=1))
        for gateway_id, round_trip_ms in measured.items():
            self.record_sample(GatewayId(gateway_id), round(round_trip_ms * 1000))

    def record_sample(self, gateway_id: GatewayId, sample_us: int) -> None:
        """The gateway answered a request after this time."""
        self._of.setdefault(gateway_id, RoundTrip()).record_sample(min(sample_us, MOST_US))

    def of(self, gateway_id: GatewayId) -> int | None:
        """Microseconds; None while nothing was measured."""
        measured = self._of.get(gateway_id)
        return None if measured is None else measured.median_us

    def keep_only(self, gateway_ids: Container[bytes]) -> None:
        """Forget gateways that are no longer registered."""
        for gateway_id in [known for known in self._of if known not in gateway_ids]:
            del self._of[gateway_id]
