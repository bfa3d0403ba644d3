"""How far away a gateway is: the median of its last round trips, which one that stood still does not move."""

from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field
from statistics import median_low

from lorawan.identifiers import GatewayId

SAMPLES = 9


@dataclass(slots=True)
class RoundTrip:
    """Round trips in microseconds."""

    median_us: int | None = None
    """None before the first one."""
    _samples: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def note(self, sample_us: int) -> None:
        """Count one more."""
        self._samples.append(sample_us)
        self.median_us = median_low(self._samples)


class RoundTrips:
    """Of the gateways whose distance shows only when they are asked to transmit.

    Kept when a path is lost: a gateway that is back is as far away as it was.
    """

    def __init__(self) -> None:
        self._of: dict[GatewayId, RoundTrip] = {}

    def note(self, gateway_id: GatewayId, sample_us: int) -> None:
        """The gateway answered a request after this time."""
        self._of.setdefault(gateway_id, RoundTrip()).note(sample_us)

    def of(self, gateway_id: GatewayId) -> int | None:
        """Microseconds; None while nothing was measured."""
        measured = self._of.get(gateway_id)
        return None if measured is None else measured.median_us

    def keep_only(self, gateway_ids: Container[bytes]) -> None:
        """Forget gateways that are no longer registered."""
        for gateway_id in [known for known in self._of if known not in gateway_ids]:
            del self._of[gateway_id]
