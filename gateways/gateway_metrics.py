"""Prometheus metrics of each registered gateway."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge

from lorawan.airtime import Usage

FRAMES = Counter(
    "territoire_gateway_bridge_gateway_frames_total",
    "What each registered gateway brought to this replica, as of the last time it was saved",
    ["gateway_id", "what"],
)
ROUND_TRIP = Gauge(
    "territoire_gateway_bridge_gateway_round_trip_seconds",
    "The last time to a gateway and back that was measured",
    ["gateway_id"],
)
ONLINE = Gauge(
    "territoire_gateway_bridge_gateway_online",
    "1 while this replica holds the gateway's downlink path",
    ["gateway_id"],
)
LAST_SEEN = Gauge(
    "territoire_gateway_bridge_gateway_last_seen_timestamp_seconds",
    "When the gateway was last heard of: by this replica, or, before that, as the database had it at the start",
    ["gateway_id"],
)
DOWNLINKS = Counter(
    "territoire_gateway_bridge_gateway_downlinks_total",
    "Requests to transmit through the gateway, by their answer",
    ["gateway_id", "result"],
)
DUTY_CYCLE = Gauge(
    "territoire_gateway_bridge_duty_cycle_ratio",
    "How much of the hour that the law allows is used up, by the first frequency of the sub-band",
    ["gateway_id", "sub_band_hz"],
)
ADDRESS_CHANGES = Counter(
    "territoire_gateway_bridge_gateway_address_changes_total",
    "How often the gateway spoke from another address, or somebody in its name while the former one still spoke",
    ["gateway_id", "verdict"],
)

_EVERY = (FRAMES, ROUND_TRIP, ONLINE, LAST_SEEN, DOWNLINKS, DUTY_CYCLE, ADDRESS_CHANGES)


def show_known(gateway_id: bytes) -> None:
    """Show that nobody has spoken in the name of this gateway yet: the first who does rings."""
    ADDRESS_CHANGES.labels(gateway_id.hex(), "refused")


def show_duty_cycle(gateway_id: bytes, used: Iterable[Usage]) -> None:
    """Show the use of each sub-band, by the ledger."""
    for usage in used:
        series = DUTY_CYCLE.labels(gateway_id.hex(), str(usage.sub_band.low))
        series.set(usage.used_us / usage.sub_band.hourly_airtime_us)


def forget(gateway_id: bytes) -> None:
    """Remove the metrics of a gateway that is no longer registered."""
    for metric in _EVERY:
        metric.remove_by_labels({"gateway_id": gateway_id.hex()})
