"""A histogram that is told of many equal values at once, for loops that count first."""

from collections import Counter
from collections.abc import Iterable, Sequence

from prometheus_client import REGISTRY
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

UNBOUNDED = "+Inf"


class CountedHistogram(Collector):
    """Of whole numbers. The library's own is told of one value at a time: that costs more than judging a frame."""

    def __init__(
        self, name: str, documentation: str, buckets: Sequence[int], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(buckets)
        self._seen: Counter[int] = Counter()
        registry.register(self)

    def observe(self, value: int, times: int = 1) -> None:
        """Count a value that came so many times."""
        self._seen[value] += times

    def describe(self) -> Iterable[Metric]:
        """The name alone; registering asks for it."""
        return [HistogramMetricFamily(self._name, self._documentation)]

    def collect(self) -> Iterable[Metric]:
        """As of this instant."""
        seen = self._seen
        buckets = [
            (str(float(bound)), sum(times for value, times in seen.items() if value <= bound))
            for bound in self._bounds
        ]
        family = HistogramMetricFamily(self._name, self._documentation)
        total = sum(value * times for value, times in seen.items())
        family.add_metric([], [*buckets, (UNBOUNDED, sum(seen.values()))], total)
        return [family]
