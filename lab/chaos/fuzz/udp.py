"""Datagrams at the bridge: of one registered gateway's socket, which also asks whether it still answers."""

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable

from lab.chaos.fuzz.live import BURST, PAUSE_S, LiveFindings, Port, figures, play_live
from lab.chaos.scene import Scene
from lab.fleet.provision import Provisioner
from lab.fuzz.gateways import GATEWAY, datagram
from lab.fuzz.target import source_of
from lorawan.gateway.semtech_forwarder import pull_data
from lorawan.gateway.semtech_udp import DatagramType

KNOWN_WITHIN_S = 20.0
# Each replica reads the registry again every five seconds.
REGISTRY_READ_WITHIN_S = 6.0
LARGEST = 65_535
COUNTED = "territoire_gateway_bridge_datagrams_total"


async def play_udp(scene: Scene, cases: int, seed: str) -> LiveFindings:
    """The load is silent meanwhile, so that what is counted is ours but for its gateways' statuses."""
    run, findings = scene.processes.run, LiveFindings("udp-live", "Datagrammes UDP, au pont")
    await register(run.api_url, scene.load.api_key, GATEWAY)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaking:
        speaking.setblocking(False)
        speaking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        speaking.connect((run.udp_host, run.udp_port))
        sent = 0

        async def send(case: int) -> None:
            nonlocal sent
            octets = datagram(source_of(seed, "udp-live", case))
            await loop.sock_sendall(speaking, octets)
            sent += not _is_pull(octets)
            if case % BURST == 0:
                await asyncio.sleep(PAUSE_S)

        async def ask() -> None:
            asked = pull_data(secrets.token_bytes(2), GATEWAY)
            await loop.sock_sendall(speaking, asked)
            acknowledged = asked[:3] + bytes((DatagramType.PULL_ACK,))
            while (await loop.sock_recv(speaking, LARGEST))[:4] != acknowledged:
                pass

        async def count() -> int:
            found = await figures(run, "gateway_bridge", COUNTED)
            ours = (count for name, count in found.items() if "station" not in name and "pull_data" not in name)
            return sum(ours) - scene.load.pushed

        await _until_known(ask)
        await play_live(findings, Port(send, ask, count, "gateway_bridge"), run, cases)
        findings.to_count = sent
    return findings


def _is_pull(octets: bytes) -> bool:
    """PROTOCOL.TXT, section 5.2: version 1 or 2, token, 0x02, and the gateway's id."""
    return len(octets) >= 12 and octets[0] in (1, 2) and octets[3] == DatagramType.PULL_DATA  # noqa: PLR2004 - The header.


async def register(api_url: str, api_key: str, gateway_id: bytes) -> None:
    """A gateway of the load's tenant."""
    api = Provisioner(api_url, api_key)
    try:
        body = {"gateway_id": gateway_id.hex(), "name": f"Hostile {gateway_id.hex()[-4:]}"}
        await api.post("/v1/gateways", body | {"latitude": 48.4, "longitude": -4.5})
    finally:
        await api.close()


async def _until_known(ask: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(KNOWN_WITHIN_S):
        await ask()
    await asyncio.sleep(REGISTRY_READ_WITHIN_S)
