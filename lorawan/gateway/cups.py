"""LoRa Basics Station's CUPS protocol: what a station asks at /update-info, and the octets that it is answered.

The station says what it has: addresses, and the CRC-32 of each credential. What it lacks is in the answer, in six
segments, each with its length in front; a segment of length 0 leaves what the station has.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lorawan.gateway.basics_station import MalformedMessage, eui_of
from lorawan.gateway.lenient import json_array, json_object, whole_json
from lorawan.identifiers import GatewayId

MAX_URI = 127
"""Characters of an address that a station keeps: its file's content with the zero at the end is 128 octets."""
MAX_CREDENTIAL = 0xFFFF
MAX_UPDATE = 8 << 20
# Of ECDSA over P-256 in DER; a station refuses others.
MIN_SIGNATURE, MAX_SIGNATURE = 4, 128
NOTHING = bytes(14)
"""The answer to a station that has everything."""

# Stands for a file that is not there, both in a credential and in its CRC.
_ABSENT = bytes(4)
_MAX_KEYS = 16
_MAX_TEXT = 200
_U32 = 0xFFFF_FFFF
_TYPE = "update-info"


@dataclass(frozen=True, slots=True)
class UpdateInfo:
    """What a station has; an address is empty when it has none."""

    gateway_id: GatewayId
    cups_uri: str
    tc_uri: str
    cups_cred_crc: int
    tc_cred_crc: int
    station: str
    model: str
    package: str
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SignedUpdate:
    """A program that the station runs once the signature over it, by the key with this CRC, is verified."""

    key_crc: int
    signature: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class UpdateAnswer:
    """What a station shall have from now on; what is empty it keeps."""

    cups_uri: str = ""
    tc_uri: str = ""
    cups_credential: bytes = b""
    tc_credential: bytes = b""
    update: SignedUpdate | None = None

    def sent(self) -> list[str]:
        """What is in it, for the log."""
        return [name for name in self.__slots__ if getattr(self, name)]

    def to_bytes(self) -> bytes:
        """The six segments: addresses by a length of one octet, credentials of two, signature and update of four.

        Raises:
            ValueError: an address or a credential is too long.
        """
        parts: list[bytes] = []
        for uri in (self.cups_uri, self.tc_uri):
            if len(uri) > MAX_URI:
                raise ValueError(f"address of more than {MAX_URI} characters: {uri[:_MAX_TEXT]}")
            parts += [len(uri).to_bytes(1), uri.encode("ascii")]
        for credential in (self.cups_credential, self.tc_credential):
            if len(credential) > MAX_CREDENTIAL:
                raise ValueError(f"credential of {len(credential)} octets")
            parts += [len(credential).to_bytes(2, "little"), credential]
        if self.update is None:
            return b"".join([*parts, bytes(8)])
        signed = self.update.key_crc.to_bytes(4, "little") + self.update.signature
        for segment in (signed, self.update.content):
            parts += [len(segment).to_bytes(4, "little"), segment]
        return b"".join(parts)


def token_credential(trust: bytes, token: str) -> bytes:
    """A server's authority (one certificate, DER), no certificate of the station, and a token."""
    return trust + _ABSENT + f"Authorization: {token}\r\n".encode("ascii")


def crc_of_credential(credential: bytes) -> int:
    """What a station that keeps this credential reports: the CRC-32 of its three files, one after the other."""
    return zlib.crc32(credential)


def crc_of_key(key: bytes) -> int:
    """What a station that keeps this public key (64 octets, x and y) in `sig-N.key` reports of it."""
    return zlib.crc32(key)


def is_trust(der: bytes) -> bool:
    """Whether a station finds the end of this certificate: it reads lengths of two octets only."""
    return len(der) > 4 and der[:2] == b"\x30\x82" and int.from_bytes(der[2:4]) + 4 == len(der)  # noqa: PLR2004


def parse_update_info(body: bytes) -> UpdateInfo:
    """What a station asks.

    Raises:
        MalformedMessage: it is not JSON, or a part that is needed is missing or out of its range.
    """
    try:
        said = json_object(whole_json(body))
    except ValueError as wrong:
        raise MalformedMessage("not JSON", wrong, _TYPE) from wrong
    if said is None:
        raise MalformedMessage("not an object", body[:_MAX_TEXT], _TYPE)
    try:
        gateway_id = GatewayId(eui_of(said.get("router")))
    except ValueError as wrong:
        raise MalformedMessage("router", wrong, _TYPE) from None
    keys = json_array(said.get("keys") or [])
    if keys is None or len(keys) > _MAX_KEYS:
        raise MalformedMessage("keys", said.get("keys"), _TYPE)
    return UpdateInfo(
        gateway_id,
        _text(said, "cupsUri"),
        _text(said, "tcUri"),
        _crc("cupsCredCrc", said.get("cupsCredCrc")),
        _crc("tcCredCrc", said.get("tcCredCrc")),
        _text(said, "station"),
        _text(said, "model"),
        _text(said, "package"),
        tuple(_crc("keys", key) for key in keys),
    )


def _text(said: Mapping[str, Any], name: str) -> str:
    """A station without a version.txt, or without an address, says null."""
    value = said.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedMessage(name, type(value).__name__, _TYPE)
    # What PostgreSQL does not keep is no part of a version or an address.
    return value.replace("\0", "")[:_MAX_TEXT]


def _crc(name: str, value: Any) -> int:
    """32 bits; a number below zero is the same by another program's habit."""
    if type(value) is not int or not -(1 << 31) <= value <= _U32:
        raise MalformedMessage(name, value, _TYPE)
    return value & _U32
