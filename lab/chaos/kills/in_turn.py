"""Several services and servers of one stack, killed one after the other while everybody uses it."""

import asyncio
import signal
from collections.abc import Sequence
from itertools import cycle

from lab.chaos.case import Act
from lab.chaos.scene import Scene
from lab.chaos.stack.processes import send
from lab.radio.clock import now_us
from lab.simulator.account import Kill
from lab.users.balancer import Balancer
from services.supervisor.run_info import ServiceInfo

READY_WITHIN_S = 60.0
KILL_EVERY_S = 10.0


def kill_in_turn(*services: str) -> Act:
    """SIGKILL to every replica of one service after the other, each when the former has been replaced."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        for service in services:
            await scene.until_replaced(service, await scene.strike_at_worst(service))
            await scene.processes.until_ready(READY_WITHIN_S)

    return act


def kill_each(*services: str) -> Act:
    """SIGKILL to every replica of each, once the chain keeps up again after the former."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        for service in services:
            former = scene.strike(service, signal.SIGKILL)
            scene.recover_from(service)
            await scene.until_replaced(service, former)
            await scene.processes.require_ready(READY_WITHIN_S, f"après la mort de {service}")
            await scene.until_recovered()

    return act


def kill_any_replica(*services: str) -> Act:
    """Every ten seconds one replica of the next service dies; gateways are turned to the bridge that is ready."""

    async def act(scene: Scene) -> None:
        balancer = Balancer(scene.load, scene.processes.run.replicas("gateway_bridge"))
        balancing = asyncio.create_task(balancer.run(), name="balance")
        try:
            await scene.lead()
            await _kill_for(scene, services, balancer)
        finally:
            balancing.cancel()
            await asyncio.gather(balancing, return_exceptions=True)
        scene.notes.append(f"{scene.strikes} répliques tuées, {balancer.turns} passerelles tournées")

    return act


async def _kill_for(scene: Scene, services: Sequence[str], balancer: Balancer) -> None:
    loop = asyncio.get_running_loop()
    ends, pause = loop.time() + scene.lasting_s, min(KILL_EVERY_S, scene.lasting_s)
    # The first replica of each, then the second of each.
    victims = cycle([(service, number) for number in range(2) for service in services])
    while loop.time() + pause <= ends or not scene.strikes:
        service, number = next(victims)
        replicas = scene.processes.run.replicas(service)
        _kill(scene, service, replicas[number % len(replicas)], balancer)
        await asyncio.sleep(pause)


def _kill(scene: Scene, service: str, victim: ServiceInfo, balancer: Balancer) -> None:
    """A replica that the former kill has not let come back has nothing to lose."""
    if victim.pid is None:
        scene.notes.append(f"{victim.name} ne tournait pas")
        return
    if service == "gateway_bridge":
        scene.kills.append(Kill(now_us(), balancer.behind(victim)))
    scene.victims.add(service)
    scene.strikes += 1
    send(victim.pid, signal.SIGKILL)
    scene.recover_from(f"{victim.name} ({scene.strikes})")
