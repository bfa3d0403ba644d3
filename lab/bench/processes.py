"""CPU time of processes with their children, and of the machine, from /proc (Linux)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# proc(5), counted from the state that follows the name in parentheses.
_PARENT, _OWN, _ENDED_CHILDREN = 1, slice(11, 13), slice(13, 15)
_IDLE, _IO_WAIT = 3, 4


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    own: int
    ended_children: int


def _read(proc: Path) -> dict[int, _Process]:
    processes: dict[int, _Process] = {}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has ended since the folder was listed.
        processes[int(entry.name)] = _Process(
            int(fields[_PARENT]),
            sum(int(ticks) for ticks in fields[_OWN]),
            sum(int(ticks) for ticks in fields[_ENDED_CHILDREN]),
        )
    return processes


def cpu_seconds(pids: Mapping[str, int], proc: Path = PROC) -> dict[str, float]:
    """User and system time of each named process, of its children, and of those that it has waited for."""
    processes = _read(proc)
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)

    def ticks(pid: int) -> int:
        process = processes.get(pid)
        if process is None:
            return 0
        return process.own + process.ended_children + sum(ticks(child) for child in children.get(pid, ()))

    return {name: ticks(pid) / TICKS_PER_S for name, pid in pids.items()}


def machine_seconds(proc: Path = PROC) -> float:
    """CPU time that the whole machine has spent on anything."""
    counts = [int(ticks) for ticks in (proc / "stat").read_text("ascii").splitlines()[0].split()[1:9]]
    return (sum(counts) - counts[_IDLE] - counts[_IO_WAIT]) / TICKS_PER_S


def udp_drops(port: int, proc: Path = PROC) -> int:
    """How many datagrams the kernel dropped from the sockets that are bound to this port."""
    dropped = 0
    for table in ("net/udp", "net/udp6"):
        if not (proc / table).exists():
            continue
        for line in (proc / table).read_text("ascii").splitlines()[1:]:
            columns = line.split()
            if int(columns[1].rpartition(":")[2], 16) == port:
                dropped += int(columns[-1])
    return dropped
