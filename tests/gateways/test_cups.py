"""CUPS: what a station is given, when, and who is given nothing. The decoder follows the station's source."""

import json
import struct
import zlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from core.runtime.postgres import Pool
from lorawan.gateway.cups import SignedUpdate
from lorawan.identifiers import GatewayId
from registry.station_updates import create_update, list_stations
from registry.station_updates import want as want_of_stations
from services.gateway_bridge.settings import Settings
from services.supervisor.ports import free_tcp_port
from tests.gateways.stations import Rig, open_rig, register, until
from tests.gateways.test_station_tokens import make_token, shown
from tests.gateways.ws_station import connect_to, ws_station

TRUST = b"\x30\x82\x01\x00" + bytes(256)
ABSENT = bytes(4)
KEY_CRC = 0x1D1E9F14


@dataclass
class Files:
    """The files of a station, and what it makes of an answer."""

    gateway_id: bytes
    cups_uri: str
    tc_uri: str
    trust: bytes
    token: str
    package: str = "v1"
    keys: tuple[int, ...] = (KEY_CRC,)
    update: bytes = b""
    signature: bytes = b""

    def asked(self) -> dict[str, Any]:
        crc = zlib.crc32(self.trust + ABSENT + f"Authorization: {self.token}\r\n".encode())
        return {
            "router": int.from_bytes(self.gateway_id),
            "cupsUri": self.cups_uri,
            "tcUri": self.tc_uri,
            "cupsCredCrc": crc,
            "tcCredCrc": crc,
            "station": "2.0.6(linux/std) 2022-01-17 12:00:00",
            "model": "linux",
            "package": self.package,
            "keys": list(self.keys),
        }

    def obey(self, answer: bytes) -> set[str]:
        """Take over what is in the answer; what that was."""
        at = 0

        def segment(form: str) -> bytes:
            nonlocal at
            (length,) = struct.unpack_from(form, answer, at)
            at += struct.calcsize(form) + length
            return answer[at - length : at]

        cups_uri, tc_uri = segment("<B").decode(), segment("<B").decode()
        credentials = [segment("<H"), segment("<H")]
        signature, update = segment("<I"), segment("<I")
        assert at == len(answer)
        found: set[str] = set()
        if cups_uri:
            self.cups_uri = cups_uri
            found.add("cups_uri")
        if tc_uri:
            self.tc_uri = tc_uri
            found.add("tc_uri")
        if any(credentials):
            assert credentials[0] == credentials[1]
            ends = int.from_bytes(credentials[0][2:4]) + 4
            assert credentials[0][ends : ends + 4] == ABSENT
            self.trust = credentials[0][:ends]
            name, _, token = credentials[0][ends + 4 :].decode().partition(": ")
            assert (name, token[-2:]) == ("Authorization", "\r\n")
            self.token = token.strip()
            found.add("token")
        if update:
            assert int.from_bytes(signature[:4], "little") in self.keys
            self.signature, self.update = signature[4:], update
            found.add("update")
        return found


@pytest.fixture
def cups_port() -> int:
    return free_tcp_port()


@pytest.fixture
async def cups_rig(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, cups_port: int
) -> AsyncGenerator[Rig]:
    settings = bridge_settings.model_copy(update={"station_credentials": "required", "cups_port": cups_port})
    async with open_rig(settings, pool, gateway_mqtt_url) as opened:
        yield opened


async def is_turned_away(rig: Rig, gateway_id: bytes, token: str) -> bool:
    """Whether a token lets nobody in any more: the bridge knows of its end within seconds."""
    try:
        async with connect_to(f"{rig.station_url}/gateway/{gateway_id.hex()}", **shown(token)):
            return False
    except InvalidStatus as refused:
        return refused.response.status_code == 401


async def want(rig: Rig, **wanted: Any) -> int:
    """As the API does it, for every station of the tenant."""
    nothing = {"cups_uri": None, "tc_uri": None, "new_token": False, "trust": None, "update_id": None}
    async with rig.pool.acquire() as connection, connection.transaction():
        tenant = await connection.fetchval("SELECT id FROM tenant")
        stations = [station for station, _ in await list_stations(connection, tenant)]
        return await want_of_stations(connection, stations, **(nothing | wanted))


