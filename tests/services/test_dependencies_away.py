"""A process whose database or bus is not there: it says so, waits, and goes on; and what it says is the reason."""

import asyncio
import json
import secrets
import ssl
import sys
from collections.abc import AsyncGenerator, Coroutine, Mapping, MutableMapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from core.runtime.bus import connect_bus
from core.runtime.bus_connection import BusLost
from core.runtime.mqtt import MqttSession, MqttSettings
from core.runtime.postgres import connect, open_pool
from core.runtime.waiting import network_reason, what_is_waited_for
from lab.certificates import Authority
from lab.chaos.stack.proxy import TcpProxy
from registry.schema import migrations
from services.supervisor.mosquitto import BRIDGE, PrivateMosquitto
from services.supervisor.nats import PrivateNats
from services.supervisor.ports import free_tcp_port
from tests.conftest import TEMPLATE, Cluster


class Process:
    """A service as it is started; its log is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process, health_port: int) -> None:
        self.process = process
        self._url = f"http://127.0.0.1:{health_port}"

    async def says(self, event: str, **fields: str) -> dict[str, Any]:
        """The next line of this event whose message holds these words."""
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            while octets := await self.process.stdout.readline():
                line = json.loads(octets)
                if line["event"] == event and all(word in line[name] for name, word in fields.items()):
                    return line
        raise AssertionError(f"it ended without {event}")

    async def status(self, path: str) -> tuple[int, dict[str, Any]]:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self._url}{path}")
        return answer.status_code, answer.json()

    async def becomes(self, status: int, *problems: str) -> dict[str, Any]:
        """Its /readyz answers with this status, for these reasons."""
        async with asyncio.timeout(30):
            while True:
                with suppress(httpx.TransportError):
                    answered, told = await self.status("/readyz")
                    if answered == status and set(problems) <= set(told["problems"]):
                        return told
                await asyncio.sleep(0.05)


@asynccontextmanager
async def started(service: str, database_url: str, nats_url: str, **reported: str) -> AsyncGenerator[Process]:
    """A process of this service for the length of the block; it must end by itself when it is asked to."""
    port = free_tcp_port()
    environment: Mapping[str, str] = {
        "TERRITOIRE_DATABASE_URL": database_url,
        "TERRITOIRE_NATS_URL": nats_url,
        "TERRITOIRE_KEK": "11" * 16,
        "TERRITOIRE_HEALTH_PORT": str(port),
        **reported,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", f"services.{service}", env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Process(process, port)
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(10):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()


async def opened(way: TcpProxy, port: int) -> asyncio.Server:
    """The server behind `way` begins to listen on the port that its clients know."""
    way.port = port
    return await asyncio.start_server(way.accept, "127.0.0.1", port)


def way_of(url: str) -> tuple[TcpProxy, str]:
    """A way that nobody can take yet, and the server's address by it."""
    host, _, port = url.rpartition("@")[2].partition("/")[0].partition(":")
    way = TcpProxy(host, int(port))
    way.port = free_tcp_port()
    return way, way.url_of(url)


async def test_a_service_waits_for_its_database_and_its_bus_and_goes_on_when_they_come_back(
    database, nats_url: str
) -> None:
    to_database, database_url = way_of(database.service_url)
    to_bus, bus_url = way_of(nats_url)
    async with started("lighting", database_url, bus_url) as service:
        said = await service.says("database_waited_for")
        assert "rien n'écoute à cette adresse" in said["message"]
        assert f"127.0.0.1:{to_database.port}/{database.name}, compte territoire_service" in said["message"]
        assert "nouvel essai dans" in said["message"]
        assert (await service.status("/livez"))[0] == 200
        unready, told = await service.status("/readyz")
        assert unready == 503
        assert "base de données" in told["problems"]["start"]

        listening = await opened(to_database, to_database.port)
        said = await service.says("bus_waited_for")
        assert f"bus (127.0.0.1:{to_bus.port}) : rien n'écoute à cette adresse" in said["message"]
        assert (await service.status("/livez"))[0] == 200
        bus_listening = await opened(to_bus, to_bus.port)
        assert await service.becomes(200) == {"status": "ok", "problems": {}}

        for server, way in ((listening, to_database), (bus_listening, to_bus)):
            server.close()
            await way.close()
        await service.becomes(503, "database", "bus")
        assert (await service.status("/livez"))[0] == 200
        async with await opened(to_database, to_database.port), await opened(to_bus, to_bus.port):
            await service.becomes(200)
            service.process.terminate()
            assert await service.process.wait() == 0
        await to_database.close()
        await to_bus.close()


async def test_a_service_that_waits_for_a_dependency_ends_at_once_on_sigterm(free_port: int) -> None:
    async with started("lighting", f"postgresql://x:y@127.0.0.1:{free_port}/z", "nats://127.0.0.1:1") as service:
        await service.says("database_waited_for")
        service.process.terminate()
        async with asyncio.timeout(5):
            assert await service.process.wait() == 0


@pytest.mark.parametrize(
    ("ledger", "words"),
    [
        (f"DELETE FROM schema_migration WHERE number = {len(migrations())}", "lancez « territoire migrate »"),
        ("INSERT INTO schema_migration VALUES (999, '0999_later.sql', 'x')", "installez la version du programme"),
    ],
)
async def test_an_older_and_a_newer_program_reject_the_database(
    database, nats_url: str, ledger: str, words: str
) -> None:
    connection = await connect(database.admin_url)
    await connection.execute(ledger)
    await connection.close()

    async with started("lighting", database.service_url, nats_url) as service:
        said = await service.says("service_refused")
        assert await service.process.wait() == 1

    assert words in said["message"]
    assert "exception" not in said


