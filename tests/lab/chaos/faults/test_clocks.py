"""A wall clock that is set while a process runs; what counts seconds stays right."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.chaos.faults.clocks import clock_library, environment_of, set_clock

TELLS = "import sys, time\nfor line in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


@pytest.mark.starts_processes
def test_the_wall_clock_of_a_running_process_jumps_and_comes_back_and_its_seconds_go_on(tmp_path: Path) -> None:
    library = clock_library()
    file = tmp_path / "offset"
    set_clock(file, 0)
    pipe = subprocess.PIPE
    environment = {**os.environ, **environment_of(library, file)}
    with subprocess.Popen(
        [sys.executable, "-c", TELLS], env=environment, stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        offsets: list[int] = []
        for wanted in (0, 3_600, -3_600, 0):
            set_clock(file, wanted)
            deadline = time.monotonic() + 20
            while True:
                process.stdin.write("?\n")
                process.stdin.flush()
                wall, seconds = map(float, process.stdout.readline().split())
                assert abs(seconds - time.monotonic()) < 5
                if abs(wall - time.time() - wanted) < 5 or time.monotonic() > deadline:
                    break
            offsets.append(round((wall - time.time()) / 3_600) * 3_600)
        process.kill()

    assert offsets == [0, 3_600, -3_600, 0]
