"""An upgrade while the load goes on: the schema first, then replica by replica, and one release back."""

from functools import partial

from core.messages.versions import CURRENT
from core.runtime.postgres import connect
from lab.chaos.case import Act
from lab.chaos.outcome import CaseFailed, NotRun
from lab.chaos.scene import Scene
from lab.chaos.stack.metrics import total
from lab.chaos.stack.releases import Upgrade, migrate

READY_WITHIN_S = 60.0
MESSAGE_VERSION = "territoire_message_version"


def upgrade_and_back(*services: str) -> Act:
    """To the newer program and back again, each replica once the former is ready."""

    async def act(scene: Scene) -> None:
        upgrade = scene.upgrade
        if upgrade is None:
            raise NotRun("se joue sur une pile de la version précédente")
        await scene.lead()
        await migrate(scene.processes.run, upgrade.newer)
        try:
            for service in services:
                await scene.processes.replace_in_turn(
                    service, upgrade.newer, partial(scene.cutting_off, service), READY_WITHIN_S
                )
            await _require_newer(scene, upgrade)
            for service in reversed(services):
                await scene.processes.give_back_in_turn(
                    service, partial(scene.cutting_off, service), READY_WITHIN_S
                )
        finally:
            for service in services:
                await scene.processes.give_back(service)  # Where it has not come so far.
        scene.recover_from_now()

    return act


async def _require_newer(scene: Scene, upgrade: Upgrade) -> None:
    """Every replica is the newer program, and writes what all that may be started read."""
    run, knows = scene.processes.run, upgrade.newer.migrations
    connection = await connect(run.database_admin_url, "chaos")
    try:
        number = await connection.fetchval("SELECT max(number) FROM schema_migration")
        newer = await connection.fetchval("SELECT count(*) FROM service_release WHERE knows = $1", knows)
    finally:
        await connection.close()
    replicas = [one for one in run.services if one.health_url is not None]
    if (number, newer) != (knows, len(replicas)):
        raise CaseFailed(f"schéma {number} au lieu de {knows}, {newer} processus sur {len(replicas)}")
    written = {await total(f"{one.health_url}/metrics", MESSAGE_VERSION) for one in replicas}
    if upgrade.version is None and written != {CURRENT}:
        raise CaseFailed(f"messages écrits en version {sorted(written)} au lieu de {CURRENT}")
    scene.notes.append(
        f"de {upgrade.version or 'ce commit'} au schéma {number}, {newer} processus, messages en version "
        f"{', '.join(map(str, sorted(written)))}"
    )
