"""A codec is a named, versioned pair of pure functions, and the commands that it can encode."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from core.model.plausibility import SensorRange
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


# Secret options: the keys with which meters encrypt. No profile has them: they are wrapped at rest apart,
# and join its options in memory, for codecs of this program alone, never for a script.
SECRET_OPTIONS = frozenset({"key", "keys"})


@dataclass(frozen=True, slots=True)
class UnopenedKey:
    """In the place of a key that does not open; `reason`, in French, is that of frames that need it."""

    reason: str


class UnsupportedCommand(ValueError):
    """The device has no such command, or not with these parameters; the message, in French, is shown."""


class ParameterKind(StrEnum):
    """What a parameter's value is in JSON."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"  # One of `choices`.
    TEXT = "text"
    LIST = "list"  # Of objects: what they hold, the command itself checks.


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a command; bounds are inclusive, in `unit` (UCUM).

    Without `default` it must be given, unless it is not `required`: then nothing is said of it.
    """

    name: str
    label_fr: str
    kind: ParameterKind = ParameterKind.INTEGER
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    default: Any = None
    required: bool = True


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a device: its form, and the octets once the parameters have been checked against it.

    `switches` marks what acts on the territory (a relay, a valve), and not only on the device's settings:
    it takes the right to switch.
    """

    name: str
    label_fr: str
    build: Callable[[Mapping[str, Any]], EncodedCommand]
    parameters: tuple[Parameter, ...] = ()
    switches: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """How a device proves that it obeyed `switch_on`, `switch_off` or `dim`: by what it reports afterwards.

    `question` is the command that makes it report at once, with the same `output`; empty: its next report comes by
    itself. `channels` are those of the readings of each output, all of which must say it; one that is not named
    has the channel of its number. `level_quantity` is that of `dim`, in percent; empty: nothing proves a level.
    """

    question: str = ""
    channels: tuple[tuple[int, tuple[str, ...]], ...] = ()
    quantity: str = "switch_state"
    level_quantity: str = ""

    def channels_of(self, output: int) -> tuple[str, ...]:
        """The channels that must say what an output does."""
        return dict(self.channels).get(output, (str(output),))


@dataclass(frozen=True, slots=True)
class Codec:
    """`decode` raises MalformedPayload and nothing else, whatever the octets.

    `commands` describes what `encode` knows, for forms. `ranges` are what the product measures, where that is not
    the quantity's usual range; those of a profile go before. `proof` is None where nothing that the device sends
    says what its outputs do.
    """

    name: str
    version: int
    decode: Decode
    encode: Encode | None = None
    commands: tuple[Command, ...] = ()
    ranges: tuple[SensorRange, ...] = ()
    proof: Proof | None = None

    @property
    def switches(self) -> bool:
        """Whether what it encodes can act on the territory; one that does not describe its commands may."""
        described = not self.commands or any(command.switches for command in self.commands)
        return self.encode is not None and described
