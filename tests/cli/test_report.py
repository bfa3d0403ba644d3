"""What `doctor`, `status` and the alarm say of a process that is not ready, from its own /readyz."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cli.report import CHECKS, problem_of
from core.messages import topics
from core.runtime.bus import ShardReader, connect_bus
from core.runtime.health import Check, Readiness, serve_health, starting
from core.runtime.lease import Lease
from core.runtime.ownership import Sharded, ShardOwner
from core.runtime.postgres import Pool
from services.gateway_bridge.app import checks
from services.supervisor.run_info import ServiceInfo

CLOSED = SimpleNamespace(is_open=False)


async def said(readiness: Readiness) -> str:
    async with serve_health(readiness, "127.0.0.1", 0) as port:
        return await problem_of(ServiceInfo("network", 1, 0, "network.log", f"http://127.0.0.1:{port}"))


async def frozen() -> str | None:
    await asyncio.Event().wait()


async def failing() -> str | None:
    return "le disque est plein"


async def test_a_database_that_says_nothing_is_said_in_french() -> None:
    assert await said(Readiness({"database": frozen})) == "base de données : pas de réponse en 2 s"


async def test_a_process_that_starts_is_said_in_french() -> None:
    assert await said(starting()) == "démarre"


async def test_what_a_bridge_does_not_listen_on_is_named() -> None:
    edge = SimpleNamespace(is_connected=False, problem="rien n'écoute à cette adresse")
    bridge = SimpleNamespace(
        udp=CLOSED, cups=CLOSED, mqtt=SimpleNamespace(edge=edge), stations=SimpleNamespace(server=CLOSED)
    )
    of_bridge: dict[str, Check] = checks(cast("Any", bridge))

    assert of_bridge.keys() <= CHECKS.keys()
    assert (await said(Readiness(of_bridge))).split(" | ") == [
        "port UDP : n'écoute pas",
        "réglages des Basics Station (CUPS) : n'écoute pas",
        "courtier MQTT : rien n'écoute à cette adresse",
        "port des Basics Station : n'écoute pas",
    ]


async def test_a_job_of_maintenance_that_failed_is_named() -> None:
    assert await said(Readiness({"exports": failing})) == "tâche exports : le disque est plein"


async def test_a_replica_without_its_share_of_shards_is_said_in_french(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hold(_pool: Pool, _service: str, _shard: int, _instance: str) -> None:
        """Another replica has it."""

    async def serve(_lease: Lease, _reader: ShardReader) -> None:
        pytest.fail("it has none")

    monkeypatch.setattr("core.runtime.ownership.take_lease", hold)
    sharded = Sharded("ingest", topics.UPLINKS, topics.uplinks, 4)
    async with connect_bus(nats_url, "test") as bus:
        owner = ShardOwner(pool, bus, sharded, "a", serve)
        before = await said(Readiness({"shards": owner.check_share}))
        owning = asyncio.create_task(owner.run())
        async with asyncio.timeout(20):
            while (later := await said(Readiness({"shards": owner.check_share}))) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        owning.cancel()
        await asyncio.wait((owning,))

    assert (before, later) == ("parts : pas encore demandées", "parts : en lit 0 sur 4")
