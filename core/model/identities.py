"""The ids of what is received: of an uplink, and of the trace of a frame. Pure.

An uplink's id is computed from what it says (docs/architecture.md, "An uplink has one identity and one time").

A trace id is sixteen octets that a frame gets where it arrives and keeps up to the last webhook. Nothing else
travels with it. Whether a frame is traced, and the ids of all the spans of its trace, follow from the sixteen
octets by arithmetic, so every process comes to the same by itself (decision 0030).
"""

from hashlib import blake2b, sha1, sha256
from random import getrandbits
from struct import Struct
from uuid import UUID

# Of every uplink, for ever: another namespace would make every uplink a new one.
UPLINK_NAMESPACE = UUID("6f0c2a4e-6d1b-5b0e-9a51-7e22170172e0")
# LoRaWAN counts in 32 bits: what is beyond is no counter of a device.
F_CNT_END = 1 << 32
TRACE_OCTETS = 16
SPAN_OCTETS = 8
# Of what was sent before traces were, and of what no frame has caused.
NO_TRACE = b""

_ALL = b"\xff" * (TRACE_OCTETS + 1)
_LARGEST = (1 << 62) - 1
_NAMESPACE = UPLINK_NAMESPACE.bytes
_FIRST_8_OCTETS = Struct(">q").unpack_from
_VERSION_5 = tuple(bytes((octet & 0x0F | 0x50,)) for octet in range(256))
_VARIANT = tuple(bytes((octet & 0x3F | 0x80,)) for octet in range(256))


def uplink_identity(device_id: int, session_id: int, f_cnt: int, f_port: int, payload: bytes) -> bytes:
    """The identity of an uplink that has a counter: processing the same frames again makes the same."""
    digest = _digest(f_port, payload).hex()
    return _uuid5(f"{device_id}|{session_id}|{f_cnt}|{digest}".encode())


def digest_of(f_port: int, payload: bytes) -> int:
    """What two deliveries of an uplink have in common, as a signed number of 8 octets."""
    return _FIRST_8_OCTETS(_digest(f_port, payload))[0]


def _digest(f_port: int, payload: bytes) -> bytes:
    return sha256(f_port.to_bytes(2, "big", signed=True) + payload).digest()


def message_identity(source_id: int, device_id: int, message: str) -> bytes:
    """The identity of an uplink of a bearer without counter: `message` names it among those of its source."""
    return _uuid5(f"source {source_id}|{device_id}|{message}".encode())


def counter_of_message(uplink_id: bytes) -> int:
    """What stands in for the counter of a bearer that has none: beyond every real one, and each uplink's own.

    Ingest takes two uplinks of one device with the same counter and payload within ten minutes for one; without
    counters two equal readings would be.
    """
    return F_CNT_END + int.from_bytes(uplink_id[:8], "big") % (_LARGEST - F_CNT_END)


def _uuid5(name: bytes) -> bytes:
    """The octets of `uuid.uuid5` in UPLINK_NAMESPACE (RFC 9562, section 5.5), without an object around them."""
    digest = sha1(_NAMESPACE + name, usedforsecurity=False).digest()
    return digest[:6] + _VERSION_5[digest[6]] + digest[7:8] + _VARIANT[digest[8]] + digest[9:16]


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
