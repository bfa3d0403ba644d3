"""Frames on the air of a session that the network knows: signed, with commands that nobody asked for, or spoilt.

A second device, at another gateway, sends a confirmed frame behind them: it must be acknowledged before its RX1.
Of 20,000 messages there are 2,000 such. RX1's sub-band has room for 873 acknowledgements in an hour (1 %, 41.2 ms
each at SF7), so that RX2, which has 10 %, must not be at SF12, where each takes a second of it.
"""

import asyncio
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, field, replace

from lab.chaos.fuzz.live import BURST, PAUSE_S, LiveFindings, Port, figures, play_live
from lab.chaos.fuzz.udp import LARGEST, REGISTRY_READ_WITHIN_S, register
from lab.chaos.scene import Scene
from lab.fleet.pilot import EM400
from lab.fleet.provision import Provisioner
from lab.fuzz import mutations
from lab.fuzz.radio import ADDRESS, CIPHER, KEYS, signed_frame
from lab.fuzz.target import source_of
from lab.gateway import rxpk
from lab.radio.clock import now_us
from lorawan.frame import DownlinkFrame, MalformedFrame
from lorawan.gateway.semtech_forwarder import PullResp, parse_answer, pull_data, tx_ack
from lorawan.gateway.semtech_udp import MalformedDatagram
from lorawan.identifiers import DevAddr, GatewayId
from lorawan.session import build_uplink

HOSTILE, HONEST = GatewayId(bytes.fromhex("0080e115000a9b74")), GatewayId(bytes.fromhex("0080e115000a9b75"))
GOOD_ADDRESS = DevAddr(bytes.fromhex("49be7df2"))
COUNTED = "territoire_gateway_bridge_uplinks_total"
# RX1 opens a second after the uplink; the gateway wants its frame some time before.
BEFORE_RX1_S = 0.8
# A device says again what is not acknowledged a while after its RX2 (RP002-1.0.4, ACK_TIMEOUT: 1 to 3 s).
REPEATED_AFTER_S = 4.0
RX2_SF9 = 3
SPOILT_SHARE = 0.2
SIGNAL = rxpk.signal(8.25, -71)
FREQUENCY, SPREADING_FACTOR = 868_100_000, 7


@dataclass(slots=True)
class Forwarder:
    """A packet forwarder with one socket."""

    gateway_id: GatewayId
    server: tuple[str, int]
    sent: int = 0
    _socket: socket.socket = field(init=False)
    _clock: rxpk.Clock = field(default_factory=rxpk.Clock)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(self.server)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def pull(self) -> None:
        """Open the downlink path, and keep it open."""
        await self._send(pull_data(secrets.token_bytes(2), self.gateway_id))

    async def push(self, phy_payload: bytes) -> None:
        """One frame."""
        at_us = now_us()
        common = rxpk.common_part(self._clock.text(at_us), rxpk.channel(FREQUENCY, SPREADING_FACTOR), phy_payload)
        one = rxpk.rxpk(at_us & 0xFFFF_FFFF, SIGNAL, common)
        await self._send(rxpk.push_data(self.sent, self.gateway_id, [one]))
        self.sent += 1

    async def _send(self, octets: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, octets)

    async def next_frame(self) -> bytes:
        """The next frame that is to be transmitted; it is taken at once."""
        while True:
            octets = await asyncio.get_running_loop().sock_recv(self._socket, LARGEST)
            try:
                answer = parse_answer(octets)
            except MalformedDatagram:
                continue
            if isinstance(answer, PullResp):
                await self._send(tx_ack(answer.token, self.gateway_id))
                return answer.txpk.phy_payload


async def play_radio(scene: Scene, cases: int, seed: str) -> LiveFindings:
    """Every frame is counted by the bridge; the other device goes on being answered."""
    run, findings = scene.processes.run, LiveFindings("phy-live", "PHYPayload et état MAC, par les ondes")
    findings.answered_within_s = BEFORE_RX1_S
    await _open_sessions(run.api_url, scene.load.api_key)
    hostile, honest = (Forwarder(one, (run.udp_host, run.udp_port)) for one in (HOSTILE, HONEST))
    f_cnt = 0

    async def send(case: int) -> None:
        source = source_of(seed, "phy-live", case)
        phy_payload = signed_frame(source, case)
        spoilt = mutations.octets(source, phy_payload) if source.random() < SPOILT_SHARE else phy_payload
        await hostile.push(spoilt)
        if case % BURST == 0:
            await hostile.pull()
            await asyncio.sleep(PAUSE_S)

    async def ask() -> None:
        nonlocal f_cnt
        await honest.pull()
        phy_payload = build_uplink(GOOD_ADDRESS, CIPHER, f_cnt, f_port=85, payload=b"\x01\x75\x5c", confirmed=True)
        f_cnt += 1
        while True:
            await honest.push(phy_payload)
            with suppress(TimeoutError):
                async with asyncio.timeout(REPEATED_AFTER_S):
                    while not _acknowledges(await honest.next_frame()):
                        pass
                    return

    async def count() -> int:
        return sum((await figures(run, "gateway_bridge", COUNTED)).values())

    answering = asyncio.create_task(_take_all(hostile), name="take hostile downlinks")
    try:
        await hostile.pull()
        await honest.pull()
        await asyncio.sleep(REGISTRY_READ_WITHIN_S)
        await play_live(findings, Port(send, ask, count, "network"), run, cases)
        findings.to_count = hostile.sent + honest.sent
    finally:
        answering.cancel()
        hostile.close()
        honest.close()
    return findings


def _acknowledges(phy_payload: bytes) -> bool:
    try:
        frame = DownlinkFrame.from_bytes(phy_payload)
    except MalformedFrame:
        return False
    return frame.dev_addr == GOOD_ADDRESS and frame.f_ctrl.ack


async def _take_all(forwarder: Forwarder) -> None:
    while True:
        await forwarder.next_frame()


async def _open_sessions(api_url: str, api_key: str) -> None:
    """Two devices that were another network's, with their sessions, and a gateway for each."""
    for gateway_id in (HOSTILE, HONEST):
        await register(api_url, api_key, gateway_id)
    api = Provisioner(api_url, api_key)
    try:
        profile_id = await api.create_profile(replace(EM400, name="Hostile"), 600)
        devices = [
            {
                "dev_eui": f"70b3d57ed00f{number:04x}",
                "name": f"Hostile {number}",
                "device_profile_id": profile_id,
                "session": {
                    "dev_addr": address.hex(),
                    "nwk_s_key": KEYS.nwk_s_key.hex(),
                    "app_s_key": KEYS.app_s_key.hex(),
                    "rx2_data_rate": RX2_SF9,
                },
            }
            for number, address in enumerate((ADDRESS, GOOD_ADDRESS))
        ]
        await api.post("/v1/device-imports", {"devices": devices})
    finally:
        await api.close()
