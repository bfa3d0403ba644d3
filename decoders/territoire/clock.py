"""The open clock profile: programs and overrides go down, state and program come up (docs/profil-horloge.md)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec, Command, EncodedCommand, Parameter, ParameterKind, Proof, UnsupportedCommand
from decoders.commands import encoder
from decoders.territoire.clock_program import HASH_SIZE, ClockProgram, hash_of, read_clock_program

PROGRAM_PORT, STATE_PORT = 61, 62  # In both directions: what is sent down on the second is an override.
OVERRIDE_PORT, TIME_PORT, QUESTION_PORT = STATE_PORT, 63, 64
MOST_CIRCUITS = 8
LONGEST_OVERRIDE_MINUTES = 720
STEP_MINUTES = 5
RELEASED = 0xFF
NO_PROGRAM = b"\x00"
_STATE, _PROGRAM = b"\x01", b"\x02"
_SECOND_US = 1_000_000
_FIXED, _POWER_SIZE, _ENERGY_SIZE = 13, 3, 4
_HAS_POWER, _HAS_ENERGY, _CIRCUITS = 0x80, 0x40, 0x0F
_CLOCK_VALID, _PROGRAM_VALID = 0x01, 0x02
_CLOCK_BITS = (
    (_CLOCK_VALID, "clock_valid"),
    (_PROGRAM_VALID, "program_valid"),
    (0x20, "override_in_force"),
    (0x40, "program_rejected"),
    (0x80, "fallback"),
)
_CABINET_BITS = ((0x04, "", "local_override"), (0x08, "door", "open"), (0x10, "", "breaker_tripped"))
# What became of the last override.
OUTCOMES = (
    "none",
    "applied",
    "ended",
    "too_late",
    "clock_invalid",
    "local_override",
    "unknown_circuit",
    "malformed",
)
_EARLIEST, _LATEST = 1_500_000_000, 0xFFFFFFFF


def decode(f_port: int, payload: bytes, time_us: int, _options: Mapping[str, Any]) -> Decoded:
    """Decode a state or a program that was asked for. Raises MalformedPayload for what is neither."""
    if f_port == STATE_PORT:
        return _read_state(payload, time_us)
    if f_port == PROGRAM_PORT:
        return _read_program(payload)
    raise MalformedPayload(f"port {f_port} : une horloge parle sur {PROGRAM_PORT} et {STATE_PORT}")


def _read_program(payload: bytes) -> Decoded:
    if payload == NO_PROGRAM:
        return Decoded(data={"program": None, "program_hash": None})
    program = read_clock_program(payload)
    data = {"program": payload.hex(), "program_hash": hash_of(payload).hex()}
    return Decoded(data=data | {"schedules": len(program.schedules), "rules": len(program.rules)})


def _read_state(payload: bytes, time_us: int) -> Decoded:
    if len(payload) < _FIXED:
        raise MalformedPayload(f"un état d'horloge a {_FIXED + 1} octets au moins : {payload.hex()}")
    flags, layout, relays = payload[0], payload[11], payload[12]
    circuits = layout & _CIRCUITS
    sizes = (_POWER_SIZE * bool(layout & _HAS_POWER), _ENERGY_SIZE * bool(layout & _HAS_ENERGY))
    if not 1 <= circuits <= MOST_CIRCUITS or len(payload) != _FIXED + circuits + sum(sizes):
        raise MalformedPayload(f"{circuits} circuits ne font pas {len(payload)} octets : {payload.hex()}")
    levels = payload[_FIXED : _FIXED + circuits]
    if relays >> circuits or max(levels) > 100:  # noqa: PLR2004 - Percent.
        raise MalformedPayload(f"relais ou niveau impossibles (octets 12 à {_FIXED + circuits}) : {payload.hex()}")
    decoded = Decoded()
    for number, level in enumerate(levels):
        channel = str(number + 1) if circuits > 1 else ""
        decoded.readings.append(Reading(time_us, channel, "switch_state", float(relays >> number & 1)))
        decoded.readings.append(Reading(time_us, channel, "light_output", float(level)))
    for mask, channel, quantity in _CABINET_BITS:
        decoded.readings.append(Reading(time_us, channel, quantity, float(bool(flags & mask))))
    at = _FIXED + circuits
    for size, quantity in zip(sizes, ("active_power", "active_energy_import"), strict=True):
        if size:
            decoded.readings.append(Reading(time_us, "", quantity, float(int.from_bytes(payload[at : at + size]))))
        at += size
    decoded.data |= {name: bool(flags & mask) for mask, name in _CLOCK_BITS}
    decoded.data["override_sequence"] = payload[1]
    outcome = payload[2]
    decoded.data["override_outcome"] = OUTCOMES[outcome] if outcome < len(OUTCOMES) else str(outcome)
    held = payload[3 : 3 + HASH_SIZE].hex()
    decoded.data["program_hash"] = held if flags & _PROGRAM_VALID else None
    _read_clock(int.from_bytes(payload[7:11]), bool(flags & _CLOCK_VALID), time_us, decoded)
    return decoded


def _read_clock(seconds: int, is_valid: bool, time_us: int, decoded: Decoded) -> None:
    """`clock_offset` is by how much the device's clock is fast; of one that nobody has set there is none."""
    decoded.readings.append(Reading(time_us, "", "clock_valid", float(is_valid)))
    decoded.data["clock"] = datetime.fromtimestamp(seconds, UTC).isoformat() if is_valid else None
    if is_valid:
        offset = seconds - time_us / _SECOND_US
        decoded.readings.append(Reading(time_us, "", "clock_offset", round(offset, 3)))


