"""What is done to a stack. Each function returns an act: given the scene, it injects a fault and ends it."""

import asyncio
import errno
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from core.runtime.postgres import connect
from lab.chaos.processes import CaseFailed, send
from lab.chaos.scene import Scene
from lab.fleet.tenancy import prepare_tenant
from lab.radio.clock import now_us
from lab.simulator.driver import Fleet
from lab.simulator.main import provision_fleet
from services.supervisor.run_info import RunInfo

Act = Callable[[Scene], Awaitable[None]]
Around = Callable[[Scene], AbstractAsyncContextManager[None]]

READY_WITHIN_S = 60.0
# PostgreSQL takes SIGTERM for "when everybody has left"; an operator sends more after a while.
INSIST_AFTER_S = 3.0
MOST_UNACKNOWLEDGED_WAIT_S = 15.0
FROZEN_BEFORE_READING_S = 1.0
GROW_BLOCKS, GROW_EVERY_S = 8, 0.05
BLOCK = b"\0" * (1 << 20)
LOCK_UPLINKS = "LOCK TABLE observation.uplink IN SHARE MODE"
READ_OWNER = "SELECT owner FROM shard_lease WHERE service = $1 AND expires_at > now() ORDER BY shard LIMIT 1"
# Four gateways, of which one is on MQTT; the nearest ones receive a device.
FLEET_GATEWAYS, FLEET_DEVICES, FLEET_RATE = 4, 40, 20.0
FLEET_JOINS_WITHIN_S, FLEET_ENOUGH, FLEET_SETTLES_S = 30.0, 0.75, 3.0


def kill(service: str) -> Act:
    """SIGKILL to every replica."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        former = scene.strike(service, signal.SIGKILL)
        await scene.until_replaced(service, former)

    return act


def kill_in_turn(*services: str) -> Act:
    """SIGKILL to every replica of one service after the other, each when the former has been replaced."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        for service in services:
            await scene.until_replaced(service, await scene.strike_at_worst(service))
            await scene.processes.until_ready(READY_WITHIN_S)

    return act


def terminate(service: str) -> Act:
    """SIGTERM to every replica: it stops in order, and is started again."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        former = scene.strike(service, signal.SIGTERM)
        if service == "postgres" and not await scene.processes.until_replaced(service, former, INSIST_AFTER_S):
            scene.processes.signal(service, signal.SIGINT)
        await scene.until_replaced(service, former)

    return act


def keep_down(*services: str) -> Act:
    """SIGKILL, and nothing in its place for as long as the case lasts."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        try:
            for service in services:
                scene.processes.hold(service)
                scene.strike(service, signal.SIGKILL)
            await asyncio.sleep(scene.lasting_s)
        finally:
            for service in services:
                scene.processes.let_go(service)
        scene.recover_from_now()

    return act


def freeze_owner(service: str) -> Act:
    """SIGSTOP of a replica that owns shards; when it wakes, somebody else owns them."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        owner = await scene.pool.fetchval(READ_OWNER, service)
        pid = scene.processes.pids(service).get(owner) or next(iter(scene.processes.pids(service).values()))
        scene.victims.add(service)
        scene.notes.append(f"{owner}")
        send(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(scene.lasting_s)
        finally:
            send(pid, signal.SIGCONT)
        scene.recover_from_now()

    return act


def kill_with_unacknowledged(service: str, stream: str, fewest: int) -> Act:
    """SIGKILL once `fewest` batches were fetched and none of them is acknowledged, while frames go on arriving."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        # It waits in the middle of its transaction, and what it has fetched meanwhile waits behind it.
        connection = await connect(scene.processes.run.database_admin_url, "chaos")
        try:
            async with connection.transaction():
                scene.processes.signal(service, signal.SIGSTOP)
                await connection.execute(LOCK_UPLINKS)
                await asyncio.sleep(FROZEN_BEFORE_READING_S)
                scene.processes.signal(service, signal.SIGCONT)
                held = await _until_unacknowledged(scene, stream, fewest)
                former = scene.strike(service, signal.SIGKILL)
        finally:
            scene.processes.signal(service, signal.SIGCONT)
            await connection.close()
        scene.notes.append(f"{held} lots non acquittés")
        if held < fewest:
            raise CaseFailed(f"{held} lots lus et non acquittés au lieu de {fewest}")
        await scene.until_replaced(service, former)

    return act


