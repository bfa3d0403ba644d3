import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from services.supervisor.forking import ForkedProcess, ForkServer
from services.supervisor.launch import Launch
from services.supervisor.supervisor import Child, ChildSpec, Supervisor
from tests.services.supervisor.test_supervisor import state, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What each says of itself, and then waits for a line that never comes.
TELLS = """
import json, os, random, signal, sys, uuid
import shown_by_all
import shown_by_{name}
from prometheus_client import generate_latest
if __name__ == "__main__":
    said = {{
        "env": dict(os.environ), "cwd": os.getcwd(), "group": os.getpgid(0), "session": os.getsid(0),
        "parent": os.getppid(), "open": sorted(int(one) for one in os.listdir("/proc/self/fd"))[:-1],
        "random": [random.random(), uuid.uuid4().hex],
        "metrics": [line.split()[0] for line in generate_latest().decode().split("\\n") if line[:5] == "shown"],
    }}
    print(json.dumps(said))
    signal.pause()
"""
PROGRAMS = {
    "first": "import sys, prometheus_client\nif __name__ == '__main__': sys.exit(3)",
    "one": TELLS.format(name="one"),
    "other": TELLS.format(name="other"),
    "broken": "import a_library_that_nobody_has",
}
METRICS = (
    "from prometheus_client import Gauge\nSHOWN = Gauge('shown_by_{name}', 'x', ['of'])\nOF = SHOWN.labels('us')\n"
)
SECRET = "seul-ce-processus-la-connait"


class Said(msgspec.Struct):
    """What a program of these says of itself."""

    env: dict[str, str]
    cwd: str
    group: int
    session: int
    parent: int
    open: list[int]
    random: list[object]
    metrics: list[str]


@dataclass
class Forks:
    """A fork server under a supervisor, and what it has forked."""

    folder: Path
    server: ForkServer
    supervisor: Supervisor
    processes: list[ForkedProcess] = field(default_factory=list[ForkedProcess])

    @property
    def child(self) -> Child:
        return self.supervisor.children[0]

    async def fork(self, program: str, **env: str) -> tuple[ForkedProcess, Path]:
        file = self.folder / f"{program}-{len(self.processes)}.log"
        with file.open("wb") as log:
            process = await self.server.fork(launch_of(program, env), log)
        self.processes.append(process)
        return process, file

    async def said(self, program: str, **env: str) -> tuple[ForkedProcess, Said]:
        """A new process, once it has said what it is."""
        process, log = await self.fork(program, **env)
        await until(lambda: log.read_bytes().endswith(b"\n"))
        return process, msgspec.json.decode(log.read_bytes(), type=Said)


