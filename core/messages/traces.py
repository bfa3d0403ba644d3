"""Trace ids: sixteen octets that a frame gets where it arrives and keeps up to the last webhook.

Nothing else travels with it. Whether a frame is traced, and the ids of all the spans of its trace, follow from
the sixteen octets by arithmetic, so every process comes to the same by itself (decision 0030).
"""

from hashlib import blake2b
from random import getrandbits

TRACE_OCTETS = 16
SPAN_OCTETS = 8
# Of what was sent before traces were, and of what no frame has caused.
NO_TRACE = b""

_ALL = b"\xff" * (TRACE_OCTETS + 1)


def new_trace() -> bytes:
    """Sixteen random octets (W3C Trace Context, section 3.2.2.3)."""
    return getrandbits(128).to_bytes(TRACE_OCTETS)


def limit_of(ratio: float) -> bytes:
    """A frame is traced when `NO_TRACE < trace_id < limit`, which holds for `ratio` of all."""
    return _ALL if ratio >= 1 else int(ratio * (1 << 128)).to_bytes(TRACE_OCTETS) if ratio > 0 else NO_TRACE


def span_of(trace_id: bytes, stage: str) -> bytes:
    """The eight octets that name a stage's span in a trace: the same when a frame is processed once more."""
    return blake2b(stage.encode(), digest_size=SPAN_OCTETS, key=trace_id).digest()


def traceparent(trace_id: bytes, span_id: bytes, *, is_traced: bool) -> str:
    """The header of this name (W3C Trace Context, section 3.2)."""
    return f"00-{trace_id.hex()}-{span_id.hex()}-{is_traced:02x}"
