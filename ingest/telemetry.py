"""Metrics of ingest."""

from prometheus_client import Counter, Gauge, Histogram

from core.model.quarantine import QuarantineReason

UPLINKS = Counter("territoire_ingest_uplinks_total", "Uplinks committed, by what became of them", ["status"])
# A counter that appears with its first event has not risen: what rings is shown before its first one.
UPLINKS.labels("undecodable")
MEASUREMENTS = Counter(
    "territoire_ingest_measurements_total",
    "Measurements committed, first or again: of the uplink's own instant, or a past one of the device's own clock",
    ["kind"],
)
QUARANTINED = Counter("territoire_ingest_quarantined_total", "Items that nobody can store, by reason", ["reason"])
for _reason in QuarantineReason:
    QUARANTINED.labels(_reason)
RECEPTIONS_SKIPPED = Counter(
    "territoire_ingest_receptions_skipped_total", "Receptions of unregistered gateways, or with impossible levels"
)
BATCHES_REPEATED = Counter(
    "territoire_ingest_batches_repeated_total", "Batches of which something was stored before"
)
PASSES_RETRIED = Counter(
    "territoire_ingest_passes_retried_total", "Batches tried again, by what failed", ["cause"]
)
UNPUBLISHED = Counter(
    "territoire_ingest_measurements_unpublished_total",
    "Measurements that are in the table and were given up for the bus",
)
BATCH_ROWS = Histogram(
    "territoire_ingest_batch_rows",
    "Rows in one transaction",
    buckets=(1, 10, 50, 100, 500, 1_000, 5_000, 10_000, 50_000),
)
LAG_SECONDS = Histogram(
    "territoire_ingest_lag_seconds",
    "From the reception of the oldest uplink in a message to its commit",
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60, 300, 3_600),
)
SCRIPTS_FAILED = Counter(
    "territoire_ingest_scripts_failed_total", "Calls of vendors' codecs, by what failed", ["failure"]
)
CODECS_SUSPENDED = Counter(
    "territoire_ingest_codecs_suspended_total", "Codec versions that this replica suspended"
)
SHADOWS_DROPPED = Counter("territoire_ingest_shadows_dropped_total", "Frames that a shadow version was not shown")
SHARDS_OWNED = Gauge("territoire_ingest_shards_owned", "Shards whose lease this replica holds")
