import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.supervisor.launch import Launch
from services.supervisor.supervisor import ChildSpec, StartFailed, Supervisor

# Says that it runs by a file, and how it ended by another; ignores SIGTERM when asked to.
CHILD = """
import pathlib, signal, sys, time
folder, deaf = pathlib.Path(sys.argv[1]), sys.argv[2] == "deaf"
def leave(*_):
    with (folder.parent / "order").open("a") as order: order.write(folder.name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else leave)
(folder / "ready").touch()
while True: time.sleep(60)
"""


def child(folder: Path, name: str, temper: str = "willing", **options: float) -> ChildSpec:
    home = folder / name
    home.mkdir()

    async def ready() -> bool:
        return (home / "ready").exists()

    launch = Launch((sys.executable, "-c", CHILD, str(home), temper), env=dict(os.environ))
    return ChildSpec(name, launch, folder / f"{name}.log", ready, **options)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - another process's doing has no event here.
            await asyncio.sleep(0.02)


@pytest.fixture
async def supervisor() -> AsyncGenerator[Supervisor]:
    started = Supervisor()
    yield started
    started.kill()
    await started.stop()


async def test_start_returns_when_every_child_of_the_stage_is_ready(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.start([child(tmp_path, "first"), child(tmp_path, "second")])

    assert await supervisor.all_ready() == {"first": True, "second": True}


async def test_a_killed_child_is_started_again_and_counted(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start([child(tmp_path, "only")])
    only = supervisor.children[0]
    former = only.pid
    assert former is not None

    os.kill(former, signal.SIGKILL)
    await until(lambda: only.pid not in {None, former})

    assert only.restarts == 1
    assert [time.time() - at < 60 for at in only.restarted_at] == [True]
    assert "ended with -9" in only.spec.log.read_text("utf-8")


async def test_a_child_that_ends_while_the_disk_is_full_is_started_again(tmp_path: Path) -> None:
    full_disk = Path("/dev/full")
    spec = replace(child(tmp_path, "only"), log=full_disk)
    supervisor = Supervisor(changed=lambda: full_disk.write_text("run.json", "utf-8") and None)
    await supervisor.start([spec])
    only = supervisor.children[0]
    former = only.pid
    assert former is not None

    os.kill(former, signal.SIGKILL)
    await until(lambda: only.pid not in {None, former})
    await supervisor.stop()

    assert only.restarts == 1


async def test_the_last_stage_stops_first(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start([child(tmp_path, "server")])
    await supervisor.start([child(tmp_path, "service")])

    await supervisor.stop()

    assert (tmp_path / "order").read_text().split() == ["service", "server"]
    assert [one.pid for one in supervisor.children] == [None, None]


async def test_a_child_that_does_not_stop_in_time_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start([child(tmp_path, "deaf", "deaf", stop_within=0.2)])

    await supervisor.stop()

    assert supervisor.children[0].pid is None
    assert "killed" in (tmp_path / "deaf.log").read_text("utf-8")


async def test_a_child_that_keeps_ending_is_rejected_with_the_end_of_its_log(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    async def never() -> bool:
        return False

    launch = Launch((sys.executable, "-c", "import sys; sys.exit('port 1700 is taken')"), env=dict(os.environ))

    with pytest.raises(StartFailed, match="port 1700 is taken"):
        await supervisor.start([ChildSpec("doomed", launch, tmp_path / "doomed.log", never, attempts=2)])


async def test_a_child_that_is_never_ready_is_rejected(supervisor: Supervisor, tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    launch = Launch((sys.executable, "-c", "import time; time.sleep(60)"), env=dict(os.environ))

    with pytest.raises(StartFailed, match="slow"):
        await supervisor.start([ChildSpec("slow", launch, tmp_path / "slow.log", never, ready_within=0.2)])


async def test_a_server_that_recovers_for_minutes_is_waited_for_and_told(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, began, told = time.monotonic, time.monotonic(), list[str]()
    fast = SimpleNamespace(monotonic=lambda: began + 1_000 * (real() - began))
    monkeypatch.setattr("services.supervisor.supervisor.time", fast)
    monkeypatch.setattr("services.supervisor.supervisor.WAIT_TOLD_EVERY_S", 0.1)
    supervisor.waiting = lambda name, seconds: told.append(f"{name} {seconds >= 60}")

    async def ready() -> bool:
        return real() > began + 0.5  # More than eight minutes of that clock.

    launch = Launch((sys.executable, "-c", "import time; time.sleep(60)"), env=dict(os.environ))
    await supervisor.start([ChildSpec("server", launch, tmp_path / "server.log", ready, ready_within=None)])

    assert "server True" in told


async def test_others_start_without_one_that_keeps_ending_and_is_not_required(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    program = (
        f"import pathlib, sys, time; pathlib.Path({str(mended)!r}).exists() or sys.exit('wrong'); time.sleep(60)"
    )

    async def ready() -> bool:
        return mended.exists()

    broken = ChildSpec(
        "broken",
        Launch((sys.executable, "-c", program), env=dict(os.environ)),
        tmp_path / "broken.log",
        ready,
        is_required=False,
        attempts=2,
    )
    await supervisor.start([broken, child(tmp_path, "sound")])
    assert await supervisor.all_ready() == {"broken": False, "sound": True}

    mended.touch()
    one = supervisor.children[0]
    await until(lambda: one.pid is not None)
    await supervisor.stop()

    assert one.restarts >= 1


@pytest.mark.parametrize(
    ("program", "said"), [("print('no such table'); raise SystemExit(3)", "no such table"), ("pass", None)]
)
async def test_a_program_that_runs_once_is_judged_by_its_status(
    supervisor: Supervisor, tmp_path: Path, program: str, said: str | None
) -> None:
    launch = Launch((sys.executable, "-c", program), env=dict(os.environ))
    running: Callable[[], Awaitable[None]] = lambda: supervisor.run_to_completion(  # noqa: E731
        "migrate", launch, tmp_path / "migrate.log"
    )

    if said is None:
        await running()
    else:
        with pytest.raises(StartFailed, match=said):
            await running()


async def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, time\n"
        "from services.supervisor.launch import Launch\n"
        "launch = Launch((sys.executable, '-c', 'import time; time.sleep(600)'))\n"
        "print(subprocess.Popen(launch.argv, **launch.arguments(None)).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    orphan = int(await parent.stdout.readline())

    parent.kill()
    await parent.wait()

    await until(lambda: state(orphan) in {"gone", "Z"})


def state(pid: int) -> str:
    """As the kernel sees it. Z counts as ended: the process that adopted it may reap it late."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


async def test_a_child_that_is_held_is_started_again_only_when_it_is_let_go(tmp_path: Path) -> None:
    held = {"only"}
    supervisor = Supervisor(held=held.__contains__)
    await supervisor.start([child(tmp_path, "only")])
    only = supervisor.children[0]
    former = only.pid
    assert former is not None

    try:
        os.kill(former, signal.SIGKILL)
        await until(lambda: only.restarts == 1)
        await asyncio.sleep(0.5)  # Longer than the first pause before a restart.
        while_held = only.pid
        held.clear()
        await until(lambda: only.pid is not None)
    finally:
        await supervisor.stop()

    assert while_held is None


async def test_a_child_without_room_on_its_disk_is_stopped_until_there_is_some(tmp_path: Path) -> None:
    room = [True]
    spec = replace(child(tmp_path, "only"), room_lasts_s=lambda: 0.0 if room[0] else None)
    supervisor = Supervisor()
    await supervisor.start([spec])
    only = supervisor.children[0]

    try:
        room[0] = False
        await until(lambda: only.pid is None)
        await asyncio.sleep(0.5)  # Longer than the first pause before a restart.
        while_full = only.pid
        room[0] = True
        await until(lambda: only.pid is not None)
    finally:
        await supervisor.stop()

    assert while_full is None
    assert "until its disk has room" in spec.log.read_text("utf-8")
