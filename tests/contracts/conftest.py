from tests.contracts.lns_rig import bench, lns, lns_broker, mortal_nats
from tests.contracts.partner_rig import partner
from tests.gateways.fixtures import bridge_settings, gateway_id, rig

__all__ = ["bench", "bridge_settings", "gateway_id", "lns", "lns_broker", "mortal_nats", "partner", "rig"]