async def _until_unacknowledged(scene: Scene, stream: str, fewest: int) -> int:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + MOST_UNACKNOWLEDGED_WAIT_S
    while True:
        held = await scene.bus.unacknowledged(stream)
        if held >= fewest or loop.time() > deadline:
            return held
        await asyncio.sleep(0.05)


def fill_disk(service: str) -> Act:
    """The folder of this server's data has no octet left for a while."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        folder = scene.small_disks[service]
        ballast = folder / "ballast"
        scene.victims.add(service)
        scene.recover_from_now()
        try:
            # As fast as a disk writes, and no faster.
            while await asyncio.to_thread(_grow, ballast):  # noqa: ASYNC110 - A disk has no event.
                await asyncio.sleep(GROW_EVERY_S)
            scene.recover_from_now()
            loop = asyncio.get_running_loop()
            ends = loop.time() + scene.lasting_s
            while loop.time() < ends:  # What is freed meanwhile, by a dying server, is filled as well.
                await asyncio.sleep(0.5)
                await asyncio.to_thread(_fill, ballast)
        finally:
            ballast.unlink(missing_ok=True)
        scene.recover_from_now()

    return act


def _grow(ballast: Path) -> bool:
    """Append a little; whether all of it had room."""
    try:
        with ballast.open("ab", buffering=0) as file:
            return file.write(BLOCK * GROW_BLOCKS) == len(BLOCK) * GROW_BLOCKS
    except OSError as full:
        if full.errno != errno.ENOSPC:
            raise
        return False


def _fill(ballast: Path) -> None:
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for size in (len(BLOCK), 4096, 1):
            _write_until_full(descriptor, BLOCK[:size])
    finally:
        os.close(descriptor)


def _write_until_full(descriptor: int, block: bytes) -> None:
    while True:
        try:
            os.write(descriptor, block)
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise
            return


def with_mqtt_fleet(case: str) -> Around:
    """Beside the load, a few devices that gateways on MQTT receive as well."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        async with fly_fleet(scene, case, scene.processes.run):
            yield

    return around


@dataclass(frozen=True, slots=True)
class Flown:
    """A fleet on the air, its tenant, and that one's key."""

    fleet: Fleet
    tenant_id: int
    key: str


@asynccontextmanager
async def fly_fleet(
    scene: Scene, case: str, run: RunInfo, prepare: Callable[[Fleet], None] | None = None
) -> AsyncGenerator[Flown]:
    """A few devices beside the load, whose gateways on MQTT and WebSocket go where `run` says."""
    name = f"{case}-{now_us()}"
    tenant, key = await prepare_tenant(scene.pool, name, name)
    fleet = await provision_fleet(run, key, name, FLEET_GATEWAYS, FLEET_DEVICES, FLEET_RATE, Console(quiet=True))
    if prepare is not None:
        prepare(fleet)
    flying = asyncio.create_task(fleet.run(), name="fleet")
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(FLEET_JOINS_WITHIN_S):
                while fleet.joined < FLEET_ENOUGH * len(fleet.devices):  # noqa: ASYNC110 - The fleet has no event.
                    await asyncio.sleep(0.2)
        scene.fleets.append(fleet)
        yield Flown(fleet, tenant.id, key)
        fleet.silent.set()
        await asyncio.sleep(FLEET_SETTLES_S)
    finally:
        flying.cancel()
        await asyncio.gather(flying, return_exceptions=True)
