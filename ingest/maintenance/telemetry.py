"""Metrics of maintenance."""

import math

from prometheus_client import Counter, Gauge, Histogram

# Not "job": so Prometheus calls what it scrapes, and puts its own in the place of ours.
PASSES = Counter("territoire_maintenance_passes_total", "Passes by job and outcome", ["task", "outcome"])
LAST_SUCCESS = Gauge(
    "territoire_maintenance_last_success_timestamp_seconds",
    "End of the last pass that went well here; before there was one, since when one is due",
    ["task"],
)
PERIOD = Gauge("territoire_maintenance_period_seconds", "How often a job is due, as its setting has it", ["task"])
PASS_SECONDS = Histogram(
    "territoire_maintenance_pass_seconds",
    "How long a pass took",
    ["task"],
    buckets=(0.01, 0.05, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1200),
)
ROLLED_UP = Counter("territoire_maintenance_rolled_up_buckets_total", "Buckets made anew", ["bucket"])
ROLLED_UP_READINGS = Counter(
    "territoire_maintenance_rolled_up_readings_total", "Readings that hours were made from"
)
FORGOTTEN_HOURS = Counter(
    "territoire_maintenance_forgotten_hours_total", "Dirty hours left as they are, since their raw was dropped"
)
DIRTY_ROWS = Gauge("territoire_maintenance_dirty_rows", "Rows of the dirty log, the hour that goes on included")
DIRTY_HOURS = Gauge(
    "territoire_maintenance_dirty_hours", "Marks of a datastream's hour that is over and not rolled up"
)
DIRTY_WAITING_SINCE = Gauge(
    "territoire_maintenance_dirty_waiting_since_timestamp_seconds",
    "Since when the hour waits that has waited longest to be rolled up; 0: none does",
)
PRUNED_ROWS = Counter("territoire_maintenance_pruned_rows_total", "Rows deleted by age", ["table"])
DROPPED_CHUNKS = Counter("territoire_maintenance_dropped_chunks_total", "Chunks dropped by age", ["hypertable"])
PUT_OFF = Counter(
    "territoire_maintenance_put_off_total", "Parts of housekeeping that a backup or a long query held", ["what"]
)
COMPRESSED_CHUNKS = Counter("territoire_maintenance_compressed_chunks_total", "Chunks compressed by us")
COMPRESSES = Gauge("territoire_maintenance_compression_enabled", "1 where TimescaleDB's edition has compression")
FEED_HELD = Gauge(
    "territoire_maintenance_feed_held_seconds",
    "How long one transaction has kept readers of the feed waiting; 0: none",
)
ROLLUPS_BEYOND = Gauge(
    "territoire_maintenance_rollups_beyond_parts", "Rollups after the last month that has a part of its table"
)
CHUNKS = Gauge("territoire_maintenance_chunks", "Chunks of a hypertable", ["hypertable", "compressed"])
OLDEST_CHUNK = Gauge(
    "territoire_maintenance_oldest_chunk_timestamp_seconds", "Where a hypertable begins", ["hypertable"]
)
TABLE_BYTES = Gauge("territoire_maintenance_table_bytes", "With indexes, chunks included", ["table"])
DATABASE_BYTES = Gauge("territoire_maintenance_database_bytes", "Size of the database")
DISK_LIMIT_BYTES = Gauge("territoire_maintenance_disk_limit_bytes", "What it may fill; 0: unknown")
DISK_BYTES = Gauge("territoire_maintenance_disk_bytes", "Size of the database's disk; 0: it is another machine's")
DISK_FREE_BYTES = Gauge("territoire_maintenance_disk_free_bytes", "What is left of it")
RESTORE_DRILL_AT = Gauge(
    "territoire_maintenance_restore_drill_success_timestamp_seconds",
    "When a restore that was tried has last gone well; before there was one, since when one is due; NaN: unknown",
)
RESTORE_DRILL_AT.set(math.nan)  # Until the database was asked: 0 is long ago, and rings.
RESTORE_DRILL_FAILED = Gauge("territoire_maintenance_restore_drill_failed", "1 where the last one has not")
COLD_READINGS = Counter("territoire_maintenance_cold_readings_total", "Readings written to cold files")
COLD_FAILURES = Counter(
    "territoire_maintenance_cold_failures_total", "What the folder of cold files has refused", ["reason"]
)
COLD_FAILED = Gauge("territoire_maintenance_cold_failed", "1 while the folder of cold files fails")
COLD_WAITING = Gauge("territoire_maintenance_cold_waiting_chunks", "Chunks that stay because of that")
