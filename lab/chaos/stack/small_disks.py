"""Disks that a case can fill: small file systems in memory, mounted where servers keep their data."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lab.chaos.outcome import NotRun

# Small enough to be filled in a moment, large enough for what a case writes before and after.
SMALL_DISKS = {"postgres": 1024, "nats": 256}
"""Megabytes, by the name of the server, which is that of its folder in the home."""


@contextmanager
def small_disks(home: Path) -> Generator[dict[str, Path]]:
    """The folders of the servers' data on file systems of their own, in memory.

    Raises:
        NotRun: mounting is not allowed here.
    """
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    mounted: dict[str, Path] = {}
    try:
        for service, megabytes in SMALL_DISKS.items():
            folder = home / service
            folder.mkdir(mode=0o711, exist_ok=True)
            options = f"size={megabytes}m,mode=711"
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "territoire-chaos", str(folder)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise NotRun(f"un petit disque ne peut pas être monté ici : {done.stderr.strip()}")
            mounted[service] = folder
        yield mounted
    finally:
        for folder in mounted.values():
            subprocess.run(["umount", "--lazy", str(folder)], check=False)
