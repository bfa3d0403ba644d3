"""Metrics of indicators."""

from prometheus_client import Counter, Gauge

FILL_DAYS_MADE = Counter("territoire_indicators_fill_days_made_total", "Days of bins made anew from readings")
FILL_DAYS_KEPT = Counter(
    "territoire_indicators_fill_days_kept_total",
    "Days of bins left as they are, since their readings were deleted",
)
REBUILDS = Counter(
    "territoire_indicators_rebuilds_total", "Times that all days were made anew, since the feed did not say which"
)
PASSES = Counter("territoire_indicators_passes_total", "Passes by job and outcome", ["task", "outcome"])
LAST_SUCCESS = Gauge(
    "territoire_indicators_last_success_timestamp_seconds",
    "End of the last pass that went well here; before there was one, since when one is due",
    ["task"],
)
