"""What a file system promises of files that have another name since."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of a folder: what was renamed or made there is there after a power cut.

    Raises:
        OSError: it is no folder, or the disk takes nothing.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
