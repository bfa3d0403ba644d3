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
from lab.load import frames
from lab.load.device import LoadDevice
from lab.load.gateway import LoadGateway
from lab.load.load import Load
from lab.load.plan import payload_pool, plan_load_devices, plan_load_gateways
from lab.load.upkeep import join, keep_paths_open
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


def joined(devices: list[LoadDevice]) -> list[LoadDevice]:
    for device in devices:
        device.dev_addr = DevAddr(secrets.token_bytes(4))
        device.cipher = SessionCipher(SessionKeys(secrets.token_bytes(16), secrets.token_bytes(16)))
    return devices


def devices_of(count: int) -> list[LoadDevice]:
    return [
        LoadDevice(
            number,
            plan.dev_eui,
            b"joineui1",
            plan.app_key,
            payload_pool(plan.application, 1_795_000_000_000_000),
            random.Random(number),
        )
        for number, plan in enumerate(plan_load_devices(count, "test"))
    ]


@asynccontextmanager
async def on_air(
    devices: list[LoadDevice], gateways: int, copies: float = 1.0
) -> AsyncGenerator[tuple[Load, Server]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: Server({device.dev_eui: device.app_key for device in devices}), local_addr=("127.0.0.1", 0)
    )
    address = transport.get_extra_info("sockname")
    forwarders = [
        LoadGateway(GatewayId(plan.gateway_id), address, number * 1_000_000_007, frames.signals(plan.name))
        for number, plan in enumerate(plan_load_gateways(gateways, "test"))
    ]
    load = Load(TENANT, "key", devices, forwarders, copies)
    load.air.later = lambda _at_us, act: act()  # What is on the air later is heard now.
    flying = asyncio.create_task(load.air.run())
    try:
        yield load, server
    finally:
        flying.cancel()
        await asyncio.gather(flying, return_exceptions=True)
        transport.close()
        for forwarder in forwarders:
            forwarder.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - What arrives on a socket has no event of ours.
            await asyncio.sleep(0.01)


async def test_plays_as_many_uplinks_as_it_says_and_keeps_their_account() -> None:
    devices = joined(devices_of(40))

    async with on_air(devices, gateways=4) as (load, server):
        played = await load.play(400, 0.5)
        await until(lambda: len(server.copies) == 200)
        await until(lambda: load.acknowledged == load.pushed)

    sent = load.sent
    assert (played.uplinks, load.sent_count, len(sent), load.forwarded) == (200, 200, 200, 200)
    assert Counter(uplink.f_cnt for uplink in sent) == dict.fromkeys(range(5), 40)
    assert balance(sent, Counter(key_of(uplink) for uplink in sent), set()).balances
    by_address = {device.dev_addr: device for device in devices}
    heard = {(uplink.dev_addr, uplink.f_cnt): uplink for uplink in sent}
    for gateway_id, phy_payload, time_us in server.copies:
        frame = UplinkFrame.from_bytes(phy_payload)
        cipher = by_address[frame.dev_addr].cipher
        uplink = heard[frame.dev_addr, frame.f_cnt]
        assert cipher is not None
        assert cipher.verify_uplink(phy_payload, frame.dev_addr, frame.f_cnt)
        assert (uplink.heard_by, uplink.sent_at_us) == ([gateway_id], time_us)


async def test_every_gateway_that_hears_a_device_pushes_its_own_copy() -> None:
    async with on_air(joined(devices_of(40)), gateways=6, copies=2.5) as (load, server):
        await load.play(400, 0.5)
        await until(lambda: len(server.copies) == load.forwarded)

    copies = Counter(phy_payload for _, phy_payload, _ in server.copies)
    assert len(copies) == 200
    assert set(copies.values()) == {2, 3}
    heard = Counter((gateway_id, time_us) for gateway_id, _, time_us in server.copies)
    assert heard == Counter(
        (gateway_id, uplink.sent_at_us) for uplink in load.sent for gateway_id in uplink.heard_by
    )


async def test_a_burst_is_cut_into_datagrams_of_eight_packets() -> None:
    async with on_air(joined(devices_of(60)), gateways=1) as (load, server):
        await load.play(2_000, 0.1)
        await until(lambda: len(server.copies) == 200)

    assert server.largest == 8


async def test_more_than_its_devices_can_send_is_refused() -> None:
    async with on_air(joined(devices_of(2)), gateways=1) as (load, _):
        with pytest.raises(ValueError, match="50/s each of 2 devices"):
            await load.play(101, 1)


async def test_a_server_that_is_away_costs_its_uplinks_and_nothing_else() -> None:
    async with on_air(joined(devices_of(40)), gateways=2) as (load, server):
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
    devices = devices_of(2)

    async with on_air(devices, gateways=1) as (load, server):
        server.ignored_joins = 1
        paths = asyncio.create_task(keep_paths_open(load.gateways))
        await join(load.gateways[0], devices, answer_us=400_000, pause_us=1)
        paths.cancel()

    assert load.joined == 2
    assert server.tx_acks == 2
    assert load.uptimes[load.gateways[0].gateway_id].answered_us


def test_an_accept_of_an_earlier_request_begins_no_session() -> None:
    device = devices_of(1)[0]
    device.join_request()
    earlier = device.dev_nonce
    device.join_request()
    accept = JoinAccept(1, 0, DevAddr(bytes(4))).to_bytes(device.app_key)

    assert earlier is not None
    assert not device.accept(accept, earlier)
    assert device.dev_nonce is not None
    assert device.accept(accept, device.dev_nonce)
    assert not device.accept(accept, earlier)


def test_a_gateway_may_push_to_one_server_and_pull_from_another_and_be_turned_to_a_third() -> None:
    servers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for server in servers:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
    pushed, pulled, third = servers
    gateway = LoadGateway(
        GatewayId(bytes(8)), pushed.getsockname(), 0, frames.signals("split"), pulls_from=pulled.getsockname()
    )
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
