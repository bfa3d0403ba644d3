"""A service dies with batches in hand that it has fetched and not acknowledged."""

import asyncio
import signal

from core.runtime.postgres import connect
from lab.chaos.case import Act
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene

MOST_UNACKNOWLEDGED_WAIT_S = 15.0
FROZEN_BEFORE_READING_S = 1.0
LOCK_UPLINKS = "LOCK TABLE observation.uplink IN SHARE MODE"


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
