"""The metrics of intake."""

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter(
    "territoire_intake_messages_total", "Messages of other LNS, by kind of source and outcome", ["kind", "result"]
)
PUBLISH_SECONDS = Histogram(
    "territoire_intake_publish_seconds",
    "From an uplink that is understood until the bus has acknowledged it",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
CONNECTED = Gauge("territoire_intake_mqtt_connections", "MQTT sources whose broker this replica is connected to")
DOWNLINKS = Counter(
    "territoire_intake_downlinks_total",
    "Downlinks of other LNS, by kind of source and by what came of the hand-over or of a report",
    ["kind", "result"],
)
THROTTLED = Counter("territoire_intake_throttled_total", "Requests beyond a source's rate, by kind", ["kind"])
