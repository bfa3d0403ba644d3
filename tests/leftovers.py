"""Folders of servers under test, and those that a killed run has left behind."""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

PREFIX = "territoire-test-"
PLACES = (Path("/dev/shm"), Path("/tmp"))
LOCK = ".owner"
# A folder without a lock is being made at this moment, or was made by a program that knew no lock.
UNLOCKED_LEFT_AFTER_S = 24 * 3600.0


@contextmanager
def owned_folder(place: Path | None) -> Generator[Path]:
    """A folder for servers, removed at the end; its lock lasts as long as this process."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder.chmod(0o711)
            yield folder


def sweep(places: Sequence[Path] = PLACES) -> list[Path]:
    """Remove the folders whose process is dead, whatever killed it; returns them."""
    found = [folder for place in places if place.is_dir() for folder in place.glob(f"{PREFIX}*")]
    left = [folder for folder in found if folder.is_dir() and not folder.is_symlink() and _is_left(folder)]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return left


def _is_left(folder: Path) -> bool:
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > UNLOCKED_LEFT_AFTER_S
    except OSError:  # Locked by its owner, or not ours to read.
        return False
    return True