async def test_stations_fetch_addresses_tokens_and_programs_and_the_former_token_ends_when_the_new_is_used(
    cups_rig: Rig, gateway_id: GatewayId, cups_port: int
) -> None:
    rig, url = cups_rig, f"http://127.0.0.1:{cups_port}/update-info"
    await register(rig.pool, gateway_id)
    first = await make_token(rig, gateway_id)
    files = Files(gateway_id, url, rig.station_url, b"", first)

    async with httpx.AsyncClient() as client:

        async def ask(token: str | None = None, asked: dict[str, Any] | None = None) -> httpx.Response:
            headers = {"Authorization": token or files.token}
            return await client.post(url, json=asked or files.asked(), headers=headers)

        async def fetch() -> set[str]:
            answer = await ask()
            assert answer.status_code == 200
            return files.obey(answer.content)

        assert await fetch() == set()  # Nothing is wanted, and it is known from now on.
        assert await want(rig, new_token=True) == 0  # Without our authority it could not connect.
        await want(
            rig, tc_uri="wss://b.example:443", cups_uri="https://c.example:443", new_token=True, trust=TRUST
        )

        lost = Files(**vars(files))
        answer = (await ask()).content
        assert lost.obey(answer) == {"cups_uri", "tc_uri", "token"}
        # That answer never arrived: what was in it is good for nothing once another was fetched.
        assert await fetch() == {"cups_uri", "tc_uri", "token"}
        await until(lambda: is_turned_away(rig, gateway_id, lost.token))
        assert (files.trust, files.tc_uri, files.cups_uri) == (
            TRUST,
            "wss://b.example:443",
            "https://c.example:443",
        )

        # Two are valid until the new one has been used.
        async with ws_station(rig.station_url, gateway_id, **shown(first)):
            await rig.reachable(gateway_id)
        async with ws_station(rig.station_url, gateway_id, **shown(files.token)):
            await rig.reachable(gateway_id)

            async def is_ended() -> bool:
                rows = await rig.pool.fetch("SELECT id FROM gateway_token WHERE expires_at IS NULL")
                return [row["id"] for row in rows] == [files.token.split("_")[1]]

            await until(is_ended)

        async def is_rejected() -> bool:
            return (await ask(first)).status_code == 401

        await until(is_rejected)
        assert await fetch() == set()

        async with rig.pool.acquire() as connection:
            tenant = await connection.fetchval("SELECT id FROM tenant")
            described = {"name": "v2", "package": "v2", "station": None, "model": "linux"}
            signed = SignedUpdate(KEY_CRC, b"signature", bytes(range(256)) * 1024)
            update = await create_update(connection, tenant, described, signed)
        await want(rig, update_id=update.id)
        files.keys = (1,)
        assert await fetch() == set()  # It could not verify it.
        files.keys = (1, KEY_CRC)
        assert await fetch() == {"update"}
        assert (files.signature, files.update) == (signed.signature, signed.content)
        files.package = "v2"
        assert await fetch() == set()

        # Who is not the gateway is given nothing, and is listed.
        stranger = GatewayId(gateway_id[::-1])
        await register(rig.pool, stranger)
        await want(rig, new_token=True)
        others = await make_token(rig, stranger)
        asked = files.asked()
        rejected = [
            await ask(others),
            await ask("tgw_0000000000000000_x"),
            await client.post(url, json=asked),
            await client.post(url, json=asked | {"router": 1}),
            await client.post(url, content=b"{", headers={"Authorization": files.token}),
            await client.post(url, json=asked | {"station": "x" * 20_000}),
            await client.get(url),
            await client.post(url.replace("update-info", "router-info"), json=asked),
        ]
        assert [answer.status_code for answer in rejected] == [401, 401, 401, 401, 400, 413, 405, 404]
        assert {answer.content[:1] for answer in rejected} & {b"\0"} == set()

        async def is_listed() -> bool:
            times = "SELECT sum(times) FROM gateway_address_change WHERE refused AND frontend = 'basics_station'"
            return (await rig.pool.fetchval(times) or 0) >= 4

        await until(is_listed)
        assert await fetch() == {"token"}
    stored = json.dumps([dict(row) for row in await rig.pool.fetch("SELECT * FROM gateway_token")], default=str)
    assert files.token.split("_", 2)[2] not in stored
