"""Metrics of the network server."""

from prometheus_client import Counter, Gauge, Histogram

from core.model.downlinks import DownlinkReason
from lorawan.session import MAX_F_CNT_GAP

FRAMES = Counter(
    "territoire_network_frames_total", "Deduplicated frames by message type and outcome", ["mtype", "outcome"]
)
JOINS = Counter("territoire_network_joins_total", "Join-requests by result", ["result"])
DOWNLINKS = Counter("territoire_network_downlinks_total", "Requests to transmit by outcome", ["outcome"])
DOWNLINKS.labels(DownlinkReason.TOO_LATE.lower())  # Shown before the first of them: what rings has to rise.
MIC_FAILURES = Counter(
    "territoire_network_mic_failures_total",
    "Data frames and join-requests of which no key that we have made the MIC",
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
