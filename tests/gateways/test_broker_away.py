"""Whether the broker lets the bridge read is in its metrics: what gateways bring by MQTT waits there meanwhile."""

from prometheus_client import REGISTRY

from core.runtime.postgres import Pool
from tests.gateways.fixtures import settings_of_bridge
from tests.gateways.stations import open_rig, until
from tests.services.test_dependencies_away import opened, way_of


async def test_a_broker_that_is_lost_and_comes_back_is_shown(
    pool: Pool, database_url: str, nats_url: str, mqtt_url: str, gateway_mqtt_url: str
) -> None:
    way, url = way_of(mqtt_url)
    broker = {"broker": f"127.0.0.1:{way.port}"}

    async def is_shown(connected: float) -> bool:
        return REGISTRY.get_sample_value("territoire_gateway_bridge_mqtt_connected", broker) == connected

    listening = await opened(way, way.port)
    async with open_rig(settings_of_bridge(database_url, nats_url, url), pool, gateway_mqtt_url):
        await until(lambda: is_shown(1), 20)
        listening.close()
        await way.close()
        await until(lambda: is_shown(0), 20)
        async with await opened(way, way.port):
            await until(lambda: is_shown(1), 20)
            await way.close()
