"""Computes an uplink's id (docs/architecture.md, "An uplink has one identity and one time"). Pure."""

from hashlib import sha1, sha256
from uuid import UUID

# Of every uplink, for ever: another namespace would make every uplink a new one.
UPLINK_NAMESPACE = UUID("6f0c2a4e-6d1b-5b0e-9a51-7e22170172e0")
# LoRaWAN counts in 32 bits: what is beyond is no counter of a device.
F_CNT_END = 1 << 32
_LARGEST = (1 << 62) - 1
_NAMESPACE = UPLINK_NAMESPACE.bytes
_VERSION_5 = tuple(bytes((octet & 0x0F | 0x50,)) for octet in range(256))
_VARIANT = tuple(bytes((octet & 0x3F | 0x80,)) for octet in range(256))


def uplink_identity(device_id: int, session_id: int, f_cnt: int, f_port: int, payload: bytes) -> bytes:
    """The identity of an uplink that has a counter: a second pass over the same frames makes the same."""
    digest = sha256(f_port.to_bytes(2, "big", signed=True) + payload).hexdigest()
    return _uuid5(f"{device_id}|{session_id}|{f_cnt}|{digest}".encode())


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
