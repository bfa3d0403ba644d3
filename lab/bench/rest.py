"""What a stack takes while nothing comes: memory, CPU and wake-ups of each process, `python -m lab.bench.rest`.

PostgreSQL is listed and not added up: how much memory it takes is a setting. A machine that is busy with something
else makes delays longer and neither figure larger; pages that others share make the memory smaller.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from cli.running import print_json
from lab.bench.processes import cpu_seconds
from lab.simulator.stack_memory import NOT_COUNTED, pids_of, pss_mb
from lab.stack_process import background_stack

SETTLES_S, LASTS_S = 45.0, 60.0


def wake_ups(pid: int) -> int:
    """How often the threads of a process gave up the processor to wait for something."""
    found = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text("ascii").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                found += int(line.split()[1])
    return found


async def measure_rest(home: Path, settles_s: float, lasts_s: float) -> dict[str, Any]:
    """Start a stack in this folder, leave it alone, and look."""
    async with background_stack(home, {}) as run:
        pids = pids_of(run)
        # The supervisor's children are counted by themselves: of it its own process alone.
        children = [name for name in pids if name != "supervisor"]
        await asyncio.sleep(settles_s)
        cpu, woken = cpu_seconds(pids), {name: wake_ups(pid) for name, pid in pids.items()}
        await asyncio.sleep(lasts_s)
        used = {name: 100 * (now - cpu[name]) / lasts_s for name, now in cpu_seconds(pids).items()}
        used["supervisor"] -= sum(used[name] for name in children)
        processes = {
            name: {
                "pss_mb": round(pss_mb(pid), 1),
                "cpu_percent": round(used[name], 2),
                "wake_ups_s": round((wake_ups(pid) - woken[name]) / lasts_s, 1),
            }
            for name, pid in sorted(pids.items())
        }
    ours = [one for name, one in processes.items() if name not in NOT_COUNTED]
    whole = {key: round(sum(one[key] for one in ours), 2) for key in ("pss_mb", "cpu_percent", "wake_ups_s")}
    return {"whole": whole, "processes": processes}


def main() -> int:
    """Print one JSON object."""
    asked = argparse.ArgumentParser(prog="python -m lab.bench.rest")
    asked.add_argument("--settles", type=float, default=SETTLES_S)
    asked.add_argument("--lasts", type=float, default=LASTS_S)
    options = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="territoire-rest-", dir="/var/tmp"))
    folder.chmod(0o711)
    try:
        found = asyncio.run(measure_rest(folder / "home", options.settles, options.lasts))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_json(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
