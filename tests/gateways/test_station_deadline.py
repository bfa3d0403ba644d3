"""A connection of no station: half a handshake is ended, and who is turned away gets the usual headers."""

import asyncio
from contextlib import suppress
from typing import Any, cast

import pytest

from gateways import station_server
from gateways.station_server import StationServer
from services.gateway_bridge.settings import Settings


async def test_half_sent_handshakes_are_ended_however_slowly_they_go_on_and_keep_no_other_waiting(
    bridge_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(station_server, "OPEN_WITHIN_S", 0.3)
    settings = bridge_settings.model_copy(update={"station_port": 0})
    nobody = cast(Any, None)
    server = StationServer(settings, nobody, nobody, nobody, nobody)
    port = await server.open()

    async def until_closed() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        reading = asyncio.create_task(reader.read())
        writer.write(b"GET /router-info HTTP/1.1\r\nhost: a\r\n")
        with suppress(ConnectionError):
            while not reading.done():
                await asyncio.sleep(0.05)
                writer.write(b"x")
        writer.close()
        with suppress(ConnectionError):
            return await reading
        return b""

    async with asyncio.timeout(60):
        late = asyncio.gather(*(until_closed() for _ in range(20)))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /nowhere HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        writer.close()
        await late
    await server.close()

    assert head.startswith(b"http/1.1 404 ")
    assert b"x-content-type-options: nosniff" in head
    assert b"content-security-policy: default-src 'none'" in head
