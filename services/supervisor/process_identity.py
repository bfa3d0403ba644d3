"""Tells a process from another one that has its number later, whatever was started or rebooted between."""

import os
from pathlib import Path

PROC = Path("/proc")
# proc(5), /proc/pid/stat: starttime is field 22, counted here from field 3.
START_TIME = 22 - 3


def started_at(pid: int) -> float | None:
    """When it was started, in seconds since the epoch, to a second; None as of its identity."""
    found = identity_of(pid)
    try:
        booted = next(
            line for line in (PROC / "stat").read_text("ascii").splitlines() if line.startswith("btime ")
        )
    except (OSError, StopIteration):
        return None
    return None if found is None else int(booted.split()[1]) + int(found.split("/")[1]) / os.sysconf("SC_CLK_TCK")


def identity_of(pid: int) -> str | None:
    """The boot, and when in it the process was started; None: there is none, or it is hidden from this account."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        fields = (PROC / str(pid) / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return f"{boot}/{fields[START_TIME]}"
