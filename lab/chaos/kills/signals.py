"""One service of a stack is killed, asked to stop, kept down or frozen, with all its replicas or one."""

import asyncio
import signal

from lab.chaos.case import Act
from lab.chaos.scene import Scene
from lab.chaos.stack.processes import send

# PostgreSQL takes SIGTERM for "when everybody has left"; an operator sends more after a while.
INSIST_AFTER_S = 3.0
READ_OWNER = "SELECT owner FROM shard_lease WHERE service = $1 AND expires_at > now() ORDER BY shard LIMIT 1"


def kill(service: str) -> Act:
    """SIGKILL to every replica."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        former = scene.strike(service, signal.SIGKILL)
        await scene.until_replaced(service, former)

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


def freeze(service: str) -> Act:
    """SIGSTOP of every replica: nobody does its work, and nobody closes its connections."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        scene.victims.add(service)
        scene.processes.signal(service, signal.SIGSTOP)
        try:
            await asyncio.sleep(scene.lasting_s)
        finally:
            scene.processes.signal(service, signal.SIGCONT)
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
