"""Runs every example of a catalogue through the engine, and compares with what its vendor expects."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from decoders.catalogues.comparison import differences
from decoders.catalogues.model import ENCODE_DOWNLINK, Example, ImportedCodec
from decoders.javascript.calls import Answer
from decoders.javascript.pool import Call, CodecPool, Script
from decoders.mapping.times import read_instant

Outcome = Literal["passed", "failed", "skipped"]
# The harness says so of what JSON cannot, where a vendor's own test sees null.
LEFT_OUT = "champ laissé de côté"
CODECS_AT_ONCE = 32


class Checked(msgspec.Struct, frozen=True):
    """The result of an example."""

    codec: str
    name: str
    operation: str
    outcome: Outcome
    reason: str = ""
    differences: list[str] = []


async def check(
    codecs: Sequence[ImportedCodec], pool: CodecPool, done: Callable[[int], None] = lambda _count: None
) -> list[Checked]:
    """All examples, in the order of the codecs; `done` is called after each part with the number of codecs so far.

    Raises:
        PoolUnavailable: no worker process comes up.
    """
    checked: list[Checked] = []
    for start in range(0, len(codecs), CODECS_AT_ONCE):
        part = codecs[start : start + CODECS_AT_ONCE]
        calls = [
            _call(codec, example, f"check-{start + place}")
            for place, codec in enumerate(part)
            for example in _runnable(codec)
        ]
        answers = iter(await pool.call(calls))
        for codec in part:
            runnable = {id(example) for example in _runnable(codec)}
            checked += [
                _compared(codec, example, next(answers)) if id(example) in runnable else _skipped(codec, example)
                for example in codec.examples
            ]
        done(len(part))
    return checked


def _runnable(codec: ImportedCodec) -> Iterable[Example]:
    return [example for example in codec.examples if codec.source and not example.wrong]


def _call(codec: ImportedCodec, example: Example, key: str) -> Call:
    form: Any = codec.form
    given = dict(example.input)
    received = read_instant(given.pop("recvTime", None))
    # Without a time of reception a vendor's own test sees none, and the day's own clock.
    clock = datetime.now(UTC).timestamp() if received is None else received / 1_000_000
    given |= {"clock": int(clock * 1000)} if received is None else {"recvTime": received // 1000}
    if example.context is not None:
        given["context"] = example.context
    operation: Any = example.operation
    return Call(Script(key, codec.source, form), operation, given)


def _skipped(codec: ImportedCodec, example: Example) -> Checked:
    return Checked(codec.name, example.name, example.operation, "skipped", example.wrong or codec.wrong)


def _compared(codec: ImportedCodec, example: Example, answer: Answer) -> Checked:
    if answer.failure is not None:
        return Checked(codec.name, example.name, example.operation, "failed", answer.reason)
    found = differences(example.expected, _actual(example, answer))
    return Checked(
        codec.name,
        example.name,
        example.operation,
        "failed" if found else "passed",
        "la réponse n'est pas celle que le fabricant attend" if found else "",
        found,
    )


def _actual(example: Example, answer: Answer) -> dict[str, Any]:
    """The answer in the form of an example's `expected`."""
    warnings = [warning for warning in answer.warnings if not warning.endswith(LEFT_OUT)]
    said: dict[str, Any] = {**(answer.output or {}), "errors": answer.errors, "warnings": warnings}
    if example.operation == ENCODE_DOWNLINK and "fPort" not in example.expected:
        said.pop("fPort", None)  # A vendor that names no port leaves it to the caller.
    return said


class Report(msgspec.Struct, frozen=True):
    """The account of a check, as --json prints it."""

    passed: int
    failed: int
    skipped: int
    examples: list[Checked]

    @classmethod
    def of(cls, checked: Sequence[Checked]) -> "Report":
        """The account of these."""
        counts = Counter(one.outcome for one in checked)
        return cls(counts["passed"], counts["failed"], counts["skipped"], list(checked))
