"""Messages at the bridge's station port: a connection that the bridge may end is opened again."""

import asyncio
import json
import secrets
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lab.chaos.fuzz.live import LiveFindings, Port, figures, play_live
from lab.chaos.fuzz.udp import COUNTED, KNOWN_WITHIN_S, register
from lab.chaos.scene import Scene
from lab.fleet.provision import Provisioner
from lab.fuzz.gateways import station_message
from lab.fuzz.target import source_of

GATEWAY = bytes.fromhex("0080e115000a9b73")
# The bridge reads 500 messages a second of one station, and a thousand at once.
MESSAGES_A_CONNECTION = 800
LONGEST_MESSAGE = 16 * 1024
TXTIMES = 1 << 53
ASKED_AGAIN_AFTER_S = 0.5


class Station:
    """One gateway on its WebSocket."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self._connection: ClientConnection | None = None
        self._sent = 0
        self.sent = 0
        """Messages that the bridge has to count: those that it could read at all."""

    async def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _open(self) -> ClientConnection:
        if self._connection is None or self._sent >= MESSAGES_A_CONNECTION:
            await self.close()
            header = {"Authorization": self._token}
            self._connection = await connect(
                f"{self._url}/gateway/{GATEWAY.hex()}", additional_headers=header, proxy=None, ping_interval=None
            )
            self._sent = 0
        return self._connection

    async def send(self, text: str) -> None:
        """A message; one that is too long ends the connection, and is counted by nobody."""
        is_too_long = len(text.encode()) > LONGEST_MESSAGE
        if is_too_long:
            await self.ask()  # With the connection ends what it has not read yet.
        connection = await self._open()
        self._sent += 1
        with suppress(ConnectionClosed):
            await connection.send(text)
        if is_too_long:
            await self.close()
        else:
            self.sent += 1

    async def until_known(self) -> None:
        """Return once the bridge lets it in, which reads the registry every few seconds.

        Raises:
            TimeoutError: it does not.
        """
        async with asyncio.timeout(KNOWN_WITHIN_S):
            while True:
                with suppress(InvalidStatus):
                    await self._open()
                    return
                await asyncio.sleep(ASKED_AGAIN_AFTER_S)

    async def ask(self) -> None:
        """A question about the time, until its answer comes."""
        txtime = secrets.randbelow(TXTIMES)
        while True:
            connection = await self._open()
            try:
                await connection.send(json.dumps({"msgtype": "timesync", "txtime": txtime}))
                self._sent += 1
                self.sent += 1
                while json.loads(await connection.recv()).get("txtime") != txtime:
                    pass
            except ConnectionClosed:
                self._connection = None
                continue
            return


async def play_station(scene: Scene, cases: int, seed: str) -> LiveFindings:
    """Of one station, whose connection is new every 800 messages, as after a restart."""
    run, findings = scene.processes.run, LiveFindings("station-live", "Messages de stations, au pont")
    await register(run.api_url, scene.load.api_key, GATEWAY)
    api = Provisioner(run.api_url, scene.load.api_key)
    try:
        token = (await api.post(f"/v1/gateways/{GATEWAY.hex()}/tokens", {}))["token"]
    finally:
        await api.close()
    station = Station(run.station_url, token)

    async def send(case: int) -> None:
        await station.send(station_message(source_of(seed, "station-live", case)))

    async def count() -> int:
        found = await figures(run, "gateway_bridge", COUNTED)
        return sum(count for name, count in found.items() if "station_" in name and "connection" not in name)

    try:
        await station.until_known()
        await play_live(findings, Port(send, station.ask, count, "gateway_bridge"), run, cases)
    finally:
        await station.close()
    findings.to_count = station.sent
    return findings
