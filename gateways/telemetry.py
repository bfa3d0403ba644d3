"""The metrics of the gateway bridge."""

from prometheus_client import Counter, Gauge, Histogram

DATAGRAMS = Counter(
    "territoire_gateway_bridge_datagrams_total",
    "Datagrams, stations' messages and MQTT messages from gateways, by type and what became of them",
    ["type", "result"],
)
FRAMES = Counter("territoire_gateway_bridge_uplinks_total", "Copies of frames, by what became of them", ["result"])
DOWNLINKS = Counter(
    "territoire_gateway_bridge_downlinks_total", "Requests to transmit, by their answer", ["result"]
)
GATEWAYS_CONNECTED = Gauge(
    "territoire_gateway_bridge_gateways_connected", "Gateways whose downlink path this replica holds", ["frontend"]
)
ADDRESS_CHANGES = Counter(
    "territoire_gateway_bridge_address_changes_total",
    "Gateways that spoke from another address, and datagrams refused because the former one still spoke",
    ["verdict"],
)
MQTT_CONNECTED = Gauge(
    "territoire_gateway_bridge_mqtt_connected",
    "1 while the gateways' MQTT broker lets this process read, else 0; nothing where it reads none",
    ["broker"],
)
FEED = Counter(
    "territoire_gateway_bridge_chirpstack_messages_total",
    "Messages to and from the ChirpStack that our gateways feed, by kind and what became of them",
    ["kind", "result"],
)
SOCKET_DROPS = Counter(
    "territoire_gateway_bridge_socket_drops_total", "Datagrams that the kernel dropped because we were too slow"
)
QUEUE_DEPTH = Gauge("territoire_gateway_bridge_queue_frames", "Frames that wait for the bus", ["shard"])
PUBLISH_SECONDS = Histogram(
    "territoire_gateway_bridge_publish_seconds",
    "From the first try to publish a batch until the bus has acknowledged it",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
REGISTERED = Gauge("territoire_gateway_bridge_gateways_registered", "Gateways that the registry knows")
ROUND_TRIP_SECONDS = Histogram(
    "territoire_gateway_bridge_round_trip_seconds",
    "From a request to transmit until the gateway's answer",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2),
)
