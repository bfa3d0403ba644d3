import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.bench.processes import TICKS_PER_S, cpu_seconds, machine_seconds, udp_drops

# proc(5): after the name state, parent, ... user and system time, and those of children that have ended.
STAT = "{pid} (a (strange) name) S {parent} 1 1 0 -1 0 0 0 0 0 {user} {system} {c_user} {c_system} 20 0 1 0 0"
UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 0100007F:06A4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 9 2 0000000000000000 42
  101: 0100007F:06A5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8 2 0000000000000000 7
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    processes = {10: (1, 100, 50, 7, 3), 11: (10, 20, 20, 0, 0), 12: (11, 5, 5, 0, 0), 13: (1, 999, 999, 0, 0)}
    for pid, (parent, user, system, c_user, c_system) in processes.items():
        (tmp_path / str(pid)).mkdir()
        text = STAT.format(pid=pid, parent=parent, user=user, system=system, c_user=c_user, c_system=c_system)
        (tmp_path / str(pid) / "stat").write_text(text)
    (tmp_path / "stat").write_text("cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 1 2 3\n")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "udp").write_text(UDP)
    return tmp_path


def test_counts_a_process_its_children_and_those_that_have_ended(proc: Path) -> None:
    assert cpu_seconds({"postgres": 10, "other": 13, "gone": 99}, proc) == {
        "postgres": 210 / TICKS_PER_S,
        "other": 1_998 / TICKS_PER_S,
        "gone": 0,
    }


def test_the_machine_is_busy_when_it_neither_idles_nor_waits_for_its_disk(proc: Path) -> None:
    assert machine_seconds(proc) == 171 / TICKS_PER_S


def test_drops_are_those_of_the_port(proc: Path) -> None:
    assert udp_drops(1700, proc) == 42


def test_cpu_seconds_of_a_real_process_are_read() -> None:
    burning = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\ninput()"
    with subprocess.Popen([sys.executable, "-c", f"print(flush=True)\n{burning}"], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        before = machine_seconds()
        while cpu_seconds({"child": child.pid})["child"] < 0.2:
            os.sched_yield()
        child.communicate(b"\n")

    assert machine_seconds() > before
