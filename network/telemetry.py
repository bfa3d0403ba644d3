"""Metrics of the network server, and a log that a flood of frames cannot flood."""

import asyncio
from collections import Counter as Tally
from collections.abc import Iterable, Sequence

import structlog
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from lorawan.session import MAX_F_CNT_GAP


class CountedHistogram(Collector):
    """Of whole numbers. The library's own takes one value at a time: that costs more than judging a frame."""

    def __init__(
        self, name: str, documentation: str, buckets: Sequence[int], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(buckets)
        self._seen: Tally[int] = Tally()
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
        family.add_metric([], [*buckets, ("+Inf", sum(seen.values()))], total)
        return [family]


FRAMES = Counter(
    "territoire_network_frames_total", "Deduplicated frames by message type and outcome", ["mtype", "outcome"]
)
JOINS = Counter("territoire_network_joins_total", "Join-requests by result", ["result"])
DOWNLINKS = Counter("territoire_network_downlinks_total", "Requests to transmit by outcome", ["outcome"])
MIC_FAILURES = Counter(
    "territoire_network_mic_failures_total",
    "Data frames and join-requests of which no key that we have made the MIC",
)
DEDUP_RECEPTIONS = CountedHistogram(
    "territoire_network_dedup_receptions",
    "Frames by how many gateways and antennas heard them",
    (1, 2, 3, 4, 6, 8, 12),
)
DOWNLINK_DELAY = Histogram(
    "territoire_network_downlink_delay_seconds",
    "From the wish for a downlink to its emission, as the gateway has promised it",
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3_600, 86_400),
)
F_CNT_GAPS = Counter(
    "territoire_network_f_cnt_gaps_total",
    f"Uplinks before which more than {MAX_F_CNT_GAP} were never heard",
)
OFF_PLAN = Counter(
    "territoire_network_off_plan_total", "Uplinks on a channel or at a data rate that the plan does not have"
)
MULTICASTS = Counter(
    "territoire_network_multicasts_total", "Requests to emit a multicast frame by outcome", ["outcome"]
)
MAC_REFUSED = Counter(
    "territoire_network_mac_refused_total", "Requests to the MAC layers of devices that these refused", ["cid"]
)
REFUSALS_LEFT_OUT = Counter(
    "territoire_network_refusals_left_out_total", "Refused frames of which no note was made: there were too many"
)
SHARDS_OWNED = Gauge("territoire_network_shards_owned", "Shards whose lease this replica holds")
SESSIONS_HELD = Gauge("territoire_network_sessions_held", "Sessions in memory")
PASS_SECONDS = Histogram(
    "territoire_network_pass_seconds",
    "One batch: judge, publish, commit",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5),
)
PASSES_RETRIED = Counter(
    "territoire_network_passes_retried_total", "Batches tried again, by what was away", ["cause"]
)
QUARANTINED = Counter("territoire_network_quarantined_total", "Items that nobody can read")

LOG_EVERY_S = 1.0


class SparseLog:
    """Logs an event at most once a second per event and reason, and says how many it left out."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self._last: dict[tuple[str, str], float] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def warning(self, event: str, reason: str, **fields: object) -> None:
        """One line, unless the same event with the same reason was logged within the last second."""
        key = (event, reason)
        now = asyncio.get_running_loop().time()
        if now - self._last.get(key, -LOG_EVERY_S) < LOG_EVERY_S:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return
        self._last[key] = now
        self._log.warning(event, reason=reason, left_out=self._left_out.pop(key, 0), **fields)
