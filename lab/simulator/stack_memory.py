"""How much memory the stack takes: proportional set size, so that shared pages count once."""

import re
from pathlib import Path

from services.supervisor.run_info import RunInfo

# PostgreSQL's memory is the operator's choice (shared_buffers), and the simulator is not part of the product.
NOT_COUNTED = frozenset({"postgres"})


def pss_mb(pid: int) -> float:
    """Proportional set size of one process in MB; 0 when it is gone, or not ours to look at."""
    return _rollup_mb(pid, "Pss")


def written_mb(pid: int) -> float:
    """The same of what it has written, without files: whoever else reads these makes a process's share smaller."""
    return _rollup_mb(pid, "Pss_Anon") + _rollup_mb(pid, "Pss_Shmem")


def _rollup_mb(pid: int, part: str) -> float:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    except OSError:
        return 0.0
    found = re.search(rf"^{part}:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def pids_of(run: RunInfo) -> dict[str, int]:
    """Every process of the stack, supervisor included, by name."""
    found = {service.name: service.pid for service in run.services if service.pid is not None}
    return found | {"supervisor": run.supervisor_pid}


def stack_memory_mb(run: RunInfo) -> dict[str, float]:
    """Every process of the stack but PostgreSQL, supervisor included, by name."""
    pids = pids_of(run)
    return {name: round(pss_mb(pids[name]), 1) for name in sorted(pids.keys() - NOT_COUNTED)}
