"""Whatever comes as datagrams or over MQTT, the bridge goes on: a valid frame afterwards is handled."""

import asyncio
import json
import secrets

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.messages import topics
from lorawan.identifiers import GatewayId
from tests.gateways.stations import UPLINK, Rig, UdpStation, register

RXPK = {
    "tmst": 1,
    "freq": 868.1,
    "modu": "LORA",
    "datr": "SF7BW125",
    "codr": "4/5",
    "rssi": -71,
    "lsnr": 8.25,
    "size": 17,
    "data": "QPF9vkkAIAABlUN4disR/w0=",
}
STAT = {"time": "2014-01-12 08:59:28 GMT", "rxnb": 1, "rxok": 1, "rxfw": 1, "ackr": 100.0, "dwnb": 0, "txnb": 0}
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers())
elements = st.builds(
    lambda said: RXPK | said, st.dictionaries(st.sampled_from([*RXPK, "rsig", "tmms", "time"]), values)
)
bodies = (
    st.binary(max_size=300)
    | st.builds(lambda rxpk: json.dumps({"rxpk": rxpk}).encode(), st.lists(elements, max_size=5))
    | st.builds(
        lambda stat: json.dumps({"stat": STAT | stat}).encode(), st.dictionaries(st.sampled_from([*STAT]), values)
    )
    | st.builds(lambda cut, rxpk: json.dumps({"rxpk": [rxpk]}).encode()[:cut], st.integers(0, 200), elements)
)
datagrams = st.binary(max_size=40) | st.tuples(st.integers(0, 3), st.integers(0, 7), bodies)


async def registered(rig: Rig, gateway_id: GatewayId) -> None:
    """By the first example; reachable in every one."""
    if not await rig.pool.fetchval("SELECT count(*) FROM gateway WHERE gateway_id = $1", gateway_id):
        await register(rig.pool, gateway_id)
        await rig.bus.nudge(topics.REGISTRY_CHANGED)
    await rig.reachable(gateway_id)


def marked() -> tuple[bytes, bytes]:
    marker = secrets.token_bytes(4)
    return UPLINK[:-4] + marker, marker


async def arrives(rig: Rig, marker: bytes) -> None:
    async with asyncio.timeout(30):
        while all(frame.phy_payload[-4:] != marker for frame in await rig.frames(1)):
            pass


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(datagrams, max_size=20))
async def test_whatever_datagrams_come_a_valid_frame_afterwards_is_acknowledged_and_handled(
    rig: Rig, gateway_id: GatewayId, said: list[bytes | tuple[int, int, bytes]]
) -> None:
    async with rig.udp_station(gateway_id) as station:
        await station.speak()
        await registered(rig, gateway_id)
        for datagram in said:
            if isinstance(datagram, tuple):
                version, kind, body = datagram
                await station.say(bytes([version, 0, 1, kind]) + gateway_id + body)
            else:
                await station.say(datagram)
        phy_payload, marker = marked()

        await station.receive(phy_payload)  # Returns once it is acknowledged.

        await arrives(rig, marker)
        assert isinstance(station, UdpStation)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(
        st.tuples(
            st.sampled_from(["event/up", "event/stats", "event/ack", "event/exec", "state/conn", "event/x"]),
            st.binary(max_size=200) | st.builds(lambda body: b'{"gatewayID":' + body, st.binary(max_size=60)),
        ),
        max_size=15,
    )
)
async def test_whatever_comes_over_mqtt_a_valid_frame_afterwards_is_handled(
    rig: Rig, gateway_id: GatewayId, said: list[tuple[str, bytes]]
) -> None:
    async with rig.mqtt_station(gateway_id, prefix="") as station:
        await register_first(rig, gateway_id)
        for event, octets in said:
            await station.publish(event, octets)
        phy_payload, marker = marked()

        async with asyncio.timeout(15):
            while True:
                await station.receive(phy_payload)
                try:
                    async with asyncio.timeout(1):
                        await arrives(rig, marker)
                except TimeoutError:
                    continue  # It is not known yet that the gateway is registered.
                break


async def register_first(rig: Rig, gateway_id: GatewayId) -> None:
    if not await rig.pool.fetchval("SELECT count(*) FROM gateway WHERE gateway_id = $1", gateway_id):
        await register(rig.pool, gateway_id)
        await rig.bus.nudge(topics.REGISTRY_CHANGED)
