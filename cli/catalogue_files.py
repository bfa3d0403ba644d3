"""A public catalogue on disk: the whole of it, a folder, or one file of one."""

import os
from pathlib import Path

from core.runtime.errors import system_reason
from decoders.catalogues.files import Catalogue, Unreadable
from decoders.catalogues.literals import Evaluate

LARGEST = 8 * 1024 * 1024
MOST_FILES = 400_000
# What a checkout holds beside the catalogue.
PASSED_OVER = frozenset({".git", "node_modules", "coverage", "__pycache__"})
VENDORS = ("vendor", "vendors")


class NoCatalogue(Exception):
    """There is nothing to read; the message, in French, is for the operator."""


class DiskFiles:
    """Files below a folder, or below some of its folders."""

    def __init__(self, root: Path, parts: tuple[str, ...]) -> None:
        self._root = root
        self._parts = parts

    def paths(self) -> list[str]:
        """Every path, sorted."""
        found: set[str] = set()
        for part in self._parts:
            start = self._root / part
            if start.is_file():
                found.add(part)
            for folder, folders, files in os.walk(start):
                folders[:] = [name for name in folders if name not in PASSED_OVER]
                below = Path(folder).relative_to(self._root)
                found.update((below / name).as_posix() for name in files)
                if len(found) > MOST_FILES:
                    raise NoCatalogue(f"plus de {MOST_FILES} fichiers sous {self._root}")
        return sorted(found)

    def octets(self, path: str) -> bytes:
        """The content of a file. Raises Unreadable."""
        try:
            if (self._root / path).stat().st_size > LARGEST:
                raise Unreadable(f"{path} dépasse {LARGEST >> 20} Mo")
            return (self._root / path).read_bytes()
        except OSError as wrong:
            raise Unreadable(f"{path} : {system_reason(wrong)}") from None


def open_catalogue(path: Path, evaluate: Evaluate) -> tuple[Catalogue, str]:
    """The catalogue that a path is, or is in, and which part of it was asked for ("" is the whole).

    Of a folder of vendor/ or vendors/ the vendor's other folders are read with it: they describe its models.

    Raises:
        NoCatalogue: there is no such file or folder.
    """
    path = path.resolve()
    if not path.exists():
        raise NoCatalogue(f"{path} n'existe pas")
    parts = path.parts
    at = next((at for at in range(len(parts) - 2, 0, -1) if parts[at] in VENDORS), None)
    if at is None or any((path / name).is_dir() for name in VENDORS):
        if path.name in VENDORS:
            return Catalogue(DiskFiles(path.parent, (path.name,)), evaluate), ""
        if path.is_dir():
            return Catalogue(DiskFiles(path, ("",)), evaluate), ""
        return Catalogue(DiskFiles(path.parent, ("",)), evaluate), path.name
    vendor = "/".join(parts[at : at + 2])
    # The index of all vendors names this one.
    shared = [f"{parts[at]}/index.yaml"] if parts[at] == "vendor" else []
    return Catalogue(DiskFiles(Path(*parts[:at]), (vendor, *shared)), evaluate), "/".join(parts[at:])