async def test_a_port_that_is_taken_is_reported_without_a_stack_trace(database, nats_url: str) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    taken = str(server.sockets[0].getsockname()[1])
    async with started("lighting", database.service_url, nats_url, TERRITOIRE_HEALTH_PORT=taken) as service:
        said = await service.says("service_refused")
        assert await service.process.wait() == 1
    server.close()

    assert f"127.0.0.1:{taken}" in said["message"]
    assert "exception" not in said


async def reason_of(url: str) -> str:
    """What a pool of this address waits for."""
    waiting = asyncio.create_task(_hold(url))
    async with asyncio.timeout(10):
        while not (told := what_is_waited_for()):  # noqa: ASYNC110 - It has no event.
            await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert what_is_waited_for() == []
    return told[0]


async def _hold(url: str) -> None:
    async with open_pool(url, "test"):
        await asyncio.Event().wait()


async def test_the_line_says_which_of_account_database_and_tls_is_wrong(cluster: Cluster, database) -> None:
    server = cluster.server
    wrong = {
        server.url(database.name, "territoire_service", "faux"): "le mot de passe de ce compte est refusé",
        cluster.url("absente", "territoire_service"): "cette base n'y existe pas",
        f"{database.service_url}?sslmode=require": "le serveur refuse TLS",
        database.service_url.replace("127.0.0.1", "nulle-part.invalid"): "ce nom de machine est inconnu",
    }
    for url, reason in wrong.items():
        told = await reason_of(url)
        assert reason in told
        assert cluster.passwords["territoire_service"] not in told
        assert "faux" not in told


async def test_a_database_that_is_created_later_is_found(cluster: Cluster) -> None:
    name = f"later_{secrets.token_hex(4)}"
    admin = await connect(cluster.server.url("postgres"))
    with capture_logs() as logs:
        opening = asyncio.create_task(_hold(cluster.server.url(name)))
        while not what_is_waited_for():  # noqa: ASYNC110 - It has no event.
            await asyncio.sleep(0.01)
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"')
        async with asyncio.timeout(10):
            while what_is_waited_for():  # noqa: ASYNC110 - It has no event.
                await asyncio.sleep(0.01)
    opening.cancel()
    await asyncio.wait((opening,))
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()

    assert [line["event"] for line in logs] == ["database_waited_for", "waited_for_is_there"]


async def try_for_a_second(trying: Coroutine[Any, Any, None], logs: list[MutableMapping[str, Any]]) -> None:
    """From its first word on, however long that takes to come."""
    task = asyncio.create_task(trying)
    async with asyncio.timeout(20):
        while not logs:  # noqa: ASYNC110 - It has no event.
            await asyncio.sleep(0.02)
    await asyncio.sleep(1)
    while not task.done():  # Python 3.11's wait_for may lose a cancellation that comes as its wait ends.
        task.cancel()
        await asyncio.wait((task,), timeout=1)


async def _await_bus(url: str) -> None:
    async with connect_bus(url, "test"):
        pytest.fail("the bus lets in whoever has a wrong password")


async def test_a_bus_that_rejects_the_account_is_waited_for_with_one_line(nats_server: PrivateNats) -> None:
    url = nats_server.url.replace(nats_server.password, "faux")
    with capture_logs() as logs:
        await try_for_a_second(_await_bus(url), logs)

    # It tried five times. Sometimes the connection is cut before the server's word is read: a reason of its own.
    assert len([line for line in logs if "le compte ou le mot de passe est refusé" in line["message"]]) == 1
    assert len(logs) <= 3, logs
    assert "faux" not in str(logs)


async def test_an_account_that_expires_ends_the_process_which_then_waits() -> None:
    """The driver gives up for good at the server's word: without an end nobody would ever connect again."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"max_payload": 1048576}\r\n')
        while await reader.readline() != b"PING\r\n":
            pass
        writer.write(b"PONG\r\n-ERR 'User Authentication Expired'\r\n")
        await writer.drain()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BusLost) as lost:
            async with asyncio.timeout(10), connect_bus(f"nats://127.0.0.1:{port}", "test"):
                await asyncio.Event().wait()

    assert lost.value.french == f"bus (127.0.0.1:{port}) : le compte ou le mot de passe est refusé"


async def test_a_broker_that_rejects_the_account_is_reported_once(mosquitto_server: PrivateMosquitto) -> None:
    url = mosquitto_server.url(BRIDGE).replace(mosquitto_server.accounts[BRIDGE], "faux")
    edge = MqttSession(MqttSettings(mqtt_url=url, mqtt_client_id="test-away"), [])  # pyright: ignore[reportArgumentType]
    with capture_logs() as logs:
        await try_for_a_second(edge.run(), logs)

    [line] = logs
    assert "courtier MQTT" in line["message"]
    assert "ce compte n'a pas le droit d'entrer" in line["message"]


async def test_the_reason_of_a_rejected_certificate_is_reported(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(*authority.sign("serveur"))
    plain = await asyncio.start_server(lambda _, writer: writer.write(b"INFO {}\r\n"), "127.0.0.1", 0)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=serving)

    async def shown_reason(name: str, trusted: Path, at: asyncio.Server) -> str:
        context = ssl.create_default_context(cafile=trusted)
        port = at.sockets[0].getsockname()[1]
        with pytest.raises(OSError) as refused:  # noqa: PT011 - Its reason is what is tested.
            await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        return network_reason(refused.value)

    async with server, plain:
        assert "son autorité n'est pas celle" in await shown_reason("127.0.0.1", stranger.certificate, server)
        assert "fait pour un autre nom" in await shown_reason("autre.test", authority.certificate, server)
        assert "TLS des deux côtés" in await shown_reason("127.0.0.1", authority.certificate, plain)
