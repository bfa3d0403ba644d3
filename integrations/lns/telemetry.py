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
APPLICATION_EVENTS = Counter(
    "territoire_intake_application_events_total",
    "Events for partners' applications, by kind and by what came of the attempt",
    ["kind", "result"],
)
APPLICATION_DROPPED = Counter(
    "territoire_intake_application_dropped_total", "Events for applications that nobody publishes any more"
)
APPLICATION_WITHHELD = Counter(
    "territoire_intake_application_withheld_total", "Events that the owner of an MQTT access may not see"
)
APPLICATION_COMMANDS = Counter(
    "territoire_intake_application_commands_total", "Commands of applications, by what became of them", ["result"]
)
APPLICATIONS_CONNECTED = Gauge(
    "territoire_intake_application_connections", "Applications whose broker this replica is connected to"
)
ACCOUNT_CHANGES = Counter(
    "territoire_intake_mqtt_account_changes_total", "Accounts made or removed at our own MQTT broker", ["change"]
)
ACCOUNT_FAILURES = Counter(
    "territoire_intake_mqtt_account_failures_total",
    "Attempts to bring our broker's accounts up to date that failed, by reason: away, refused (the account that "
    "makes them is not admitted), rejected (a command), wrong_kek (the password of one does not open)",
    ["reason"],
)
ACCOUNT_BROKER_CONNECTED = Gauge(
    "territoire_intake_mqtt_account_connections", "1 at the replica that makes the accounts of our MQTT broker"
)
