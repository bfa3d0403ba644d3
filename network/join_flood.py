"""Limits the join-requests of a gateway before they cost database or cryptography. Pure."""

from collections import OrderedDict
from collections.abc import Iterable

# Eight demodulators at SF7 hear some 130 joins a second, and after a power cut a town sends a hundred per gateway
# in its first seconds: a gateway that brings more for long is not hearing devices.
JOINS_PER_S = 20
BURST = 200
# Gateways are registered; this bounds a registry that is not.
MAX_GATEWAYS = 10_000


class JoinFlood:
    """A bucket of tokens per gateway."""

    def __init__(self, per_s: float = JOINS_PER_S, burst: int = BURST) -> None:
        self._per_us = per_s / 1_000_000
        self._burst = burst
        self._buckets: OrderedDict[bytes, tuple[float, int]] = OrderedDict()  # Tokens, and when they were counted.

    def admits(self, gateway_ids: Iterable[bytes], now_us: int) -> bool:
        """Whether one of the gateways that heard a join-request may bring it; each of them is charged."""
        admitted = False
        for gateway_id in set(gateway_ids):
            tokens, counted_us = self._buckets.pop(gateway_id, (float(self._burst), now_us))
            # A clock that was set back gives nothing, and takes nothing either.
            tokens = min(self._burst, tokens + max(0, now_us - counted_us) * self._per_us)
            if tokens >= 1:
                tokens -= 1
                admitted = True
            self._buckets[gateway_id] = (tokens, now_us)
        while len(self._buckets) > MAX_GATEWAYS:
            self._buckets.popitem(last=False)
        return admitted
