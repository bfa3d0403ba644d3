"""Frames that are no uplinks: counted, and nothing else (docs/protocols.md, "Matrix", rows 31 and 48)."""

import pytest
from prometheus_client import REGISTRY

from core.messages import topics
from core.messages.batch import encode_batch
from lorawan.frame import MType


def counted(m_type: MType, outcome: str) -> float:
    labels = {"mtype": m_type.name.lower(), "outcome": outcome}
    return REGISTRY.get_sample_value("territoire_network_frames_total", labels) or 0.0


async def publish_anyway(network, phy_payload: bytes) -> None:
    """As a bridge would publish it if it routed such frames."""
    await network.bus.publish(topics.frames(0), encode_batch(network.frames_of(phy_payload)))
    await network.all_acknowledged()


@pytest.mark.parametrize(
    "m_type",
    [
        MType.JOIN_ACCEPT,
        MType.UNCONFIRMED_DATA_DOWN,
        MType.CONFIRMED_DATA_DOWN,
        MType.REJOIN_REQUEST,
        MType.PROPRIETARY,
    ],
)
async def test_a_frame_of_another_type_is_ignored_and_counted(network, m_type: MType) -> None:
    device = await network.joined()
    before = counted(m_type, "ignored")

    await publish_anyway(network, bytes((m_type << 5,)) + device.uplink()[1:])

    assert counted(m_type, "ignored") == before + 1
    assert network.uplinks.empty()
    assert network.bridge.requests.empty()
    assert await network.pool.fetchval("SELECT f_cnt_up FROM session") == 1


async def test_a_frame_with_commands_in_f_opts_and_under_f_port_0_is_dropped(network) -> None:
    device = await network.joined()
    m_type = MType.UNCONFIRMED_DATA_UP
    before = counted(m_type, "malformed")
    with_f_opts = device.uplink(b"x", f_opts=b"\x02", f_port=1)
    both = with_f_opts[:9] + b"\x00" + with_f_opts[10:]

    await network.receive(both)
    await network.all_acknowledged()

    assert counted(m_type, "malformed") == before + 1
    assert network.uplinks.empty()
