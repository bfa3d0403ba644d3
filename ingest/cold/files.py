"""Cold files as they lie in their folder: written whole beside their place, read again, then renamed.

A file is never changed. Its name holds its digest: another content has another name, and what a crash has left
behind is told from what the database names.
"""

import asyncio
import errno
import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Self

from core.runtime.files import sync_folder
from ingest.binary_rows import Readings

# Whose the folder is: a volume that is not mounted leaves an empty folder, which would be filled in its place.
MARK = ".territoire-froid"
FOLDER_MODE, FILE_MODE = 0o750, 0o640
# Few datastreams in each: who asks for one reads little else.
ROW_GROUP = 16_384
STAMP = "%Y%m%dT%H%M%SZ"
REASONS = {
    errno.ENOSPC: "full", errno.EDQUOT: "full",
    errno.EACCES: "denied", errno.EPERM: "denied", errno.EROFS: "denied",
    errno.ENOENT: "missing", errno.ENOTDIR: "missing", errno.ESTALE: "missing",
}  # fmt: skip


class ColdFailure(Exception):
    """The folder does not do what is asked of it; `reason` is a code of `observation.cold_state`."""

    def __init__(self, reason: str, what: str = "") -> None:
        super().__init__(f"cold folder: {reason}" + (f" ({what})" if what else ""))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is in its place."""

    name: str
    readings: int
    octets: int
    digest: bytes
    datastream_ids: list[int]


def failure_of(wrong: OSError) -> ColdFailure:
    """What the file system has refused, as a reason."""
    return ColdFailure(REASONS.get(wrong.errno or 0, "broken"), str(wrong))


def is_available() -> bool:
    """Whether the extra is installed; imports nothing of it."""
    return find_spec("pyarrow") is not None and find_spec("numpy") is not None


def check_folder(root: Path, folder_id: str, *, may_mark: bool) -> None:
    """Raises ColdFailure unless it is this installation's; one without a mark is given it with `may_mark`."""
    if not is_available():
        raise ColdFailure("extra")
    mark = root / MARK
    try:
        if not root.is_dir():
            raise ColdFailure("missing", str(root))
        if mark.exists():
            if mark.read_text("utf-8").strip() != folder_id:
                raise ColdFailure("foreign", str(root))
        elif not may_mark:
            raise ColdFailure("missing", str(mark))
        else:
            mark.write_text(folder_id + "\n", "utf-8")
    except OSError as wrong:
        raise failure_of(wrong) from None


class Content:
    """What readings say, one behind the other, however they are cut: a digest of each column."""

    def __init__(self) -> None:
        self.readings = 0
        self._columns = [hashlib.sha256() for _ in range(4)]

    def add_readings(self, part: Readings) -> None:
        """What follows."""
        self.readings += len(part)
        for digest, column in zip(self._columns, (part.ids, part.times, part.values, part.flags), strict=True):
            digest.update(column.tobytes())

    async def take_readings(self, part: Readings) -> None:
        """The same as a coroutine, which a COPY awaits for each part."""
        self.add_readings(part)

    def __eq__(self, other: object) -> bool:
        """Whether they are the same readings in the same order."""
        return isinstance(other, Content) and self._digests() == other._digests()

    __hash__ = None  # pyright: ignore[reportAssignmentType] - It changes.

    def _digests(self) -> list[bytes]:
        return [column.digest() for column in self._columns]


