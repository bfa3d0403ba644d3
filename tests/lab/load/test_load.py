"""A load against a forwarder's server of a few lines: the whole stack is the benchmark's and chaos' business."""

import asyncio
import random
import secrets
import select
import socket
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from core.model.entities import Tenant
from lab.device.device import DeviceSession
from lab.fleet.benchmark import plan_benchmark
from lab.gateway.udp import UdpGateway, keep_paths_open
from lab.load.joining import join_in_turn
from lab.load.load import Load, Servers
from lab.radio.medium import RadioMedium
from lab.simulator.account import balance, key_of
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.frame import MType, UplinkFrame, mtype_of
from lorawan.gateway.semtech_rxpk import RxPk
from lorawan.gateway.semtech_udp import (
    PullData,
    PushData,
    TxAck,
    TxPk,
    acknowledgement,
    parse_datagram,
    pull_resp,
)
from lorawan.identifiers import DevAddr, GatewayId
from lorawan.join import JoinAccept, JoinRequest
from lorawan.regions.region import Lora

TENANT = Tenant(1, "load", "Load", ())


@dataclass
class Server(asyncio.DatagramProtocol):
    """Acknowledges, notes, and answers join-requests by AppKey."""

    app_keys: dict[bytes, bytes] = field(default_factory=dict)
    ignored_joins: int = 0
    copies: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    pulls: Counter[bytes] = field(default_factory=Counter)
    tx_acks: int = 0
    largest: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.DatagramTransport = transport  # pyright: ignore[reportAttributeAccessIssue]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = acknowledgement(data)
        if answer is not None:
            self.transport.sendto(answer, addr)
        match parse_datagram(data):
            case PullData(gateway_id=gateway_id):
                self.pulls[gateway_id] += 1
            case TxAck():
                self.tx_acks += 1
            case PushData(gateway_id=gateway_id, rxpks=rxpks):
                self.largest = max(self.largest, len(rxpks))
                for rxpk in rxpks:
                    if mtype_of(rxpk.phy_payload) is MType.JOIN_REQUEST:
                        self._answer(rxpk, addr)
                    else:
                        self.copies.append((gateway_id, rxpk.phy_payload, rxpk.time_us or 0))

    def _answer(self, rxpk: RxPk, addr: tuple[str, int]) -> None:
        request = JoinRequest.from_bytes(rxpk.phy_payload)
        app_key = self.app_keys[request.dev_eui]
        assert request.verify(app_key)
        if self.ignored_joins:
            self.ignored_joins -= 1
            return
        accept = JoinAccept(request.dev_nonce, 0, DevAddr(secrets.token_bytes(4)))
        counter = ((rxpk.tmst or 0) + 5_000_000) & 0xFFFF_FFFF
        txpk = TxPk(accept.to_bytes(app_key), rxpk.frequency, Lora(7, 125_000), 14, counter)
        self.transport.sendto(pull_resp(b"\x01\x02", txpk), addr)


def give_sessions(load: Load) -> None:
    for device in load.devices:
        cipher = SessionCipher(SessionKeys(secrets.token_bytes(16), secrets.token_bytes(16)))
        device.session = DeviceSession(DevAddr(secrets.token_bytes(4)), cipher)


@asynccontextmanager
async def on_air(
    devices: int, gateways: int, receptions: float = 1.0, *, joined: bool = True
) -> AsyncGenerator[tuple[Load, Server]]:
    loop = asyncio.get_running_loop()
    plan = plan_benchmark("test", devices, gateways)
    transport, server = await loop.create_datagram_endpoint(
        lambda: Server({one.dev_eui: one.app_key for one in plan.devices}), local_addr=("127.0.0.1", 0)
    )
    host, port = transport.get_extra_info("sockname")
    # What is on the air later is received now.
    medium = RadioMedium(
        random.Random(1), uplink_loss=0, downlink_loss=0, fading_db=0, call_at=lambda _at_us, act: act()
    )
    load = Load(TENANT, "key", plan, host, [Servers(port)], receptions=receptions, medium=medium)
    if joined:
        give_sessions(load)
    for gateway in load.gateways:
        gateway.open()
    pacing = asyncio.create_task(load.pacer.run())
    try:
        yield load, server
    finally:
        pacing.cancel()
        await asyncio.gather(pacing, return_exceptions=True)
        transport.close()
        for gateway in load.gateways:
            gateway.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - What arrives on a socket has no event of ours.
            await asyncio.sleep(0.01)


