"""Tries a codec on frames without storing anything: readings, warnings, duration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from api.uplink_reasons import uplink_sentence
from core.messages.uplinks import Uplink
from decoders.canonical import Decoded
from decoders.javascript.calls import Answer
from ingest.pipeline import Value, normalise, reason_of, unconfirmed
from ingest.scripts import Workers
from ingest.vendor_codecs import AnyCodec, VendorCodec

# A script that does not end is asked so many times at most.
AT_ONCE = 10
NOT_TRIED = "pas essayée : le décodeur a dépassé son temps de calcul sur une trame précédente"


@dataclass(slots=True)
class Tried:
    """What a codec has made of one frame. `cpu_us`, `console`, `output` and `unmatched` are of scripts."""

    values: list[Value] = field(default_factory=list[Value])
    to_confirm: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    warnings: list[str] = field(default_factory=list[str])
    reason: str | None = None
    console: list[str] = field(default_factory=list[str])
    cpu_us: int | None = None
    output: Any = None
    unmatched: list[str] = field(default_factory=list[str])


async def try_codec(
    codec: AnyCodec,
    frames: Sequence[Uplink],
    workers: Workers,
    *,
    options: Mapping[str, Any],
    dev_eui: bytes,
    name: str,
) -> list[Tried]:
    """What the codec makes of each frame, in order."""
    if not isinstance(codec, VendorCodec):
        return [_tried(codec, frame, options, None) for frame in frames]
    tried: list[Tried] = []
    for start in range(0, len(frames), AT_ONCE):
        part = frames[start : start + AT_ONCE]
        calls = [codec.call(frame.f_port, frame.payload, frame.time_us, options, dev_eui, name) for frame in part]
        answers = await workers.call(calls)
        tried += [_tried(codec, frame, options, answer) for frame, answer in zip(part, answers, strict=True)]
        if any(answer.failure == "timeout" for answer in answers):
            break
    return tried + [Tried(reason=NOT_TRIED) for _ in frames[len(tried) :]]


def _tried(codec: AnyCodec, frame: Uplink, options: Mapping[str, Any], answer: Answer | None) -> Tried:
    if isinstance(codec, VendorCodec) and answer is not None:
        read = partial(codec.read, answer, frame.time_us)
        tried = Tried(console=list(answer.console), cpu_us=answer.cpu_us, warnings=list(answer.warnings))
        tried.output = None if answer.output is None else answer.output.get("data")
    else:
        read = partial(codec.decode, frame.f_port, frame.payload, frame.time_us, options)
        tried = Tried()
    try:
        decoded: Decoded = read()
        tried.values = normalise(decoded, frame)
        tried.warnings, tried.unmatched = decoded.warnings, decoded.unmatched
        tried.to_confirm = [unconfirmed(one) for one in decoded.to_confirm]
    except Exception as failed:  # noqa: BLE001 - Whatever it is, it is shown.
        tried.reason = uplink_sentence(*reason_of(failed), codec.name, codec.version)
    else:
        if answer is None:
            tried.output = decoded.data
    return tried


def frame_of(f_port: int, payload: bytes, time_us: int, received_at_us: int) -> Uplink:
    """A frame as ingest would have it, without what only the radio knows."""
    return Uplink(bytes(16), 1, 0, 0, f_port, payload, False, time_us, received_at_us, 0, 0, 0, False, [])
