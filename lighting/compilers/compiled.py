"""What a compiler of programs gives; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from decoders.codec import EncodedCommand


class CannotCompile(ValueError):
    """A device would take nothing of a program; the message says why, in French."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program for one device.

    `payloads` are the downlinks that give it the program; none where the platform switches it, or where only its
    vendor's script can write them: then `parameters` are those of its command `set_program`. `program_hash` is
    what it reports of the program afterwards. `losses_fr` is what it does not hold, `exact_until` the last day on
    which it does as the program says, where that ends.
    """

    payloads: tuple[EncodedCommand, ...] = ()
    program_hash: bytes | None = None
    losses_fr: tuple[str, ...] = ()
    exact_until: date | None = None
    parameters: Mapping[str, Any] | None = None

    @property
    def holds_nothing(self) -> bool:
        """Whether the device holds no program at all."""
        return not self.payloads and self.parameters is None
