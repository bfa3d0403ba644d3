"""CPU time of a process and of its children, as Linux counts it."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def _fields(pid: str) -> list[str] | None:
    try:
        # The command's name is in parentheses and may hold spaces.
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return None


def cpu_seconds_of(pid: int | None) -> float:
    """User and system time of a server, of its children that live, and of those it has buried; 0 without a pid."""
    if pid is None:
        return 0.0
    ticks = 0
    for entry in (folder.name for folder in Path("/proc").iterdir()):
        fields = _fields(entry) if entry.isdigit() else None
        if fields is None:
            continue
        # proc(5), /proc/pid/stat, counted from field 3: ppid is 4, utime to cstime are 14 to 17.
        if int(entry) == pid:
            ticks += sum(int(field) for field in fields[11:15])
        elif int(fields[1]) == pid:
            ticks += sum(int(field) for field in fields[11:13])
    return ticks / TICKS
