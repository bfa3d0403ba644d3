"""The process itself, over a real socket."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import httpx
import pytest

from api.cookies import LOOPBACK_COOKIE
from core.runtime.health import HealthApp
from core.runtime.postgres import Pool
from registry.people import enter_person
from registry.schema import SchemaMismatch
from registry.sessions import open_session
from registry.tenants import create_api_key, create_tenant
from services.api.app import run
from services.api.settings import ApiSettings
from services.supervisor.ports import free_tcp_port


def settings_of(database_url: str, nats_url: str, api_port: int, health_port: int = 0) -> ApiSettings:
    return ApiSettings(
        database_url=database_url,
        nats_url=nats_url,
        kek="00" * 16,
        instance="api-test",
        api_port=api_port,
        health_port=health_port,
    )  # pyright: ignore[reportArgumentType]


async def _answers(url: str) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient() as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.02)


@pytest.fixture
async def ports(api_database_url: str, nats_url: str) -> AsyncGenerator[tuple[int, int]]:
    """The API's port and the health port of a running service, which ends when it gets SIGTERM."""
    api_port, health_port = free_tcp_port(), free_tcp_port()
    stopping = asyncio.Event()
    running = asyncio.create_task(run(settings_of(api_database_url, nats_url, api_port, health_port), stopping))
    await _answers(f"http://127.0.0.1:{health_port}")
    yield api_port, health_port
    stopping.set()
    async with asyncio.timeout(30):
        await running


async def test_one_port_serves_the_api_and_the_other_alone_its_health_and_metrics(ports, pool: Pool) -> None:
    api_port, health_port = ports
    tenant = await create_tenant(pool, "sdef", "SDEF")
    key = await create_api_key(pool, tenant.id, "essai", ["read", "manage"])

    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as client:
        ready = await client.get(f"http://127.0.0.1:{health_port}/readyz")
        created = await client.post(
            f"http://127.0.0.1:{api_port}/v1/assets", json={"kind": "bin", "name": "Bac 1", "commune": "Brest"}
        )
        listed = await client.get(f"http://127.0.0.1:{api_port}/v1/assets")
        outside = [await client.get(f"http://127.0.0.1:{api_port}{path}") for path in HealthApp.paths]

    assert ready.json() == {"status": "ok", "problems": {}}
    assert [answer.status_code for answer in outside] == [404, 404, 404]
    assert created.status_code == 201
    assert created.json().items() <= listed.json()["items"][0].items()
    assert "server" not in listed.headers


async def test_garbage_on_the_socket_costs_nobody_else(ports) -> None:
    api_port, health_port = ports
    reader, writer = await asyncio.open_connection("127.0.0.1", api_port)
    writer.write(b"\x00\xff garbage\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()

    await _answers(f"http://127.0.0.1:{health_port}")

    assert answer.startswith(b"HTTP/1.1 400")


async def test_signal_ends_streams_at_once_and_the_process_within_five_seconds(
    api_database_url: str, nats_url: str, pool: Pool, api_pool: Pool
) -> None:
    api_port, health_port, stopping = free_tcp_port(), free_tcp_port(), asyncio.Event()
    running = asyncio.create_task(run(settings_of(api_database_url, nats_url, api_port, health_port), stopping))
    await _answers(f"http://127.0.0.1:{health_port}")
    tenant = await create_tenant(pool, "sdef", "SDEF")
    person = await enter_person(pool, tenant.id, "jeanne@ville.example", "Jeanne", "", "reader")
    assert person is not None
    token = await open_session(api_pool, person, tenant.id, "192.0.2.1", "password")

    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{api_port}", timeout=30) as client,
        client.stream(
            "GET", f"/direct?collectivite={tenant.id}", headers={"Cookie": f"{LOOPBACK_COOKIE}={token}"}
        ) as stream,
    ):
        lines = stream.aiter_lines()
        retry = await anext(lines)
        stopping.set()
        async with asyncio.timeout(5):
            await running
        rest = [line async for line in lines]

    assert 500 <= int(retry.removeprefix("retry: ")) <= 3_000  # Browsers do not come back all at once.
    assert rest[-1] == ""


async def test_it_rejects_a_database_that_is_not_migrated(empty_database_url: str, nats_url: str) -> None:
    settings = settings_of(empty_database_url, nats_url, free_tcp_port())

    with pytest.raises(SchemaMismatch, match="run `territoire migrate`"):
        await run(settings, asyncio.Event())


async def test_it_answers_while_it_waits_for_its_database(nats_url: str, free_port: int) -> None:
    api_port, health_port = free_tcp_port(), free_tcp_port()
    settings = settings_of(f"postgresql://x:y@127.0.0.1:{free_port}/z", nats_url, api_port, health_port)
    running = asyncio.create_task(run(settings, asyncio.Event()))
    health, api = f"http://127.0.0.1:{health_port}", f"http://127.0.0.1:{api_port}"
    async with httpx.AsyncClient() as client:
        async with asyncio.timeout(30):
            while "base de données" not in await _said(client, f"{health}/readyz"):  # noqa: ASYNC110 - No event.
                await asyncio.sleep(0.02)
        answers = [await client.get(url) for url in (f"{health}/livez", f"{health}/readyz", f"{api}/v1/devices")]
    running.cancel()
    await asyncio.wait((running,))

    assert [answer.status_code for answer in answers] == [200, 503, 503]
    assert answers[-1].headers["retry-after"] == "5"
    assert "démarre" in answers[-1].json()["detail"]


async def _said(client: httpx.AsyncClient, url: str) -> str:
    with contextlib.suppress(httpx.TransportError):
        return (await client.get(url)).text
    return ""
