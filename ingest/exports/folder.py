"""Where drops go on the operator's own disks: below one root, each tenant in a folder of its own.

Each step down is opened as a folder that is no link, from the one above it: nothing that stands in a tenant's
folder leads out of it.
"""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, AsyncIterable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from core.runtime.errors import TargetFailure, system_reason

# Read by who picks files up, who is in the folder's group or not.
FOLDER_MODE, FILE_MODE = 0o755, 0o644
CLOSED_TEXT = "l'exploitant n'a pas ouvert de dossier aux dépôts (TERRITOIRE_EXPORTS_FOLDER)"
AWAY_TEXT = "le dossier des dépôts n'est pas là : il est peut-être démonté"
REASONS = {
    errno.ENOSPC: "le disque du dossier des dépôts est plein",
    errno.EDQUOT: "le disque du dossier des dépôts est plein",
    errno.EACCES: "le service n'a pas le droit d'écrire dans ce dossier",
    errno.EROFS: "le disque du dossier des dépôts ne se laisse pas écrire",
    errno.ELOOP: "ce dossier est un lien : un dépôt n'en suit pas",
    errno.ENOTDIR: "ce dossier est un lien ou un fichier : un dépôt n'en suit pas",
    errno.EEXIST: "un autre fichier de ce nom est déjà là",
}


def is_inside(directory: str) -> bool:
    """Whether this path goes down only, by names that a file system has."""
    steps = directory.split("/")
    return not directory or all(step not in {"", ".", ".."} and step.isprintable() for step in steps)


@asynccontextmanager
async def open_folder(root: Path | None, slug: str, directory: str) -> AsyncGenerator["Folder"]:
    """The folder `directory` of a tenant; what is missing below the root is made.

    Raises:
        TargetFailure: there is no root, the path leads elsewhere, or the file system refuses.
    """
    if root is None:
        raise TargetFailure(CLOSED_TEXT, is_final=True)
    if not is_inside(directory):
        raise TargetFailure("ce dossier n'est pas dans celui de la collectivité", is_final=True)
    descriptor = await asyncio.to_thread(_descend, root, [slug, *directory.split("/")] if directory else [slug])
    try:
        yield Folder(descriptor)
    finally:
        os.close(descriptor)


def _descend(root: Path, steps: list[str]) -> int:
    try:
        at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        raise TargetFailure(AWAY_TEXT) from None
    for step in steps:
        above = at
        try:
            with _failures():
                with suppress(FileExistsError):
                    os.mkdir(step, FOLDER_MODE, dir_fd=above)
                at = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        finally:
            os.close(above)
    return at


@contextmanager
def _failures() -> Generator[None]:
    try:
        yield
    except OSError as wrong:
        raise TargetFailure(REASONS.get(wrong.errno or 0, f"le dossier refuse : {system_reason(wrong)}")) from None


class Folder:
    """Files of one folder, by their names; as `core.runtime.sftp.SftpFolder` has them of a server."""

    def __init__(self, descriptor: int) -> None:
        self._at = descriptor

    async def has(self, name: str) -> bool:
        """Whether there is something of this name."""
        with _failures():
            return await asyncio.to_thread(self._has, name)

    def _has(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._at, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    async def write(self, name: str, octets: AsyncIterable[bytes]) -> None:
        """A new file, or another content of it, on the disk; raises TargetFailure, and leaves a part then."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with _failures():
            file = os.open(name, flags, FILE_MODE, dir_fd=self._at)
        try:
            async for part in octets:
                with _failures():
                    await asyncio.to_thread(_write_all, file, part)
            with _failures():
                await asyncio.to_thread(os.fsync, file)
        finally:
            os.close(file)

    async def place(self, name: str, final: str, *, replace: bool) -> None:
        """Give the file its final name; one that has it goes, with `replace`, and raises otherwise."""
        with _failures():
            await asyncio.to_thread(self._place, name, final, replace)

    def _place(self, name: str, final: str, replace: bool) -> None:
        if replace:
            os.replace(name, final, src_dir_fd=self._at, dst_dir_fd=self._at)
        else:  # A link is made only where nothing is.
            os.link(name, final, src_dir_fd=self._at, dst_dir_fd=self._at, follow_symlinks=False)
            os.unlink(name, dir_fd=self._at)
        os.fsync(self._at)

    async def remove(self, name: str) -> None:
        """The file is gone, if there was one; what failed before is more worth saying."""
        with suppress(OSError):
            await asyncio.to_thread(os.unlink, name, dir_fd=self._at)


def _write_all(file: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(file, view) :]
