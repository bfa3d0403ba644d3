"""A worker process: `python -m decoders.javascript.worker`, one thread, one socket, nothing else.

It holds the contexts that were used last, and says before each call which one it is at, in memory that the pool
reads too: when the pool kills the worker, it knows which call it was.
"""

import gc
import mmap
import os
import resource
import sys
from collections import OrderedDict
from typing import Any, TypeVar

import msgspec

from decoders.javascript import sandbox
from decoders.javascript.calls import Limits, Operation, Script
from decoders.javascript.wire import LENGTH, PROGRESS, Answered, Batch, Hello, Start

# Of CPU, for a batch; what is left is asked again, behind those that wait.
BATCH_S = 0.05
PAGE = resource.getpagesize()

T = TypeVar("T")


class Held:
    """A script that the worker has, with its context once it is loaded; `broken` when it can never be."""

    __slots__ = ("broken", "calls", "loaded", "script")

    def __init__(self, script: Script) -> None:
        self.script = script
        self.loaded: Any = None
        self.calls = 0
        self.broken = ""


class Worker:
    """Answers batches one after the other."""

    def __init__(self, engine: Any, limits: Limits, progress: mmap.mmap, memory: int) -> None:
        self._engine = engine
        self._limits = limits
        self._progress = progress
        self._memory = memory  # Descriptor of /proc/self/statm.
        self._held: OrderedDict[str, Held] = OrderedDict()

    def answer(self, batch: Batch) -> Answered:
        """As many answers as the time of a batch allows, one at least."""
        for script in batch.scripts:
            self._held[script.key] = Held(script)
        answers: list[tuple[str, int]] = []
        began = before = cpu_s()
        for place, (key, operation, octets) in enumerate(batch.calls, 1):
            said = self._call(place, self._held[key], operation, octets)
            after = cpu_s()
            answers.append((said, int((after - before) * 1_000_000)))
            self._held.move_to_end(key)
            before = after
            if after - began > BATCH_S:
                break
        forgotten = [self._held.popitem(last=False)[0] for _ in range(len(self._held) - self._limits.contexts)]
        PROGRESS.pack_into(self._progress, 0, 0, 0)
        resident = int(os.pread(self._memory, 100, 0).split()[1]) * PAGE
        return Answered(answers, forgotten, resident)

    def _call(self, place: int, held: Held, operation: Operation, octets: str) -> str:
        from decoders.javascript.engine import Broken  # noqa: PLC0415 - Imported once the process is bound.

        if held.broken:
            return held.broken
        try:
            if held.loaded is None or held.calls >= self._limits.context_calls:
                PROGRESS.pack_into(self._progress, 0, place, 1)
                held.loaded = None  # The old context goes before there is a new one.
                held.loaded, held.calls = self._engine.load(held.script), 0
            PROGRESS.pack_into(self._progress, 0, place, 0)
            held.calls += 1
            said = held.loaded.call(operation, octets)
        except Broken as broken:
            is_lasting = held.loaded is None and broken.failure == "script"
            held.loaded = None
            said = _failure(broken.failure, broken.reason)
            held.broken = said if is_lasting else ""
            return said
        if (
            len(said) > self._limits.output_octets + 4096
        ):  # What the harness counts is a little less than what it writes.
            return _failure("output", f"Résultat refusé : plus de {self._limits.output_octets // 1024} Ko")
        if said.startswith('{"failure"'):
            held.loaded = None
        return said


def cpu_s() -> float:
    """What this process took so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _failure(failure: str, reason: str) -> str:
    return msgspec.json.encode({"failure": failure, "reason": reason}).decode()


def _receive(socket: int, as_type: type[T]) -> T:
    """The next message; the process ends when the pool has gone."""
    (length,) = LENGTH.unpack(_exactly(socket, LENGTH.size))
    return msgspec.msgpack.decode(_exactly(socket, length), type=as_type)


def _exactly(socket: int, count: int) -> bytes:
    octets = bytearray()
    while len(octets) < count:
        part = os.read(socket, count - len(octets))
        if not part:
            os._exit(0)
        octets += part
    return bytes(octets)


def _send(socket: int, message: object) -> None:
    octets = msgspec.msgpack.encode(message)
    octets = LENGTH.pack(len(octets)) + octets
    while octets:
        octets = octets[os.write(socket, octets) :]


def main() -> None:
    """Shut itself in, then answer until the pool goes."""
    start = msgspec.json.decode(sys.argv[1], type=Start)
    reached = sandbox.bound(start.parent)
    from decoders.javascript.engine import QuickJs  # noqa: PLC0415 - It starts a thread: after `bound`.

    memory = os.open("/proc/self/statm", os.O_RDONLY)
    progress = mmap.mmap(start.progress, PROGRESS.size)
    os.close(start.progress)
    engine = QuickJs(start.limits)
    engine.load(Script("", "")).call("decodeUplink", "{}")  # Whatever is imported late is imported now.
    reached += sandbox.lock(start.parent)
    gc.freeze()
    _send(start.socket, Hello(reached))
    worker = Worker(engine, start.limits, progress, memory)
    while True:
        _send(start.socket, worker.answer(_receive(start.socket, Batch)))


if __name__ == "__main__":
    main()
