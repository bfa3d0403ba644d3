"""Live frames: published while somebody looks, sampled, and of nobody else's devices."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages import topics
from core.messages.live_frames import (
    NO_MORE_LOOKS,
    LiveFrame,
    LiveReception,
    Look,
    decode_live_frame,
    encode_live,
)
from lorawan.frame import UplinkFCtrl
from network.held_state import DeviceCache
from network.live_frames import FRAMES_AT_ONCE, MOST_LOOKS_OF_ONE, LiveFrames, visible_part
from tests.network.conftest import GATEWAYS, PATIENCE_S, Network

OURS, THEIRS = 1, 2
DEVICE, STRANGER = bytes([0xD1] * 8), bytes([0xD2] * 8)
# With one octet of payload, and with a LinkCheckReq in FOpts.
PHY = bytes.fromhex("40040302018107000202aa8a1e2c41")
HEADER = PHY[:10]
NAMES = {"dev_eui": DEVICE, "dev_addr": b"\1\2\3\4", "f_cnt": 7, "f_port": 2, "phy_payload": PHY}


def frame(*gateways: bytes, **fields) -> LiveFrame:
    receptions = [LiveReception(gateway_id, -80.0, 5.0) for gateway_id in gateways or GATEWAYS[:1]]
    return LiveFrame("data_up", 0, "accepted", 20, 868_100_000, 7, receptions, **(NAMES | fields))


def look(**fields) -> Look:
    values = {"tenant_ids": [OURS], "gateway_ids": [], "is_operator": False} | fields
    return Look("a", 10.0, **values)


def is_nameless(shown: LiveFrame) -> bool:
    named = (shown.dev_eui, shown.dev_addr, shown.f_cnt, shown.f_port, shown.phy_payload)
    return shown.is_hidden and named == (b"", b"", None, None, b"")


def is_header(shown: LiveFrame) -> bool:
    return shown.is_hidden and (shown.dev_eui, shown.phy_payload) == (b"", HEADER)


def test_frames_of_ones_own_devices_are_shown_as_they_are() -> None:
    assert visible_part(frame(), OURS, look()) == frame()


def test_frames_of_anothers_devices_are_shown_without_a_name_to_whose_gateway_received_them() -> None:
    shown = visible_part(frame(*GATEWAYS[:2]), THEIRS, look(gateway_ids=[GATEWAYS[1]]))

    assert shown is not None
    assert is_nameless(shown)
    assert [one.gateway_id for one in shown.receptions] == [GATEWAYS[1]]
    assert visible_part(frame(*GATEWAYS[:2]), THEIRS, look(gateway_ids=[GATEWAYS[2]])) is None


def test_the_operator_sees_headers_of_every_frame_and_names_and_payload_of_its_own_devices_alone() -> None:
    operator = look(is_operator=True)
    theirs, unknown = visible_part(frame(), THEIRS, operator), visible_part(frame(), None, operator)

    assert theirs is not None
    assert is_header(theirs)
    assert (theirs.dev_addr, theirs.f_cnt, theirs.f_port) == (b"\1\2\3\4", 7, 2)
    assert unknown == frame()


def test_a_look_at_one_device_shows_its_frames_alone() -> None:
    at_it = look(dev_eui=DEVICE, is_operator=True, gateway_ids=list(GATEWAYS))

    assert visible_part(frame(), OURS, at_it) == frame()
    assert visible_part(frame(dev_eui=STRANGER), OURS, at_it) is None
    # A join-request that is refused is of no device that is known, and says whose it is.
    assert visible_part(frame(dev_addr=b""), None, at_it) == frame(dev_addr=b"")
    assert visible_part(frame(), THEIRS, at_it) is None


def test_a_look_at_one_gateway_shows_what_it_receives_alone() -> None:
    at_it = look(gateway_id=GATEWAYS[1])

    assert visible_part(frame(*GATEWAYS[:2]), OURS, at_it) == frame(*GATEWAYS[:2])
    assert visible_part(frame(GATEWAYS[0]), OURS, at_it) is None


@given(
    tenant_id=st.none() | st.integers(1, 3),
    is_operator=st.booleans(),
    own=st.lists(st.sampled_from(GATEWAYS), unique=True),
    by=st.lists(st.sampled_from(GATEWAYS), min_size=1, unique=True),
    dev_eui=st.sampled_from([b"", DEVICE, STRANGER]),
    gateway_id=st.sampled_from([b"", *GATEWAYS]),
)
def test_no_tenant_sees_anothers_devices(
    tenant_id: int | None,
    is_operator: bool,
    own: list[bytes],
    by: list[bytes],
    dev_eui: bytes,
    gateway_id: bytes,
) -> None:
    viewer = look(gateway_ids=own, is_operator=is_operator, dev_eui=dev_eui, gateway_id=gateway_id)

    shown = visible_part(frame(*by), tenant_id, viewer)

    if shown is not None and tenant_id not in (None, OURS):
        assert is_header(shown) if is_operator else is_nameless(shown)
        assert is_operator or {one.gateway_id for one in shown.receptions} <= set(own)
    if shown is not None and tenant_id is None and not is_operator:
        assert is_nameless(shown) or shown.dev_eui == dev_eui == DEVICE


async def test_more_than_people_read_is_left_out_and_counted(network) -> None:
    now = 0.0
    live = LiveFrames(network.bus, DeviceCache(), lambda: now)
    viewer = Viewer(network, look(is_operator=True))
    await viewer.open()
    running = asyncio.create_task(live.run())
    live.open_look(viewer.look)
    for _ in range(FRAMES_AT_ONCE + 5):
        live.record_downlink(frame(), 0)
    now = 1.0
    live.record_downlink(frame(), 0)

    shown = [await viewer.next() for _ in range(FRAMES_AT_ONCE + 1)]
    running.cancel()
    assert [one.left_out for one in shown] == [0] * FRAMES_AT_ONCE + [5]


async def test_looks_end_and_one_beyond_those_of_a_tenant_is_answered_that_there_are_no_more(network) -> None:
    now = 0.0
    live = LiveFrames(network.bus, DeviceCache(), lambda: now)
    for number in range(MOST_LOOKS_OF_ONE):
        live.open_look(Look(str(number), 5.0, [OURS], [], False))
    refused = asyncio.Event()

    async def collect(_subject: str, data: bytes) -> None:
        assert data == NO_MORE_LOOKS
        refused.set()

    await network.bus.subscribe(topics.live_frames("ninth"), collect)
    running = asyncio.create_task(live.run())
    live.open_look(Look("ninth", 5.0, [OURS], [], False))
    live.open_look(Look("ended", 0.0, [THEIRS], [], False))
    live.open_look(Look("theirs", 5.0, [THEIRS], [], False))
    opened = set(live.looks)
    async with asyncio.timeout(PATIENCE_S):
        await refused.wait()
    running.cancel()
    now = 5.0
    live.record_downlink(frame(), 0)

    assert opened == {*(str(number) for number in range(MOST_LOOKS_OF_ONE)), "theirs"}
    assert live.looks == {}


class Viewer:
    """Looks, through the bus alone, until its test ends."""

    def __init__(self, network: Network, look: Look) -> None:
        self.network = network
        self.look = look
        self.frames: asyncio.Queue[LiveFrame] = asyncio.Queue()

    async def open(self) -> None:
        async def collect(_subject: str, data: bytes) -> None:
            await self.frames.put(decode_live_frame(data))

        await self.network.bus.subscribe(topics.live_frames(self.look.id), collect)
        await self.network.bus.nudge(topics.LIVE_LOOKS, encode_live(self.look))

    async def next(self) -> LiveFrame:
        async with asyncio.timeout(PATIENCE_S):
            return await self.frames.get()


async def test_what_gateways_receive_and_what_network_decides_is_published_only_while_somebody_looks(
    network: Network,
) -> None:
    published: list[str] = []

    async def count(subject: str, _data: bytes) -> None:
        published.append(subject)

    await network.bus.subscribe("territoire.live.frames.*", count)
    device = await network.joined()
    await network.receive(device.uplink(confirmed=True), GATEWAYS[:2])
    await network.bridge.next()
    await network.all_acknowledged()
    before = list(published)
    tenant_id = await network.pool.fetchval("SELECT tenant_id FROM device")
    viewer = Viewer(network, Look("v", 60.0, [tenant_id], [], False))
    await viewer.open()

    shown: LiveFrame | None = None
    async with asyncio.timeout(PATIENCE_S):
        while shown is None:  # Until the network has heard of the viewer.
            await network.receive(device.uplink(f_ctrl=UplinkFCtrl()), GATEWAYS[:2])
            await network.all_acknowledged()
            await asyncio.sleep(0.1)
            shown = None if viewer.frames.empty() else await viewer.next()
    while not viewer.frames.empty():
        await viewer.next()
    await network.receive(device.uplink(confirmed=True), GATEWAYS[:1])
    uplink, downlink = await viewer.next(), await viewer.next()

    assert before == []
    assert (shown.kind, shown.outcome, shown.dev_eui) == ("data_up", "accepted", device.dev_eui)
    assert [one.gateway_id for one in shown.receptions] == list(GATEWAYS[:2])
    assert (uplink.f_port, uplink.dev_addr, uplink.f_cnt) == (2, device.dev_addr, device.f_cnt - 1)
    assert (downlink.kind, downlink.outcome, downlink.dev_eui) == ("downlink", "OK", device.dev_eui)


@pytest.mark.parametrize("is_operator", [True, False])
async def test_frames_of_no_known_device_are_shown_to_the_operator_alone(
    network: Network, is_operator: bool
) -> None:
    device = await network.joined()
    tenant_id = await network.pool.fetchval("SELECT tenant_id FROM device")
    viewer = Viewer(network, Look("v", 60.0, [tenant_id], [], is_operator))
    await viewer.open()
    foreign = bytes.fromhex("40f17dbe4900020001954378762b11ff0d")

    found: dict[str, LiveFrame] = {}
    async with asyncio.timeout(PATIENCE_S):
        while "accepted" not in found:
            await network.receive(foreign)
            await network.receive(device.uplink())
            await network.all_acknowledged()
            await asyncio.sleep(0.1)
            while not viewer.frames.empty():
                one = await viewer.next()
                found[one.outcome] = one

    assert ("unknown_dev_addr" in found) == is_operator
