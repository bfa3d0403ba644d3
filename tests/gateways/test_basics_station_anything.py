"""Whatever comes over a station's connection, the bridge goes on."""

import asyncio
import json
import secrets

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.messages import topics
from lorawan.identifiers import GatewayId
from tests.gateways.stations import UPLINK, Rig, register
from tests.gateways.ws_station import JREQ, UPDF, ws_station

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
fields = st.dictionaries(st.sampled_from([*json.loads(UPDF), *json.loads(JREQ), "diid", "txtime"]), anything)
msgtypes = st.sampled_from(["updf", "jreq", "propdf", "dntxed", "timesync", "version", "rmtsh"])
messages = (
    st.text(max_size=100)
    | st.binary(max_size=100)
    | st.builds(lambda msgtype, said: json.dumps(said | {"msgtype": msgtype}), msgtypes, fields)
    | st.builds(lambda said: json.dumps(json.loads(UPDF) | said), fields)
)


async def on_the_air(rig: Rig, gateway_id: GatewayId) -> None:
    """Registered by the first example, reachable in every one."""
    if not await rig.pool.fetchval("SELECT count(*) FROM gateway WHERE gateway_id = $1", gateway_id):
        await register(rig.pool, gateway_id)
        await rig.bus.nudge(topics.REGISTRY_CHANGED)
    await rig.reachable(gateway_id)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(messages, max_size=20))
async def test_whatever_a_station_says_a_valid_frame_afterwards_is_handled(
    rig: Rig, gateway_id: GatewayId, said: list[str | bytes]
) -> None:
    async with ws_station(rig.station_url, gateway_id) as station:
        await on_the_air(rig, gateway_id)
        for message in said:
            await station.connection.send(message)
        marker = secrets.token_bytes(4)
        await station.receive(UPLINK[:-4] + marker)

        async with asyncio.timeout(30):
            while (await rig.frames(1))[-1].phy_payload[-4:] != marker:
                pass
