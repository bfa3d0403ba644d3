"""What a gateway has kept: each frame at its own instant, the oldest first, and all in the load's account."""

import random
import secrets

from core.model.entities import Tenant
from lab.chaos.faults.ill_will import join_of_nobody, reception_of
from lab.chaos.faults.replay import AWAY, LIVE, buffered
from lab.device.device import DeviceSession
from lab.fleet.benchmark import plan_benchmark
from lab.gateway import rxpk
from lab.load.load import Load, Servers
from lab.radio.medium import RadioMedium
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.frame import UplinkFrame
from lorawan.gateway.semtech_rxpk import RxPk
from lorawan.gateway.semtech_udp import PushData, parse_datagram
from lorawan.identifiers import DevAddr
from lorawan.join import JoinRequest

NOW = 1_800_000_000_000_000


def load_of(devices: int, gateways: int = 1) -> Load:
    plan = plan_benchmark("kept", devices, gateways)
    medium = RadioMedium(random.Random(1), uplink_loss=0, downlink_loss=0, fading_db=0)
    load = Load(Tenant(1, "kept", "Kept", ()), "key", plan, "127.0.0.1", [Servers(9)], medium=medium)
    for device in load.devices:
        cipher = SessionCipher(SessionKeys(secrets.token_bytes(16), secrets.token_bytes(16)))
        device.session = DeviceSession(DevAddr(secrets.token_bytes(4)), cipher)
    return load


def parsed(gateway_id: bytes, packets: list[bytes]) -> list[RxPk]:
    push = parse_datagram(rxpk.push_data(1, gateway_id, packets))
    assert isinstance(push, PushData)
    return list(push.rxpks)


def test_kept_frames_are_spread_over_the_time_away_in_order_and_counted_once() -> None:
    load = load_of(4)
    datagrams = list(buffered(load, 20, NOW))
    received = [one for datagram in datagrams for one in parsed(load.gateways[0].gateway_id, datagram)]

    away_us, live_us = round(AWAY.total_seconds() * 1e6), round(LIVE.total_seconds() * 1e6)
    assert [len(datagram) for datagram in datagrams] == [8, 8, 4]
    assert [one.gps_time_us // 1000 for one in received if one.gps_time_us] == [
        (NOW - away_us + number * (away_us - live_us) // 20) // 1000 for number in range(20)
    ]
    frames = [UplinkFrame.from_bytes(one.phy_payload) for one in received]
    assert [frame.f_cnt for frame in frames] == [number // 4 for number in range(20)]
    assert sorted((one.dev_addr, one.f_cnt) for one in load.sent) == sorted(
        (frame.dev_addr, frame.f_cnt) for frame in frames
    )
    assert load.pacer.late_every == 0


def test_a_join_of_nobody_is_well_formed_and_of_no_key() -> None:
    load, source = load_of(3), random.Random(1)
    known = {bytes(device.dev_eui): device.app_key for device in load.devices}
    requests = [JoinRequest.from_bytes(join_of_nobody(load, source)) for _ in range(60)]

    of_known = [one for one in requests if bytes(one.dev_eui) in known]
    assert 15 < len(of_known) < 45
    assert not any(one.verify(known[bytes(one.dev_eui)]) for one in of_known)
    packet = reception_of(load.gateways[0], join_of_nobody(load, source))
    assert len(parsed(load.gateways[0].gateway_id, [packet])) == 1
