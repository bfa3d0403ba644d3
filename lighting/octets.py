"""What is said to a circuit's device, encoded once, and what it must say to prove that it obeyed. Pure.

A row keeps them (`Octets.as_json`): whoever repeats a command, asks for its proof or lights again needs no codec.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decoders.codec import Codec, Command, EncodedCommand, Proof, UnsupportedCommand
from lighting.commands import RejectedLightingCommand

NO_SWITCH = "le décodeur de cet équipement ne sait pas commander un éclairage (commande switch_on)"
NO_DIMMER = "cette armoire n'a pas de variateur : la gradation n'est pas possible"
ON, OFF, DIM, QUESTION = "on", "off", "dim", "question"
COMMANDS = {ON: "switch_on", OFF: "switch_off", DIM: "dim"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which commands are to be encoded for a circuit, by what they are for, and how their effect is proved."""

    commands: Mapping[str, tuple[str, dict[str, Any]]]
    quantity: str  # Empty: nothing proves that it is switched.
    level_quantity: str
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Octets:
    """The frames for a circuit by what they are for: `on`, `off`, `dim` (one level), `question`."""

    frames: Mapping[str, EncodedCommand]
    quantity: str = ""
    level_quantity: str = ""
    channels: tuple[str, ...] = ()

    def quantity_of(self, action: str) -> str:
        """What proves an action; empty: nothing does."""
        return self.level_quantity if action == DIM else self.quantity

    @property
    def asks(self) -> bool:
        """Whether the device can be asked for the proof."""
        return QUESTION in self.frames

    def as_json(self) -> dict[str, Any]:
        """As the row keeps it."""
        frames = {use: [frame.f_port, frame.payload.hex()] for use, frame in self.frames.items()}
        return {
            "frames": frames,
            "quantity": self.quantity,
            "level_quantity": self.level_quantity,
            "channels": list(self.channels),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Octets | None":
        """What a row keeps; None: nothing, it was written before rows kept it."""
        if not kept:
            return None
        frames = {
            use: EncodedCommand(f_port, bytes.fromhex(octets)) for use, (f_port, octets) in kept["frames"].items()
        }
        return cls(frames, kept["quantity"], kept["level_quantity"], tuple(kept["channels"]))


Parameters = Mapping[str, Mapping[str, Any]]
"""The commands of a device by name: their parameters, each with its default or None."""


def usual_proof(commands: Parameters, reported: Collection[str]) -> Proof | None:
    """Of a vendor's script or a declared codec, which do not say it: `read_state`, or a state that is reported.

    `reported` are the channels on which the device has said the state of an output.
    """
    channels = () if "output" in commands.get(COMMANDS[ON], {}) else ((1, ("",)),)
    if "read_state" in commands:
        return Proof("read_state", channels)
    return Proof("", channels) if reported else None


def wanted_for(commands: Parameters, proof: Proof | None, output: str | None, level: int | None) -> Wanted:
    """What to encode for a circuit; `output` is its own, None: what commands switch without being told.

    Raises:
        RejectedLightingCommand: the device cannot be commanded so.
    """
    if COMMANDS[ON] not in commands:
        raise RejectedLightingCommand(NO_SWITCH)
    number = _number(output)
    if "output" not in commands[COMMANDS[ON]] and number not in {None, 1}:
        raise RejectedLightingCommand(
            f"cet équipement n'a qu'une sortie, et ce circuit est sur la sortie {output}"
        )
    if number is None:
        number = commands[COMMANDS[ON]].get("output")

    def given(name: str) -> dict[str, Any]:
        return {"output": number} if "output" in commands[name] and number is not None else {}

    found = {use: (name, given(name)) for use, name in COMMANDS.items() if name in commands and use != DIM}
    if level is not None:
        if COMMANDS[DIM] not in commands:
            raise RejectedLightingCommand(NO_DIMMER)
        found[DIM] = (COMMANDS[DIM], {"level": level} | given(COMMANDS[DIM]))
    if proof is None:
        return Wanted(found, "", "", ())
    if proof.question in commands:
        found[QUESTION] = (proof.question, given(proof.question))
    return Wanted(found, proof.quantity, proof.level_quantity, proof.channels_of(1 if number is None else number))


def _number(output: str | None) -> int | None:
    if output is None:
        return None
    if not output.isdecimal():
        raise RejectedLightingCommand(f"la sortie du circuit est un numéro, pas « {output} »")
    return int(output)


def octets_of_codec(
    codec: Codec | None, proof: Proof | None, output: str | None, level: int | None = None
) -> Octets:
    """The octets of a codec that encodes without a script.

    Raises:
        RejectedLightingCommand: it knows no such command, or not for this output.
    """
    if codec is None or codec.encode is None:
        raise RejectedLightingCommand(NO_SWITCH)
    wanted = wanted_for(parameters_of(codec.commands), proof, output, level)
    try:
        frames = {use: codec.encode(name, given) for use, (name, given) in wanted.commands.items()}
    except UnsupportedCommand as unsupported:
        raise RejectedLightingCommand(str(unsupported)) from unsupported
    return Octets(frames, wanted.quantity, wanted.level_quantity, wanted.channels)


def parameters_of(commands: Sequence[Command]) -> dict[str, dict[str, Any]]:
    """Of each command its parameters with their defaults."""
    return {
        command.name: {parameter.name: parameter.default for parameter in command.parameters}
        for command in commands
    }