def set_program(program: ClockProgram) -> EncodedCommand:
    """The downlink that gives a clock this program."""
    return EncodedCommand(PROGRAM_PORT, program.to_bytes())


def _set_program(values: Mapping[str, Any]) -> EncodedCommand:
    try:
        octets = bytes.fromhex(values["program"])
        read_clock_program(octets)
    except MalformedPayload as malformed:
        raise UnsupportedCommand(str(malformed)) from None
    except ValueError:
        raise UnsupportedCommand("Le programme est donné par ses octets, en hexadécimal.") from None
    return EncodedCommand(PROGRAM_PORT, octets)


def _override(values: Mapping[str, Any]) -> EncodedCommand:
    steps = -(-values["minutes"] // STEP_MINUTES)
    head = bytes((values["sequence"], values["circuit"], values["level"], steps))
    return EncodedCommand(OVERRIDE_PORT, head + values["until"].to_bytes(4))


def _release(values: Mapping[str, Any]) -> EncodedCommand:
    return EncodedCommand(OVERRIDE_PORT, bytes((values["sequence"], values["circuit"], RELEASED, 0)) + bytes(4))


def _set_time(values: Mapping[str, Any]) -> EncodedCommand:
    return EncodedCommand(TIME_PORT, values["time"].to_bytes(4))


_SEQUENCE = Parameter("sequence", "numéro d'ordre, que l'horloge répète", minimum=0, maximum=255)
_CIRCUIT = Parameter("circuit", "circuit (0 : tous)", minimum=0, maximum=MOST_CIRCUITS, default=0)
COMMANDS = (
    Command(
        "set_program",
        "Donner un programme",
        _set_program,
        (Parameter("program", "octets du programme, en hexadécimal", ParameterKind.TEXT),),
        switches=True,
    ),
    Command(
        "override",
        "Forcer un niveau",
        _override,
        (
            _SEQUENCE,
            _CIRCUIT,
            Parameter("level", "niveau (0 : éteint)", minimum=0, maximum=100, unit="%"),
            Parameter("minutes", "durée au plus", minimum=1, maximum=LONGEST_OVERRIDE_MINUTES, unit="min"),
            Parameter("until", "fin, en secondes depuis 1970 (UTC)", minimum=_EARLIEST, maximum=_LATEST, unit="s"),
        ),
        switches=True,
    ),
    Command("release_override", "Rendre au programme", _release, (_SEQUENCE, _CIRCUIT), switches=True),
    Command(
        "set_time",
        "Mettre à l'heure",
        _set_time,
        (Parameter("time", "secondes depuis 1970 (UTC)", minimum=_EARLIEST, maximum=_LATEST, unit="s"),),
        switches=True,
    ),
    Command("read_state", "Demander l'état", lambda _: EncodedCommand(QUESTION_PORT, _STATE)),
    Command("read_program", "Demander le programme", lambda _: EncodedCommand(QUESTION_PORT, _PROGRAM)),
)
# Which channel is a circuit's depends on how many a clock has: lighting knows what it has reported.
PROOF = Proof("read_state", level_quantity="light_output")
CODEC = Codec("territoire.clock", 1, decode, encoder("L'horloge", COMMANDS), COMMANDS, proof=PROOF)
