"""What the system grants a running process: fewer descriptors than it wants, or twice its own memory at most."""

import asyncio
import resource
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lab.chaos.case import Act
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.chaos.stack.metrics import total

REFUSED = "territoire_http_connections_refused_total"
# Of those who come: more than there is room for.
CONNECTIONS, OPENED_WITHIN_S, ANSWERED_WITHIN_S = 300, 5.0, 30.0
READY_WITHIN_S = 60.0
REQUEST = b"GET /livez HTTP/1.1\r\nHost: territoire\r\n\r\n"
# Closed without a word, or by a service that has no room; anything else is an answer.
TURNED_AWAY = frozenset({0, 503})
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def open_descriptors(pid: int) -> set[int]:
    """The numbers that a process has in use."""
    return {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}


def limit_leaving(used: set[int], room: int) -> int:
    """The limit under which so many more may be opened: a number below it that nobody uses is what one costs."""
    limit = 0
    while room:
        room -= limit not in used
        limit += 1
    return limit


def data_octets(pid: int) -> int:
    """What counts for RLIMIT_DATA: private memory that a process may write to (proc(5), VmData)."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


@dataclass(slots=True)
class Crowd:
    """Connections that are opened and kept; who was answered, and how."""

    statuses: list[int] = field(default_factory=list[int])
    """0: closed without a word."""
    _writers: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])

    async def come(self, host: str, port: int, count: int) -> None:
        """So many connect at once, ask one thing each, and stay."""
        await asyncio.gather(*(self._one(host, port) for _ in range(count)))

    async def _one(self, host: str, port: int) -> None:
        status = 0
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(OPENED_WITHIN_S):
                reader, writer = await asyncio.open_connection(host, port)
                self._writers.append(writer)
                writer.write(REQUEST)
                head = await reader.readuntil(b"\r\n\r\n")
                status = int(head.split(b" ")[1])
        self.statuses.append(status)

    def leave(self) -> None:
        """Everybody goes."""
        for writer in self._writers:
            writer.transport.abort()


def exhaust_descriptors(service: str, room: int) -> Act:
    """The service may open `room` descriptors more than it has; then more clients come to it than that."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        run = scene.processes.run
        where = urlsplit({"api": run.api_url, "intake": run.intake_url}[service])
        replica = run.replicas(service)[0]
        pid, health = replica.pid or 0, f"{replica.health_url}/metrics"
        before = await total(health, REFUSED)
        granted = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        crowd = Crowd()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit_leaving(open_descriptors(pid), room), granted[1]))
        try:
            await crowd.come(where.hostname or "", where.port or 0, CONNECTIONS)
            await asyncio.sleep(scene.lasting_s)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, granted)
            crowd.leave()
        scene.recover_from(f"{service} sans descripteurs")
        unready = await scene.processes.until_ready(READY_WITHIN_S)
        after = await total(health, REFUSED)
        turned_away = sum(status in TURNED_AWAY for status in crowd.statuses)
        scene.notes.append(f"{service} : {turned_away} refusés sur {CONNECTIONS}, {after - before} comptés")
        found = [f"pas prêt : {', '.join(unready)}"] if unready else []
        if not turned_away:
            found.append("personne n'a été refusé")
        if after - before < crowd.statuses.count(503):
            found.append(f"{turned_away} refusés et {after - before} comptés")
        if not await _answers(where.hostname or "", where.port or 0):
            found.append("n'accepte plus personne")
        if found:
            raise CaseFailed(f"{service} : {'; '.join(found)}")

    return act


async def _answers(host: str, port: int) -> bool:
    """Whether a new client is answered, within some seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ANSWERED_WITHIN_S
    while loop.time() < deadline:
        crowd = Crowd()
        await crowd.come(host, port, 1)
        crowd.leave()
        if not TURNED_AWAY.intersection(crowd.statuses):
            return True
        await asyncio.sleep(0.5)
    return False


def limit_memory(times: float, *services: str) -> Act:
    """No process of these services may have more than so many times the memory that it has under the load."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        pids = {name: pid for service in services for name, pid in scene.processes.pids(service).items()}
        usual = {name: data_octets(pid) for name, pid in pids.items()}
        try:
            for name, pid in pids.items():
                limit = round(usual[name] * times)
                resource.prlimit(pid, resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
            await asyncio.sleep(scene.lasting_s)
        finally:
            for pid in pids.values():
                with suppress(ProcessLookupError):
                    resource.prlimit(pid, resource.RLIMIT_DATA, UNLIMITED)
        scene.recover_from(f"mémoire limitée à {times:g} fois")
        gone = [name for name, pid in pids.items() if pid not in scene.processes.pids(name).values()]
        if gone:
            raise CaseFailed(f"terminés sous une limite de {times:g} fois leur mémoire : {', '.join(gone)}")
        rose = {name: data_octets(pid) / usual[name] for name, pid in pids.items()}
        most = max(rose, key=rose.__getitem__)
        scene.notes.append(f"mémoire : {most} a pris {rose[most]:.2f} fois la sienne")

    return act
