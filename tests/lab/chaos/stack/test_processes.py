import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lab.chaos.stack.processes import Launch, Processes
from lab.programs import Program
from services.supervisor.run_info import RunInfo, ServiceInfo

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEPER, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def home_with(folder: Path, **pids: int) -> Path:
    texts = dict.fromkeys(
        ("api_url", "udp_host", "database_url", "database_admin_url", "nats_url", "mqtt_url"), "x"
    )
    run = RunInfo(
        home=str(folder),
        mode="up",
        supervisor_pid=1,
        started_at=0.0,
        udp_port=1,
        mqtt_bridge_url="x",
        kek="x",
        kek_id="x",
        api_key="x",
        services=tuple(ServiceInfo(name, pid, 0, "x") for name, pid in pids.items()),
        **texts,
    )
    (folder / "run.json").write_bytes(msgspec.json.encode(run))
    return folder


def test_replicas_are_those_of_the_service_and_no_other(tmp_path: Path) -> None:
    home = home_with(tmp_path, **{"ingest-1": 11, "ingest-2": 12, "ingestor": 13, "network": 14})

    processes = Processes(home)

    assert processes.pids("ingest") == {"ingest-1": 11, "ingest-2": 12}
    assert processes.pids("network") == {"network": 14}


def test_what_is_held_is_named_by_child_until_it_is_let_go(tmp_path: Path) -> None:
    processes = Processes(home_with(tmp_path, **{"ingest-1": 11, "ingest-2": 12}))

    processes.hold("ingest")
    held = sorted(file.name for file in (tmp_path / "held").iterdir())
    processes.let_go("ingest")

    assert held == ["ingest-1", "ingest-2"]
    assert not list((tmp_path / "held").iterdir())


def test_what_a_killed_child_left_behind_is_ended(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    processes = Processes(home_with(tmp_path, ingest=sleeper.pid))
    processes.pids("ingest")

    ended = processes.end_left_overs()

    assert ended == 1
    assert sleeper.wait(10) == -9


def service_that_leaves_traces(folder: Path) -> tuple[Launch, Program]:
    package = folder / "services" / "traced"
    package.mkdir(parents=True)
    (folder / "services" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "app.py").write_text(f"open({str(folder / 'imported')!r}, 'w').close()")
    (package / "__main__.py").write_text(f"import sys; open({str(folder / 'ran')!r}, 'w').write(__name__)")
    replica = ServiceInfo("traced", None, 0, str(folder / "traced.log"))
    return Launch(replica, "traced", {"PATH": os.environ["PATH"]}, os.getpid()), Program(sys.executable, folder)


async def test_a_replica_that_is_prepared_has_imported_its_program_and_runs_it_when_it_is_told(
    tmp_path: Path,
) -> None:
    launch, program = service_that_leaves_traces(tmp_path)

    prepared = await launch.prepare(program)
    before = (tmp_path / "imported").exists(), (tmp_path / "ran").exists()
    status = prepared.run().wait(30)

    assert before == (True, False)
    assert status == 0
    assert (tmp_path / "ran").read_text() == "__main__"


async def test_a_replica_that_is_prepared_and_not_wanted_ends_without_running(tmp_path: Path) -> None:
    launch, program = service_that_leaves_traces(tmp_path)

    prepared = await launch.prepare(program)
    process = prepared.process
    del prepared
    gc.collect()

    assert process.wait(30) == 0
    assert not (tmp_path / "ran").exists()