class Draft:
    """A file that is being written; nobody finds it before `finish`, and nothing is left of one that does not."""

    def __init__(self, root: Path, tenant_id: int, since: datetime) -> None:
        """Raises ColdFailure."""
        self._pa: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
        self._root = root
        self._stem = f"{tenant_id}/{since.astimezone(UTC).strftime(STAMP)}"
        self._path = root / f"{self._stem}.part"
        self._content = Content()
        self._ids: set[int] = set()
        self.failure: ColdFailure | None = None
        """What `take_readings` has met: raised in the middle of a COPY, it would cost the connection."""
        try:
            self._path.parent.mkdir(FOLDER_MODE, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        except OSError as wrong:
            raise failure_of(wrong) from None
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")
        self._schema = self._pa.schema(
            [
                ("datastream_id", self._pa.int32()),
                ("time", self._pa.timestamp("us", tz="UTC")),
                ("value", self._pa.float64()),
                ("flags", self._pa.int16()),
            ]
        )
        self._parquet = parquet.ParquetWriter(
            self._file,
            self._schema,
            compression="zstd",
            use_dictionary=["datastream_id", "flags"],
            column_encoding={"time": "DELTA_BINARY_PACKED"},
            write_statistics=["datastream_id", "time"],
            write_page_checksum=True,
        )

    async def take_readings(self, part: Readings) -> None:
        """Add a row group without raising: `check` tells what the disk refused, and what follows is left out."""
        if self.failure is None:
            try:
                await asyncio.to_thread(self.add_readings, part)
            except ColdFailure as failure:
                self.failure = failure

    def check(self) -> None:
        """Raises what `take_readings` has met."""
        if self.failure is not None:
            raise self.failure

    def add_readings(self, part: Readings) -> None:
        """A row group; raises ColdFailure."""
        times = self._pa.array(part.times).cast(self._pa.timestamp("us", tz="UTC"))
        columns = [self._pa.array(part.ids), times, self._pa.array(part.values), self._pa.array(part.flags)]
        try:
            table = self._pa.Table.from_arrays(columns, schema=self._schema)
            self._parquet.write_table(table, row_group_size=ROW_GROUP)
        except OSError as wrong:
            raise failure_of(wrong) from None
        self._content.add_readings(part)
        self._ids.update(part.ids.tolist())

    def finish(self) -> Written | None:
        """On the disk, read again and found the same, then in its place; None, and no file, without readings.

        Raises:
            ColdFailure: the disk refuses, or gives back something else.
        """
        try:
            self._parquet.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if not self._ids:
                self._path.unlink()
                return None
            again = Content()
            for part in read_file(self._path, None):
                again.add_readings(part)
            if again != self._content:
                raise ColdFailure("broken", self._stem)
            digest = digest_of(self._path)
            name = f"{self._stem}-{digest.hex()[:16]}.parquet"
            octets = self._path.stat().st_size
            self._path.replace(self._root / name)
            for folder in (self._path.parent, self._root):
                sync_folder(folder)
        except OSError as wrong:
            raise failure_of(wrong) from None
        return Written(name, self._content.readings, octets, digest, sorted(self._ids))

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left beside what `finish` has put in its place."""
        with suppress(Exception):
            self._parquet.close()
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._path.unlink()


def digest_of(path: Path) -> bytes:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def read_file(path: Path, ids: Collection[int] | None) -> Iterator[Readings]:
    """Row group by row group; of `ids` alone, where they are given. Checksums of pages are checked.

    Raises:
        FileNotFoundError: it is not there.
        ColdFailure: it is damaged.
    """
    np: Any = import_module("numpy")
    pa: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    wanted = None if ids is None else np.array(sorted(ids), dtype=np.int32)
    try:
        with path.open("rb") as file, parquet.ParquetFile(file, page_checksum_verification=True) as found:
            for group in range(found.num_row_groups):
                if wanted is not None and not _may_hold(np, found.metadata.row_group(group), wanted):
                    continue
                table = found.read_row_group(group)
                times = table.column("time").cast(pa.int64())
                part = Readings(
                    *(column.to_numpy() for column in (table.column("datastream_id"), times)),
                    *(table.column(name).to_numpy() for name in ("value", "flags")),
                )
                part = part if ids is None else part.where(part.among(ids))
                if len(part):
                    yield part
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as wrong:
        raise ColdFailure("broken", f"{path.name}: {wrong}") from None


def _may_hold(np: Any, group: Any, wanted: Any) -> bool:
    statistics = group.column(0).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(np.searchsorted(wanted, statistics.min) < np.searchsorted(wanted, statistics.max, side="right"))


def names_in(root: Path) -> set[str]:
    """Every file and every draft below the folder; raises ColdFailure."""
    try:
        return {
            f"{tenant.name}/{file.name}"
            for tenant in root.iterdir()
            if tenant.name.isdigit() and tenant.is_dir()
            for file in tenant.iterdir()
            if file.suffix in {".parquet", ".part"}
        }
    except OSError as wrong:
        raise failure_of(wrong) from None


def youngest(root: Path, candidates: Collection[str]) -> str | None:
    """The file that was written last; raises ColdFailure."""
    try:
        return max(candidates, key=lambda name: (root / name).stat().st_mtime_ns, default=None)
    except OSError as wrong:
        raise failure_of(wrong) from None


def remove(root: Path, name: str) -> None:
    """It is gone; raises ColdFailure where it stays."""
    try:
        (root / name).unlink(missing_ok=True)
        sync_folder((root / name).parent)
    except OSError as wrong:
        raise failure_of(wrong) from None
