"""The protocol between pool and worker: a length in four octets, then msgpack."""

from struct import Struct

import msgspec

from decoders.javascript.calls import Limits, Operation, Script

LENGTH = Struct(">I")
# The place in the batch of the call in hand, from 1; 0: none. Then whether its script is being loaded.
PROGRESS = Struct("<II")
LONGEST = 64 * 1024 * 1024


class Start(msgspec.Struct, array_like=True):
    """The worker's only argument: descriptors that it inherits, its parent, and the limits."""

    socket: int
    progress: int
    parent: int
    limits: Limits


class Hello(msgspec.Struct, array_like=True):
    """The worker is ready, and shut in so far."""

    reached: list[str]


class Batch(msgspec.Struct, array_like=True):
    """Scripts that the worker does not hold, and calls: key of the script, operation, input as JSON."""

    scripts: list[Script]
    calls: list[tuple[str, Operation, str]]


class Answered(msgspec.Struct, array_like=True):
    """The first answers, each the JSON of an `Answer` and its CPU in microseconds; the rest is asked again.

    `forgotten` are scripts that the worker holds no longer; `resident` is its memory in octets.
    """

    answers: list[tuple[str, int]]
    forgotten: list[str]
    resident: int
