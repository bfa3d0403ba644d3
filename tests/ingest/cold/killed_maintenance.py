"""Retention, or an erasure from files, that kills itself at the n-th line of what handles them.

Given the database and the folder. Each line of its input is n, the months of two terms, and an erasure or nothing:
a process that has imported everything already is forked for it, and said to be `killed` or `done`.
"""

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from core.runtime.leader import NotLeader
from core.runtime.postgres import open_pool
from ingest.maintenance.cold_erasing import erase_from_files
from ingest.maintenance.retention import Term
from tests.ingest.cold.cold_world import Cold

OURS = ("/ingest/cold/", "/ingest/maintenance/cold_", "/ingest/maintenance/retention.py", "/maintenance/leader.py")
counting = threading.Lock()
left = 0


def trace(frame: Any, event: str, _: Any) -> Any:
    """Count lines of ours; at the last one it is over."""
    global left  # noqa: PLW0603
    name = frame.f_code.co_filename
    if "/tests/" in name or not any(part in name for part in OURS):
        return None
    if event == "line":
        with counting:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    return trace


async def run(url: str, folder: Path, months: int, personal: int, erasure: int | None) -> None:
    """What is killed. The server may hold the lock of the one that was killed before for a moment."""
    async with open_pool(url, "territoire-tests", size=2) as pool, asyncio.timeout(20):
        while True:
            with suppress(NotLeader):
                if erasure is not None:
                    await erase_from_files(pool, folder, erasure)
                else:
                    await Cold(pool, folder).forget(Term("measurement", months, personal))
                return
            await asyncio.sleep(0.05)


def main() -> None:
    """Until its input ends."""
    global left  # noqa: PLW0603
    for module in ("pyarrow.parquet", "numpy"):
        import_module(module)
    url, folder = sys.argv[1], Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # The log is no answer.
    for line in sys.stdin:
        last, months, personal, *erasure = map(int, line.split())
        child = os.fork()
        if child == 0:
            left = last
            threading.settrace(trace)
            sys.settrace(trace)
            asyncio.run(run(url, folder, months, personal, erasure[0] if erasure else None))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        answers.write({0: "done", signal.SIGKILL: "killed"}.get(status, f"status {status}") + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
