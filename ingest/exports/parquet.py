"""Parquet, by pyarrow and numpy: an optional extra, imported by the process that writes, when it writes.

Readings come as columns (`binary_rows`). A row group is written when it is full, in a thread: the others go on
meanwhile.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import astuple
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from core.messages.measurements import flag_names
from core.runtime.postgres import Connection
from ingest.binary_rows import BinaryRows, Readings
from ingest.exports import store
from ingest.exports.bucket_lines import OF_BUCKET, BucketRow
from ingest.exports.lines import FLAGS, Stream
from ingest.exports.store import Readable
from ingest.exports.writer import ExportFailed, PartWriter

MISSING_TEXT = (
    "ce serveur n'écrit pas de Parquet : il y faut l'extra « parquet » (pip install 'territoire[parquet]')"
)
ROW_GROUP = 131_072
TEXTS = ("asset", "kind", "commune", "position", "channel", "quantity", "unit")


def is_available() -> bool:
    """Whether the extra is installed; imports nothing of it."""
    return find_spec("pyarrow") is not None and find_spec("numpy") is not None


def open_parquet(writer: PartWriter) -> "ParquetFile":
    """A file that is written into `writer`.

    Raises:
        ExportFailed: the extra is not installed.
    """
    if not is_available():
        raise ExportFailed(MISSING_TEXT)
    return ParquetFile(writer)


def open_bucket_rows(writer: PartWriter) -> "BucketRows":
    """A file of buckets that is written into `writer`; raises ExportFailed as `open_parquet` does."""
    if not is_available():
        raise ExportFailed(MISSING_TEXT)
    return BucketRows(writer)


class _Pipe:
    """Where pyarrow writes: taken out as it comes."""

    def __init__(self) -> None:
        self.held = bytearray()
        self._at = 0
        self.closed = False

    def write(self, octets: Any) -> int:
        """What follows."""
        view = memoryview(octets)
        self.held += view
        self._at += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """How much was written."""
        return self._at

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing to let go."""
        self.closed = True

    def readable(self) -> bool:
        """It is not read."""
        return False

    def writable(self) -> bool:
        """It is written."""
        return True

    def seekable(self) -> bool:
        """It goes forward only."""
        return False


