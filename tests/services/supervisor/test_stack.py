import asyncio
import os
import signal
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import nats
import pytest
import pytest_asyncio

from core.runtime.postgres import connect
from services.supervisor.home import Home
from services.supervisor.ports import free_udp_port
from services.supervisor.run_info import CURRENT, RunInfo, read_run_info
from services.supervisor.stack import Stack
from services.supervisor.stack_options import StackOptions

NO_SERVICES = StackOptions(udp_port=0, api_port=0, services=())
in_the_loop_of_the_stack = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(server_folder: Path) -> AsyncGenerator[Stack]:
    """A fresh one for the first tests; those that kill one of its servers leave it as it was."""
    home = Home(server_folder / "stack")
    with home.held():
        described = Stack(home, NO_SERVICES)
        await described.start()
        try:
            yield described
        finally:
            await described.stop()


async def current_user(url: str) -> str:
    connection = await connect(url)
    try:
        return await connection.fetchval("SELECT current_user")
    finally:
        await connection.close()


@in_the_loop_of_the_stack
async def test_run_json_opens_every_door(stack: Stack) -> None:
    run = stack.current()

    bus = await nats.connect(run.nats_url)
    streams = {stream.config.name for stream in await bus.jetstream().streams_info()}
    await bus.close()

    assert await current_user(run.database_url) == "territoire_service"
    assert await current_user(run.database_admin_url) == "territoire_admin"
    assert {"FRAMES", "UPLINKS", "MEASUREMENTS"} <= streams
    assert [service.name for service in run.services] == ["postgres", "nats", "mosquitto"]
    assert stat.S_IMODE((Path(run.home) / "run.json").stat().st_mode) == 0o600
    assert read_run_info(Path(run.home)).version == CURRENT


@in_the_loop_of_the_stack
async def test_servers_have_as_long_as_they_need_to_recover(stack: Stack) -> None:
    within = {child.spec.name: child.spec.ready_within for child in stack.supervisor.children}

    assert within == {"postgres": None, "nats": None, "mosquitto": None}


@in_the_loop_of_the_stack
async def test_a_fresh_stack_has_no_shared_login_and_demands_seal_and_vouching(stack: Stack) -> None:
    connection = await connect(stack.current().database_admin_url)
    shared = await connection.fetchrow("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'territoire_service'")
    members = await connection.fetch(
        "SELECT member::regrole::text FROM pg_auth_members WHERE roleid = 'territoire_service'::regrole"
    )
    demands = await connection.fetchrow("SELECT is_enforced, api_sha256 IS NOT NULL FROM seal_secret")
    await connection.close()

    assert shared is not None
    assert demands is not None
    assert (shared["rolcanlogin"], members, tuple(demands)) == (False, [], (True, True))


@in_the_loop_of_the_stack
@pytest.mark.parametrize("name", ["postgres", "nats", "mosquitto"])
async def test_a_killed_server_comes_back_where_it_was(stack: Stack, name: str) -> None:
    before = stack.current().service(name)
    assert before.pid is not None

    os.kill(before.pid, signal.SIGKILL)
    after = await restarted(stack, name, before.pid)

    assert after.service(name).restarts == len(after.service(name).restarted_at) >= 1
    assert await current_user(after.database_url) == "territoire_service"


async def restarted(stack: Stack, name: str, former: int) -> RunInfo:
    async with asyncio.timeout(30):
        while True:
            run = read_run_info(Path(stack.run.home))
            ready = await stack.supervisor.all_ready()
            if run.service(name).pid not in {None, former} and all(ready.values()):
                return run
            await asyncio.sleep(0.05)


async def test_a_second_start_finds_what_the_first_left(server_folder: Path) -> None:
    home = Home(server_folder / "twice")
    for slug in ("brest", "quimper"):
        with home.held():
            stack = Stack(home, NO_SERVICES)
            run = await stack.start()
            connection = await connect(run.database_url)
            await connection.execute("INSERT INTO tenant (slug, name) VALUES ($1, $1)", slug)
            slugs = [row["slug"] for row in await connection.fetch("SELECT slug FROM tenant ORDER BY id")]
            await connection.close()
            await stack.stop()

    assert slugs == ["operateur", "brest", "quimper"]


def test_each_replica_is_a_child_with_an_instance_of_its_own() -> None:
    options = StackOptions(replicas={"network": 2})

    assert options.children("network") == [("network-1", "network-1"), ("network-2", "network-2")]
    assert options.children("ingest") == [("ingest", "ingest-1")]


async def test_replicas_that_listen_have_ports_of_their_own(server_folder: Path) -> None:
    """The first has those that were asked for, and reads the broker alone: it keeps one session for us."""
    wanted = free_udp_port()
    options = StackOptions(udp_port=wanted, api_port=0, replicas={"gateway_bridge": 2, "api": 2, "intake": 2})
    home = Home(server_folder / "listening")
    with home.held():
        stack = Stack(home, options)
        bridges, apis, intakes = (
            [stack._service(name, *child) for child in options.children(name)]
            for name in ("gateway_bridge", "api", "intake")
        )

    assert [bridge.ports["udp"] == wanted for bridge in bridges] == [True, False]
    assert [child.launch.env["TERRITOIRE_UDP_PORT"] for child in bridges] == [
        str(child.ports["udp"]) for child in bridges
    ]
    assert ["TERRITOIRE_MQTT_URL" in child.launch.env for child in bridges] == [True, False]
    assert stack.run.api_url.endswith(f":{apis[0].ports['api']}")
    assert len({api.health_url for api in apis} | {stack.run.api_url}) == 3
    ports = [port for child in (*bridges, *apis, *intakes) for port in child.ports.values()]
    assert len(set(ports)) == len(ports) == 8


def test_a_bus_of_three_is_one_cluster_that_every_address_names(tmp_path: Path) -> None:
    stack = Stack(Home(tmp_path), StackOptions(replicas={"nats": 3}))
    servers = stack.servers.bus
    for one in servers.values():
        one.prepare()
    said = {child: one.configuration.read_text() for child, one in servers.items()}
    listening = {
        child: text.partition('cluster { name: territoire, listen: "')[2][:20] for child, text in said.items()
    }
    addresses = stack.environment("network", "network-1")["TERRITOIRE_NATS_URL"].split(",")

    assert list(servers) == ["nats-1", "nats-2", "nats-3"]
    assert len({one.port for one in servers.values()} | {one.routes[0] for one in servers.values()}) == 6
    assert len(set(listening.values())) == 3
    for child, one in servers.items():
        others = {other.routes[0] for name, other in servers.items() if name != child}
        assert set(one.routes[1:]) == others
        assert all(f'"nats://127.0.0.1:{port}"' in said[child] for port in others)
    assert [address.rpartition(":")[2] for address in addresses] == [str(one.port) for one in servers.values()]
    assert stack.run.nats_url.count("nats://") == 3


def test_a_bus_of_one_server_is_no_cluster(tmp_path: Path) -> None:
    [server] = Stack(Home(tmp_path), StackOptions()).servers.bus.values()
    server.prepare()

    assert "cluster" not in server.configuration.read_text()
