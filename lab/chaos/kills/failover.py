"""The primary dies with all that it had, a standby takes over, and the address that everybody knows leads to it.

Both standbys are built by the case, while the stack runs, and commits wait for one of them, as CloudNativePG sets
it up (k8s/components/database-cnpg). What an operator needs to notice that the primary is gone is not here.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lab.chaos.scene import Scene
from lab.postgres_servers import Server, promote, streaming
from lab.radio.clock import now_us
from services.supervisor.home import Home
from services.supervisor.launch import Launch, system_path
from services.supervisor.ports import free_tcp_port
from services.supervisor.postgres import PrivatePostgres
from services.supervisor.stack import Stack, checkout

PRIMARY, STANDBYS = "postgres", ("two", "three")
ANY_ONE = f"ANY 1 ({', '.join(STANDBYS)})"
# Until a standby has asked for it: the checkpoint of the next one's copy would remove it.
LOG_KEPT = "1GB"
FOLDER = "standbys"


async def fail_over(scene: Scene) -> None:
    """Build two standbys, kill the primary, promote the one that has received most."""
    primary, standbys = _servers(scene)
    scene.processes.hold(PRIMARY)
    await primary.configure(wal_keep_size=LOG_KEPT)
    for standby in standbys:
        await asyncio.to_thread(standby.become_standby_of, primary)
        standby.start()
        assert standby.process is not None
        scene.processes.keep(standby.process)
    await streaming(primary, len(standbys))
    for one in (primary, *standbys):  # Who is promoted waits for the other from its first commit on.
        await one.configure(synchronous_standby_names=ANY_ONE)
    await scene.lead()
    _kill_all_of(scene)
    began = time.monotonic()
    chosen = await promote(standbys)
    scene.notes.append(f"{chosen.name} promu en {time.monotonic() - began:.1f} s".replace(".", ","))
    _lead_address_to(scene, primary.postgres.port, chosen.postgres.port)
    scene.processes.stood_in_for.add(PRIMARY)
    unready = await scene.processes.until_ready(60)
    if unready:
        scene.notes.append(f"pas prêt après une minute : {', '.join(unready)}")
    await streaming(chosen, 1)
    await asyncio.sleep(scene.lasting_s)


def _servers(scene: Scene) -> tuple[Server, list[Server]]:
    home = Home(Path(scene.processes.run.home))
    postgres = Stack.running(home).servers.postgres
    folder = home.folder / FOLDER
    folder.mkdir(mode=0o711)
    standbys = [
        Server(name, PrivatePostgres(folder / name, free_tcp_port(), postgres.password, {"cluster_name": name}))
        for name in STANDBYS
    ]
    return Server("one", postgres), standbys


def _kill_all_of(scene: Scene) -> None:
    """As a machine that is gone: no backend of it goes on for an instant and acknowledges what nobody keeps."""
    pid = scene.processes.pids(PRIMARY)[PRIMARY]
    scene.cut_off(PRIMARY, now_us())
    os.killpg(pid, signal.SIGKILL)


def _lead_address_to(scene: Scene, port: int, target: int) -> None:
    """What the services of a cluster's address do: who connects there comes to the new primary."""
    argv = (sys.executable, "-P", "-m", "lab.chaos.stack.address", str(port), str(target))
    launch = Launch(argv, env={"PATH": system_path(), "PYTHONPATH": str(checkout())})
    scene.processes.keep(subprocess.Popen(launch.argv, **launch.arguments(subprocess.DEVNULL)))
