"""Calls of vendors' JavaScript and their answers: shared by the pool and its workers."""

from typing import Any, Literal, NamedTuple

import msgspec

Operation = Literal["decodeUplink", "encodeDownlink", "decodeDownlink"]
Form = Literal["decodeUplink", "Decoder", "Decode"]
Failure = Literal["timeout", "memory", "script", "output", "worker"]


class Script(NamedTuple):
    """A codec's source. `key` names tenant, codec version and digest: no two of them ever share a context.

    `form` forces one of the three generations: TS013 (`decodeUplink`), The Things Network v2 (`Decoder`),
    ChirpStack v3 (`Decode`), with the encoder that goes with it. None: the first that there is.
    """

    key: str
    source: str
    form: Form | None = None


class Call(NamedTuple):
    """One call of a script. `input` is JSON: `decoders.javascript.inputs` builds it."""

    script: Script
    operation: Operation
    input: dict[str, Any]


class Answer(msgspec.Struct, gc=False):
    """What came of a call.

    `output` of decodeUplink and decodeDownlink is `{"data": ...}`, of encodeDownlink
    `{"bytes": [...], "fPort": n}` (fPort None when the codec names none). `errors` are the codec's own, also
    beside data: it says that the frame is bad. `failure` is ours: it was stopped or broke; `reason` says how, in
    French.
    """

    output: dict[str, Any] | None = None
    errors: list[str] = []
    warnings: list[str] = []
    console: list[str] = []
    cpu_us: int = 0
    failure: Failure | None = None
    reason: str = ""

    @property
    def problem(self) -> str | None:
        """Why the frame counts as not decoded, in French; None when it is."""
        if self.failure is not None:
            return self.reason
        return " ; ".join(self.errors) or None


class Limits(msgspec.Struct, frozen=True):
    """What a script may take. Seconds are of CPU, of which the engine counts the process's own."""

    script_octets: int = 512 * 1024
    output_octets: int = 256 * 1024
    keys: int = 200  # Of one object.
    depth: int = 10
    memory_octets: int = 32 * 1024 * 1024  # Of one context.
    stack_octets: int = 256 * 1024
    load_s: float = 2.0
    call_s: float = 0.1
    contexts: int = 128  # Of one worker; the least recently used goes.
    context_calls: int = 10_000  # Then it is made anew.
