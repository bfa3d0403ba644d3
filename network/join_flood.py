"""Limits the join-requests of a gateway before they cost database or cryptography. Pure."""

from collections import OrderedDict
from collections.abc import Iterable

from core.runtime.token_bucket import TokenBucket

# Eight demodulators at SF7 receive some 130 joins a second. After a power cut a hundred devices per gateway send
# joins in the first seconds; a gateway that brings more for long forwards other things than devices.
JOINS_PER_S = 20
BURST = 200
# Registered gateways are few; this bounds the table against invented ids.
MAX_GATEWAYS = 10_000


class JoinFlood:
    """A bucket of tokens per gateway."""

    def __init__(self, per_s: float = JOINS_PER_S, burst: int = BURST) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def admits(self, gateway_ids: Iterable[bytes], now_us: int) -> bool:
        """Whether one of the gateways that received a join-request may bring it; each is charged a token."""
        admitted, now = False, now_us / 1_000_000
        for gateway_id in set(gateway_ids):
            bucket = self._buckets.pop(gateway_id, None) or TokenBucket.full(self._per_s, self._burst, now)
            admitted = bucket.take_token(now) or admitted
            self._buckets[gateway_id] = bucket
        while len(self._buckets) > MAX_GATEWAYS:
            self._buckets.popitem(last=False)
        return admitted