async def test_plays_as_many_uplinks_as_it_says_and_keeps_their_account() -> None:
    async with on_air(40, gateways=4) as (load, server):
        played = await load.play(400, 0.5)
        await until(lambda: len(server.copies) == 200)
        await until(lambda: load.acknowledged == load.pushed)

    sent = load.sent
    assert (played.uplinks, load.sent_count, len(sent), load.forwarded) == (200, 200, 200, 200)
    assert Counter(uplink.f_cnt for uplink in sent) == dict.fromkeys(range(5), 40)
    assert balance(sent, Counter(key_of(uplink) for uplink in sent), set()).balances
    sessions = {one.session.dev_addr: one.session for one in load.devices if one.session is not None}
    by_frame = {(uplink.dev_addr, uplink.f_cnt): uplink for uplink in sent}
    for gateway_id, phy_payload, time_us in server.copies:
        frame = UplinkFrame.from_bytes(phy_payload)
        uplink = by_frame[frame.dev_addr, frame.f_cnt]
        assert sessions[frame.dev_addr].cipher.verify_uplink(phy_payload, frame.dev_addr, frame.f_cnt)
        assert (uplink.received_by, uplink.sent_at_us) == ([gateway_id], time_us)


async def test_every_gateway_in_range_of_a_device_pushes_its_own_reception() -> None:
    async with on_air(40, gateways=6, receptions=2.5) as (load, server):
        await load.play(400, 0.5)
        await until(lambda: len(server.copies) == load.forwarded)

    copies = Counter(phy_payload for _, phy_payload, _ in server.copies)
    assert len(copies) == 200
    assert set(copies.values()) == {2, 3}
    pushed = Counter((gateway_id, time_us) for gateway_id, _, time_us in server.copies)
    assert pushed == Counter(
        (gateway_id, uplink.sent_at_us) for uplink in load.sent for gateway_id in uplink.received_by
    )


async def test_a_burst_is_cut_into_datagrams_of_eight_packets() -> None:
    async with on_air(60, gateways=1) as (load, server):
        await load.play(2_000, 0.1)
        await until(lambda: len(server.copies) == 200)

    assert server.largest == 8


async def test_a_rate_above_what_its_devices_can_send_is_rejected() -> None:
    async with on_air(2, gateways=1) as (load, _):
        with pytest.raises(ValueError, match="50/s each of 2 devices"):
            await load.play(101, 1)


async def test_a_server_that_is_away_costs_its_uplinks_and_nothing_else() -> None:
    async with on_air(40, gateways=2) as (load, server):
        address = server.transport.get_extra_info("sockname")
        server.transport.abort()
        await until(server.transport.is_closing)
        await load.play(400, 0.1)
        loop = asyncio.get_running_loop()
        transport, back = await loop.create_datagram_endpoint(Server, local_addr=address)
        await load.play(400, 0.1)
        await until(lambda: len(back.copies) == 40)
        transport.close()

    assert load.sent_count == 80


async def test_devices_join_over_the_air_and_try_again_when_nobody_answers() -> None:
    async with on_air(2, gateways=1, joined=False) as (load, server):
        server.ignored_joins = 1
        paths = asyncio.create_task(keep_paths_open(load.gateways))
        await join_in_turn(load.devices, answer_us=400_000, pause_us=1)
        paths.cancel()

    assert load.joined == 2
    assert server.tx_acks == 2
    assert load.uptimes[load.gateways[0].gateway_id].answered_us


def test_a_gateway_may_push_to_one_server_and_pull_from_another_and_be_turned_to_a_third() -> None:
    servers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for server in servers:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
    pushed, pulled, third = servers
    gateway = UdpGateway(
        GatewayId(bytes(8)), "split", 0, 0, RadioMedium(random.Random(1)), server=pushed.getsockname(),
        pulls_from=pulled.getsockname(),
    )  # fmt: skip
    gateway.open()
    try:
        gateway.push([b"{}"])
        gateway.pull()
        _, push_source = pushed.recvfrom(2_048)
        datagram, pull_source = pulled.recvfrom(2_048)
        pulled.sendto(acknowledgement(datagram) or b"", pull_source)
        gateway.turn_to(third.getsockname())
        gateway.push([b"{}"])
        _, turned_source = third.recvfrom(2_048)
        answered, _, _ = select.select(sorted(gateway.filenos()), [], [], 5)
        gateway.read()
    finally:
        gateway.close()
        for server in servers:
            server.close()

    assert push_source != pull_source
    assert turned_source == push_source
    assert len(answered) == 1
    assert gateway.uptime.back_after(0) is not None
