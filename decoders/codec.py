"""A codec is a named, versioned pair of pure functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from decoders.canonical import Decoded


@dataclass(frozen=True, slots=True)
class EncodedCommand:
    """A command as the device expects it."""

    f_port: int
    payload: bytes


# (f_port, payload, time_us of the uplink, options of the device profile) -> what it says.
Decode = Callable[[int, bytes, int, Mapping[str, Any]], Decoded]
# (command name, typed parameters) -> the octets; raises UnsupportedCommand.
Encode = Callable[[str, Mapping[str, Any]], EncodedCommand]


class UnsupportedCommand(ValueError):
    """The device has no such command, or not with these parameters; the message, in French, is shown."""


@dataclass(frozen=True, slots=True)
class Codec:
    """`decode` raises MalformedPayload and nothing else, whatever the octets."""

    name: str
    version: int
    decode: Decode
    encode: Encode | None = None
