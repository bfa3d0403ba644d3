"""Servers whose authority is replaced while we are connected: who comes back believes the new one."""

import asyncio
import secrets
import signal
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.runtime.bus import connect_bus
from core.runtime.mqtt import MqttSession, MqttSettings
from core.runtime.waiting import Waiting
from lab.certificates import Authority
from services.supervisor.launch import Launch
from services.supervisor.mosquitto import BRIDGE, PrivateMosquitto
from services.supervisor.nats import PrivateNats
from services.supervisor.ports import LOOPBACK, free_tcp_port

pytestmark = pytest.mark.starts_processes


@contextmanager
def running(launch: Launch) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(launch.argv, **launch.arguments(subprocess.DEVNULL))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def renew(folder: Path) -> tuple[Path, Path]:
    """An authority, and a certificate of it with its key: others from now on, in files of the same names."""
    return Authority(folder, "authority").sign("server")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - What another process does has no event.
            await asyncio.sleep(0.02)


async def test_the_bus_is_spoken_with_again_once_its_authority_is_another(tmp_path: Path) -> None:
    server = PrivateNats(tmp_path / "nats", free_tcp_port(), "secret", "renewed")
    certificate, key = renew(tmp_path)
    server.prepare()
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}\n'
    server.configuration.write_text(f"{server.configuration.read_text('utf-8')}{tls}", "utf-8")
    url = f"{server.url.replace('nats://', 'tls://')}?ca={tmp_path / 'authority.pem'}"
    with running(server.launch()) as process:
        async with connect_bus(url, "test") as bus:
            before = await bus.logins()
            renew(tmp_path)
            process.kill()
            process.wait()
            await until(lambda: not bus.is_connected)
            with running(server.launch()):
                await until(lambda: bus.is_connected)
                after = await bus.logins()

    assert [name for name, _ in before] == [name for name, _ in after] == ["test"]


async def test_a_server_that_does_not_encrypt_is_not_told_the_password(tmp_path: Path) -> None:
    """As one that somebody put in the place of ours: it greets, and waits for CONNECT in the clear."""
    heard, greeted = bytearray(), asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.10.0","max_payload":1048576,"proto":1}\r\n')
        greeted.set()
        heard.extend(await reader.read())
        writer.close()

    authority = Authority(tmp_path, "authority")
    waiting = Waiting("bus_waited_for", "bus", "here")
    async with await asyncio.start_server(listen, LOOPBACK, 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"tls://territoire:secret@{LOOPBACK}:{port}?ca={authority.certificate}"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), connect_bus(url, "test", waiting):
                pass

    assert greeted.is_set()
    assert bytes(heard) == b""
    assert waiting.reason.startswith("le serveur ne chiffre pas")


async def test_a_broker_is_spoken_with_again_once_its_authority_is_another(tmp_path: Path) -> None:
    """The file of its authority is away for a moment in between, as when it is replaced."""
    port, secured = free_tcp_port(), free_tcp_port()
    broker = PrivateMosquitto(tmp_path / "mosquitto", port, {BRIDGE: "secret"})
    certificate, key = renew(tmp_path)
    authority = tmp_path / "authority.pem"
    broker.prepare()
    file = broker.folder / "mosquitto.conf"
    listener = f"listener {secured} {LOOPBACK}\ncertfile {certificate}\nkeyfile {key}\n"
    file.write_text(f"{file.read_text('utf-8')}{listener}", "utf-8")
    url = f"mqtts://{BRIDGE}:secret@{LOOPBACK}:{secured}?ca={authority}"
    name = f"test-{secrets.token_hex(6)}"
    edge = MqttSession(MqttSettings(mqtt_url=SecretStr(url), mqtt_client_id=name), ["test/gateway/+/event/+"])
    with running(broker.launch()) as process:
        connecting = asyncio.create_task(edge.run())
        try:
            await until(lambda: edge.is_connected)
            authority.unlink()
            process.send_signal(signal.SIGTERM)
            process.wait()
            await until(lambda: edge.generation > 1)
            await until(lambda: "autorité" in (edge.problem or ""))
            renew(tmp_path)
            with running(broker.launch()):
                await until(lambda: edge.is_connected)
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
