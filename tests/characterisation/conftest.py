"""The worlds of other tests, gathered here under the fixtures' own names."""

from tests.alerting.conftest import make_place, place, receiver
from tests.contracts.lns_rig import bench, lns, lns_broker
from tests.contracts.partner_rig import partner
from tests.gateways.fixtures import bridge_settings, gateway_id, rig
from tests.ingest.conftest import bus, ingesting, make_uplink, planted, planted_in, send, until_drained
from tests.network.conftest import clock, idle_network, network

__all__ = [
    "bench",
    "bridge_settings",
    "bus",
    "clock",
    "gateway_id",
    "idle_network",
    "ingesting",
    "lns",
    "lns_broker",
    "make_place",
    "make_uplink",
    "network",
    "partner",
    "place",
    "planted",
    "planted_in",
    "receiver",
    "rig",
    "send",
    "until_drained",
]
