"""What is said to a circuit's device, encoded once, and what it must say to prove that it obeyed. Pure.

A row keeps them (`Octets.as_json`): to repeat a command, to ask for its proof or to light again takes no codec.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from decoders.codec import Codec, Command, EncodedCommand, Proof, UnsupportedCommand
from lighting.commands import LONGEST_OFF, RejectedLightingCommand

NO_SWITCH = "le décodeur de cet équipement ne sait pas commander un éclairage (commande switch_on)"
NO_DIMMER = "cette armoire n'a pas de variateur : la gradation n'est pas possible"
ON, OFF, DIM, QUESTION = "on", "off", "dim", "question"
COMMANDS = {ON: "switch_on", OFF: "switch_off", DIM: "dim"}
# Of clocks that hold a program, as docs/profil-horloge.md has it: how long a level goes before the program.
OVERRIDE = "override"
ENDS = frozenset({"minutes", "until"})  # One of them says when the clock is to end it by itself.
SEQUENCES = 255
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """When something is asked of a circuit, and to what level or until when: a clock is sent the end with it."""

    at: datetime
    level: int | None = None
    off_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which commands are to be encoded for a circuit, by what they are for, and how their effect is proved."""

    commands: Mapping[str, tuple[str, dict[str, Any]]]
    quantity: str  # Empty: nothing proves that it is switched.
    level_quantity: str
    channels: tuple[str, ...]
    ends_itself: bool = False

    def as_octets(self, frames: Mapping[str, EncodedCommand]) -> "Octets":
        """With what the commands were encoded to."""
        return Octets(frames, self.quantity, self.level_quantity, self.channels, self.ends_itself)


@dataclass(frozen=True, slots=True)
class Octets:
    """The frames for a circuit by what they are for: `on`, `off`, `dim` (one level), `question`.

    `ends_itself`: the device holds a program, and returns to it at the end of an "off".
    """

    frames: Mapping[str, EncodedCommand]
    quantity: str = ""
    level_quantity: str = ""
    channels: tuple[str, ...] = ()
    ends_itself: bool = False

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
            "ends_itself": self.ends_itself,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Octets | None":
        """What a row keeps; None: nothing, it was written before rows kept it."""
        if not kept:
            return None
        frames = {
            use: EncodedCommand(f_port, bytes.fromhex(octets)) for use, (f_port, octets) in kept["frames"].items()
        }
        # Rows of before clocks were commanded do not say it.
        ends_itself = kept.get("ends_itself", False)
        return cls(frames, kept["quantity"], kept["level_quantity"], tuple(kept["channels"]), ends_itself)


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


def wanted_for(
    commands: Parameters, proof: Proof | None, output: str | None, asked: Asked, reported: Collection[str] = ()
) -> Wanted:
    """What to encode for a circuit; `output` is its own, None: what commands switch by default.

    Raises:
        RejectedLightingCommand: the device cannot be commanded so.
    """
    number = _number(output)
    if "level" in commands.get(OVERRIDE, {}) and commands[OVERRIDE].keys() & ENDS:
        return _wanted_for_clock(commands, proof, number, asked, reported)
    if COMMANDS[ON] not in commands:
        raise RejectedLightingCommand(NO_SWITCH)
    _check_output(number, has_outputs="output" in commands[COMMANDS[ON]])
    if number is None:
        number = commands[COMMANDS[ON]].get("output")

    def given(name: str) -> dict[str, Any]:
        return {"output": number} if "output" in commands[name] and number is not None else {}

    found = {use: (name, given(name)) for use, name in COMMANDS.items() if name in commands and use != DIM}
    if asked.level is not None:
        if COMMANDS[DIM] not in commands:
            raise RejectedLightingCommand(NO_DIMMER)
        found[DIM] = (COMMANDS[DIM], {"level": asked.level} | given(COMMANDS[DIM]))
    if proof is None:
        return Wanted(found, "", "", ())
    if proof.question in commands:
        found[QUESTION] = (proof.question, given(proof.question))
    return Wanted(found, proof.quantity, proof.level_quantity, proof.channels_of(1 if number is None else number))


def _wanted_for_clock(
    commands: Parameters, proof: Proof | None, number: int | None, asked: Asked, reported: Collection[str]
) -> Wanted:
    """Overrides, which the clock ends by itself: those without an end after the longest time.

    The "on" that goes with an "off" is sent at the end of that one, should the lamps not burn by themselves.
    """
    _check_output(number, has_outputs="circuit" in commands[OVERRIDE])
    sequence = int(asked.at.timestamp())

    def override(
        level: int, since: datetime, until: datetime, number_in_row: int = 0
    ) -> tuple[str, dict[str, Any]]:
        given = {
            "sequence": (sequence + number_in_row) % SEQUENCES + 1,  # 0 is that of a clock which was sent none.
            "circuit": number or 0,
            "level": level,
            "minutes": max(1, -(-(until - since) // MINUTE)),
            "until": int(until.timestamp()),
        }
        # A clock of another make need not know them all.
        return OVERRIDE, {name: value for name, value in given.items() if name in commands[OVERRIDE]}

    begin = asked.off_until or asked.at
    found = {ON: override(100, begin, begin + LONGEST_OFF, 1 if asked.off_until else 0)}
    if asked.off_until is not None and asked.level is None:
        found[OFF] = override(0, asked.at, asked.off_until)
    if asked.level is not None:
        found[DIM] = override(asked.level, asked.at, asked.off_until or asked.at + LONGEST_OFF)
    if proof is None:
        return Wanted(found, "", "", (), ends_itself=True)
    if proof.question in commands:
        found[QUESTION] = (proof.question, {})
    channels = _channels_of_clock(number, reported)
    return Wanted(found, proof.quantity, proof.level_quantity, channels, ends_itself=True)


def _channels_of_clock(number: int | None, reported: Collection[str]) -> tuple[str, ...]:
    """A clock with one circuit names no channel, one with several numbers them."""
    numbered = tuple(sorted(channel for channel in reported if channel))
    if number is None:
        return numbered or ("",)
    return (str(number),) if number > 1 or str(number) in numbered else ("",)


def _check_output(number: int | None, *, has_outputs: bool) -> None:
    if not has_outputs and number not in {None, 1}:
        raise RejectedLightingCommand(
            f"cet équipement n'a qu'une sortie, et ce circuit est sur la sortie {number}"
        )


def _number(output: str | None) -> int | None:
    if output is None:
        return None
    if not output.isdecimal():
        raise RejectedLightingCommand(f"la sortie du circuit est un numéro, pas « {output} »")
    return int(output)


def octets_of_codec(
    codec: Codec | None, proof: Proof | None, output: str | None, asked: Asked, reported: Collection[str] = ()
) -> Octets:
    """The octets of a codec that encodes without a script.

    Raises:
        RejectedLightingCommand: it knows no such command, or not for this output.
    """
    if codec is None or codec.encode is None:
        raise RejectedLightingCommand(NO_SWITCH)
    wanted = wanted_for(parameters_of(codec.commands), proof, output, asked, reported)
    try:
        frames = {use: codec.encode(name, given) for use, (name, given) in wanted.commands.items()}
    except UnsupportedCommand as unsupported:
        raise RejectedLightingCommand(str(unsupported)) from unsupported
    return wanted.as_octets(frames)


def parameters_of(commands: Sequence[Command]) -> dict[str, dict[str, Any]]:
    """Of each command its parameters with their defaults."""
    return {
        command.name: {parameter.name: parameter.default for parameter in command.parameters}
        for command in commands
    }
