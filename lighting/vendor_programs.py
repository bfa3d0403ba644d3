"""A program for a clock of another make: what it is sent, and which answer to its question proves it. Pure.

A target of a campaign keeps it (`VendorProgram.as_json`): the service that sends it runs no vendor's script.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose
from typing import Any, cast

from decoders.codec import EncodedCommand
from lighting.compilers import SET_PROGRAM

READ_PROGRAM = "read_program"
# Where the answer of a clock has its program in an object of its own.
PROGRAM = "program"
# A clock need not say where it stands: that is no part of what it does each night.
POSITION = frozenset({"latitude", "longitude"})
# A clock holds what it was sent to its own steps: degrees, and minutes or percents.
DEGREES, STEP = 0.1, 1.0


@dataclass(frozen=True, slots=True)
class VendorProgram:
    """The frames for a clock, and every parameter of its `set_program` as it was encoded.

    `given` are those that the program says; the others have the default of the command, or None. `of` is what it
    was encoded for: when that has changed, it is worth nothing any more.
    """

    frame: EncodedCommand
    question: EncodedCommand | None
    given: frozenset[str]
    parameters: Mapping[str, Any]
    of: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """What an answer has to say at least."""
        return sorted(self.given - POSITION)

    @property
    def frames(self) -> list[EncodedCommand]:
        """What goes out."""
        return [self.frame, self.question] if self.question is not None and self.is_provable else [self.frame]

    @property
    def is_provable(self) -> bool:
        """Whether the clock can be asked, and something is to be compared."""
        return self.question is not None and bool(self.names)

    def is_held(self, decoded: Mapping[str, Any]) -> bool:
        """Whether an answer says all that the clock was sent."""
        held = decoded.get(PROGRAM)
        said = cast("Mapping[str, Any]", held) if isinstance(held, Mapping) else decoded
        return all(
            _agrees(name, said.get(name), value)
            for name, value in self.parameters.items()
            if name in self.given - POSITION or said.get(name) is not None
        )

    def as_json(self) -> dict[str, Any]:
        """As the row keeps it."""
        frames = {SET_PROGRAM: self.frame} | ({} if self.question is None else {READ_PROGRAM: self.question})
        return {
            "frames": {use: [frame.f_port, frame.payload.hex()] for use, frame in frames.items()},
            "names": self.names if self.is_provable else [],
            "given": sorted(self.given),
            "parameters": dict(self.parameters),
            "of": dict(self.of),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "VendorProgram | None":
        """What a row keeps; None: nothing, its clock is one of the open profile."""
        if "of" not in kept:
            return None
        frames = {
            use: EncodedCommand(port, bytes.fromhex(octets)) for use, (port, octets) in kept["frames"].items()
        }
        return cls(
            frames[SET_PROGRAM], frames.get(READ_PROGRAM), frozenset(kept["given"]), kept["parameters"], kept["of"]
        )


def _agrees(name: str, said: Any, sent: Any) -> bool:
    if isinstance(sent, list) and isinstance(said, list):
        ours, theirs = cast("list[Any]", sent), cast("list[Any]", said)
        return len(ours) == len(theirs) and all(_agrees(name, *pair) for pair in zip(theirs, ours, strict=True))
    if isinstance(sent, Mapping) and isinstance(said, Mapping):
        steps, held = cast("Mapping[str, Any]", sent), cast("Mapping[str, Any]", said)
        return all(_agrees(key, held.get(key), value) for key, value in steps.items())
    if isinstance(sent, int | float) and isinstance(said, int | float) and not isinstance(sent, bool):
        return isclose(sent, said, rel_tol=0, abs_tol=DEGREES if name in POSITION else STEP)
    return sent == said
