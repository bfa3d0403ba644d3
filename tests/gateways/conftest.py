from tests.gateways.fixtures import bridge_settings, gateway_id, rig

__all__ = ["bridge_settings", "gateway_id", "rig"]
