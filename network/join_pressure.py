"""Counts the joins that each gateway receives: in a storm, accepts are not sent in RX2. Pure."""

from collections import defaultdict, deque

# From a join-request to the end of its RX2.
WINDOW_US = 6_000_000
# An accept in RX2 is DR0: it holds a radio for 1.8 s, during which so many other joins have their RX1.
STORM_JOINS = 3


class JoinPressure:
    """Remembers the joins of the last six seconds, by gateway."""

    def __init__(self) -> None:
        self._heard: defaultdict[bytes, deque[int]] = defaultdict(deque)

    def record_joins(self, gateway_ids: list[bytes], now_us: int) -> None:
        """A join that these gateways received is being answered."""
        for gateway_id in gateway_ids:
            self._heard[gateway_id].append(now_us)
            self._forget(gateway_id, now_us)

    def is_below_limit(self, gateway_id: bytes, now_us: int) -> bool:
        """Whether this gateway's radio can afford an accept in RX2."""
        self._forget(gateway_id, now_us)
        return len(self._heard[gateway_id]) < STORM_JOINS

    def _forget(self, gateway_id: bytes, now_us: int) -> None:
        joins = self._heard[gateway_id]
        while joins and joins[0] < now_us - WINDOW_US:
            joins.popleft()