class ParquetFile:
    """One row group after the other; a column of texts is a dictionary, the same for many readings."""

    def __init__(self, writer: PartWriter) -> None:
        # Neither has types that say much; and both are loaded here, by the process that writes.
        numpy: Any = import_module("numpy")
        pa: Any = import_module("pyarrow")
        self._np = numpy
        self._pa = pa
        text = pa.dictionary(pa.int32(), pa.string())
        self._schema: Any = pa.schema(
            [
                ("datastream_id", pa.int32()),
                *((name, text) for name in TEXTS),
                ("time", pa.timestamp("us", tz="UTC")),
                ("value", pa.float64()),
                ("flags", text),
            ]
        )
        self._pipe = _Pipe()
        self._writer = writer
        parquet: Any = import_module("pyarrow.parquet")
        self._file = parquet.ParquetWriter(
            self._pipe,
            self._schema,
            compression="zstd",
            use_dictionary=["datastream_id", *TEXTS, "flags"],
            column_encoding={"time": "DELTA_BINARY_PACKED"},
            write_statistics=["datastream_id", "asset", "time", "value"],
        )
        self._flags, self._flag_words = self._words([" ".join(flag_names(one)) for one in FLAGS])
        self._streams: list[Stream] = []

    async def begin(self) -> None:
        """The first octets."""
        await self._drain()

    async def copy(
        self, connection: Connection, streams: Sequence[Readable], since: datetime, until: datetime
    ) -> int:
        """The readings of these streams."""
        self._streams = [one.stream for one in streams]
        rows = BinaryRows(self._take_readings, ROW_GROUP)
        copied = await store.copy_rows(connection, streams, since, until, rows.receive)
        try:
            await rows.finish()
        except ValueError:
            raise ExportFailed("des mesures ne se lisent pas") from None
        return copied

    async def put(self, connection: Connection, stream: Stream, readings: Readings) -> None:  # noqa: ARG002 - As others.
        """Readings of a stream that were read elsewhere."""
        self._streams = [stream]
        for part in readings.parts(ROW_GROUP):
            await self._take_readings(part)

    async def finish(self) -> None:
        """The footer, without which nobody takes the file for whole."""
        await asyncio.to_thread(self._file.close)
        await self._drain()

    async def _take_readings(self, readings: Readings) -> None:
        await asyncio.to_thread(self._write, readings)
        await self._drain()

    async def _drain(self) -> None:
        taken, self._pipe.held = bytes(self._pipe.held), bytearray()
        await self._writer.write(taken)

    def _write(self, readings: Readings) -> None:
        """A row group."""
        np, pa = self._np, self._pa
        ids = readings.ids
        order = np.array([stream.id for stream in self._streams], dtype=np.int32)
        sorted_places = np.argsort(order)
        places = sorted_places[np.searchsorted(order, ids, sorter=sorted_places)].astype(np.int32)
        columns = [pa.array(ids)]
        for name in TEXTS:
            texts = [getattr(stream, name) for stream in self._streams]
            # A dictionary holds no null: the place is null instead.
            absent = np.array([text is None for text in texts])[places]
            of_streams, words = self._words([text or "" for text in texts])
            columns.append(pa.DictionaryArray.from_arrays(pa.array(of_streams[places], mask=absent), words))
        columns.append(pa.array(readings.times).cast(pa.timestamp("us", tz="UTC")))
        columns.append(pa.array(readings.values))
        flags = pa.array(self._flags[readings.flags])
        columns.append(pa.DictionaryArray.from_arrays(flags, self._flag_words))
        batch = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        self._file.write_table(pa.Table.from_batches([batch]), row_group_size=ROW_GROUP)

    def _words(self, texts: Sequence[str]) -> tuple[Any, Any]:
        """The place of each text among the words, and these; one that is there twice is written in full."""
        words = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        places = self._np.array([words[text] for text in texts], dtype=self._np.int32)
        return places, self._pa.array(list(words), type=self._pa.string())


class BucketRows:
    """Rows of buckets, a row group when there are enough of them."""

    def __init__(self, writer: PartWriter) -> None:
        pa: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
        self._pa = pa
        text, instant = pa.dictionary(pa.int32(), pa.string()), pa.timestamp("us", tz="UTC")
        kinds = {
            "from": instant,
            "to": instant,
            "readings": pa.int32(),
            "suspects": pa.int32(),
            "value_is": text,
            "in_gap": pa.bool_(),
        }
        self._schema: Any = pa.schema(
            [
                ("datastream_id", pa.int32()),
                *((name, text) for name in TEXTS),
                *((name, kinds.get(name, pa.float64())) for name in OF_BUCKET),
            ]
        )
        self._pipe = _Pipe()
        self._writer = writer
        self._file = parquet.ParquetWriter(self._pipe, self._schema, compression="zstd")
        self._held: list[tuple[Any, ...]] = []

    async def begin(self) -> None:
        """The first octets."""
        await self._drain()

    async def write(self, stream: Stream, rows: Sequence[BucketRow]) -> None:
        """The rows of a datastream that follow."""
        identity = (stream.id, *(getattr(stream, name) for name in TEXTS))
        self._held += [(*identity, *astuple(row)) for row in rows]
        if len(self._held) >= ROW_GROUP:
            await self._group()

    async def finish(self) -> None:
        """The footer, without which nobody takes the file for whole."""
        await self._group()
        await asyncio.to_thread(self._file.close)
        await self._drain()

    async def _group(self) -> None:
        held, self._held = self._held, []
        if held:
            await asyncio.to_thread(self._write, held)
            await self._drain()

    def _write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        columns = zip(*rows, strict=True)
        arrays = [self._pa.array(column, kind) for column, kind in zip(columns, self._schema.types, strict=True)]
        self._file.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))

    async def _drain(self) -> None:
        taken, self._pipe.held = bytes(self._pipe.held), bytearray()
        await self._writer.write(taken)