def launch_of(program: str, env: dict[str, str]) -> Launch:
    return Launch((sys.executable, "-P", "-m", program), env={"LANG": "C.UTF-8", **env})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forks(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Forks]:
    folder = tmp_path_factory.mktemp("forks")
    for name, program in PROGRAMS.items():
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
        (folder / name / "__main__.py").write_text(program)
    for name in ("all", "one", "other"):
        (folder / f"shown_by_{name}.py").write_text(METRICS.format(name=name))
    environment = {"PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}
    server = ForkServer(list(PROGRAMS), environment, forked_within=5.0)
    spec = ChildSpec("fork_server", server.launch(), folder / "server.log", server.is_there, start=server.start)
    made = Forks(folder, server, Supervisor())
    await made.supervisor.start([spec])
    yield made
    await made.supervisor.stop()
    for process in made.processes:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_forked_process_is_as_if_it_had_been_started_by_itself(forks: Forks) -> None:
    process, said = await forks.said("one", OURS=SECRET)

    assert said.env == {"LANG": "C.UTF-8", "OURS": SECRET}
    assert (said.parent, said.group, said.session) == (os.getpid(), process.pid, process.pid)
    assert (said.cwd, said.open) == ("/tmp", [0, 1, 2])
    assert shown(process.pid, "cmdline").split() == [sys.executable, "-P", "-m", "one"]


async def test_forked_process_is_handed_a_socket_that_the_fork_server_does_not_keep(forks: Forks) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        inode = os.fstat(bound.fileno()).st_ino
        log = forks.folder / "handed.log"
        with log.open("wb") as output:
            process = await forks.server.fork(replace(launch_of("one", {}), handed=bound), output)
        forks.processes.append(process)
        await until(lambda: log.read_bytes().endswith(b"\n"))
    said = msgspec.json.decode(log.read_bytes(), type=Said)
    assert forks.child.pid is not None

    assert said.open == [0, 1, 2, 3]
    assert open_in(process.pid)["3"] == f"socket:[{inode}]"
    assert (said.env["LISTEN_PID"], said.env["LISTEN_FDS"]) == (str(process.pid), "1")
    assert f"socket:[{inode}]" not in open_in(forks.child.pid).values()


async def test_what_one_process_is_given_no_other_ever_has(forks: Forks) -> None:
    ours, _ = await forks.said("one", OURS=SECRET)
    neighbour, _ = await forks.said("other")
    server = forks.child.pid
    assert server is not None

    found = {name: SECRET.encode() in memory(pid) for name, pid in (("server", server), ("other", neighbour.pid))}

    assert SECRET.encode() in memory(ours.pid)
    assert found == {"server": False, "other": False}
    for pid in (server, ours.pid, neighbour.pid):
        assert SECRET not in shown(pid, "environ")


async def test_forks_of_one_server_draw_different_numbers_and_show_the_metrics_of_their_own_program(
    forks: Forks,
) -> None:
    _, one = await forks.said("one")
    _, other = await forks.said("other")

    assert not set(map(str, one.random)) & set(map(str, other.random))
    assert one.metrics == ['shown_by_all{of="us"}', 'shown_by_one{of="us"}']
    assert other.metrics == ['shown_by_all{of="us"}', 'shown_by_other{of="us"}']


async def test_end_of_a_forked_process_is_known_with_its_status(forks: Forks) -> None:
    killed, _ = await forks.said("one")
    left, _ = await forks.fork("first")
    broken, log = await forks.fork("broken")

    killed.send_signal(signal.SIGKILL)

    assert (await killed.wait(), await left.wait(), await broken.wait()) == (-9, 3, 1)
    assert "No module named 'a_library_that_nobody_has'" in log.read_text("utf-8")


async def test_processes_live_on_when_the_fork_server_is_killed_and_the_next_one_forks_more(forks: Forks) -> None:
    process, _ = await forks.said("one")
    former = forks.child.pid
    assert former is not None

    os.kill(former, signal.SIGKILL)
    await until(lambda: forks.child.pid not in {None, former})
    _, said = await forks.said("other")

    assert process.returncode is None
    assert said.parent == os.getpid()


async def test_frozen_fork_server_is_killed_and_another_one_forks(forks: Forks) -> None:
    former = forks.child.pid
    assert former is not None
    os.kill(former, signal.SIGSTOP)

    with pytest.raises(OSError, match="does not answer"):
        await forks.fork("one")
    await until(lambda: forks.child.pid not in {None, former})

    assert (await forks.said("one"))[1].parent == os.getpid()


async def test_supervisor_that_is_killed_takes_its_fork_server_and_all_that_was_forked_with_it(
    forks: Forks,
) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from services.supervisor.forking import ForkServer\n"
        "from services.supervisor.launch import Launch\n"
        "async def main():\n"
        "    server = ForkServer(['first', 'one'], {'PYTHONPATH': sys.argv[1]})\n"
        "    with open('/dev/null', 'wb') as log:\n"
        "        parent = await server.start(server.launch(), log)\n"
        "        child = await server.fork(Launch((sys.executable, '-P', '-m', 'one')), log)\n"
        "    print(parent.pid, child.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(forks.folder), stdout=asyncio.subprocess.PIPE
    )
    assert supervisor.stdout is not None
    pids = [int(pid) for pid in (await supervisor.stdout.readline()).split()]

    supervisor.kill()
    await supervisor.wait()

    assert len(pids) == 2
    await until(lambda: all(state(pid) in {"gone", "Z"} for pid in pids))


def shown(pid: int, what: str) -> str:
    """As ps(1) shows it."""
    return Path(f"/proc/{pid}/{what}").read_bytes().replace(b"\0", b" ").decode()


def open_in(pid: int) -> dict[str, str]:
    """What each descriptor of a process is."""
    return {one.name: str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()}


def memory(pid: int) -> bytes:
    """All that a process can write to."""
    octets = b""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as whole:
        for start, end in re.findall(r"^(\w+)-(\w+) rw", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE):
            whole.seek(int(start, 16))
            octets += whole.read(int(end, 16) - int(start, 16))
    return octets
