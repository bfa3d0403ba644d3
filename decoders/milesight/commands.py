"""Milesight's downlinks as typed commands, on the f_port of uplinks (docs/decoders-formats.md, "Milesight").

All are absolute. What several outputs share takes `output`, 0 for all of them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from decoders.codec import Command, EncodedCommand, Parameter, ParameterKind, UnsupportedCommand
from decoders.milesight.frame import F_PORT

_SHORTEST_S, _LONGEST_S = 60, 64_800  # 18 hours, the longest that the user guides accept.
_OPEN, _BY_PULSES, _BY_TIME = 0x20, 0x40, 0x80  # Bits of a valve's task.
_LAST_I16, _LAST_U24, _LAST_U32 = 2**15 - 1, 2**24 - 1, 2**32 - 1
_YEAR_2020 = 1_577_836_800
_AS_IT_IS = "unchanged"


def _octets(*octets: int) -> EncodedCommand:
    return EncodedCommand(F_PORT, bytes(octets))


def _hexadecimal(octets: str) -> EncodedCommand:
    return EncodedCommand(F_PORT, bytes.fromhex(octets))


REBOOT = Command("reboot", "Redémarrer", lambda _: _hexadecimal("ff10ff"))
REPORT_INTERVAL = Command(
    "set_report_interval",
    "Régler la période d'envoi",
    lambda values: EncodedCommand(F_PORT, b"\xff\x03" + values["seconds"].to_bytes(2, "little")),
    (Parameter("seconds", "période", minimum=_SHORTEST_S, maximum=_LONGEST_S, unit="s"),),
)
REPORT_INTERVAL_MINUTES = Command(
    "set_report_interval",
    "Régler la période d'envoi",
    lambda values: EncodedCommand(F_PORT, b"\xff\x8e\x00" + values["minutes"].to_bytes(2, "little")),
    (Parameter("minutes", "période", minimum=1, maximum=1_440, unit="min"),),
)
# Of products whose interval is known to be in seconds; some count minutes, otherwise.
COMMON = (REBOOT, REPORT_INTERVAL)
COLLECTION_INTERVAL = Command(
    "set_collection_interval",
    "Régler la période de mesure",
    lambda values: EncodedCommand(F_PORT, b"\xff\x02" + values["seconds"].to_bytes(2, "little")),
    (Parameter("seconds", "période", minimum=10, maximum=_LONGEST_S, unit="s"),),
)


def _read_history(values: Mapping[str, Any]) -> EncodedCommand:
    if values["since"] >= values["until"]:
        raise UnsupportedCommand("« since » doit précéder « until ».")
    return EncodedCommand(
        F_PORT, b"\xfd\x6c" + values["since"].to_bytes(4, "little") + values["until"].to_bytes(4, "little")
    )


# What the device stored comes again, each record at its own instant: how a hole is filled.
HISTORY = (
    Command(
        "read_history",
        "Redemander les relevés en mémoire d'une période",
        _read_history,
        (
            Parameter("since", "début, secondes depuis 1970", minimum=_YEAR_2020, maximum=_LAST_U32, unit="s"),
            Parameter("until", "fin, secondes depuis 1970", minimum=_YEAR_2020, maximum=_LAST_U32, unit="s"),
        ),
    ),
    Command("stop_history", "Arrêter l'envoi des relevés en mémoire", lambda _: _hexadecimal("fd6dff")),
)

_CONDITIONS = ("none", "below", "above", "within", "outside")
_DISTANCE_ALARM, _TELLS_THE_END = 0x08, 0x80


def _set_distance_alarm(values: Mapping[str, Any]) -> EncodedCommand:
    """FF 06: what is watched and when, its bounds, four octets that say nothing here."""
    if values["minimum_mm"] > values["maximum_mm"]:
        raise UnsupportedCommand("« minimum_mm » ne peut pas dépasser « maximum_mm ».")
    control = _CONDITIONS.index(values["condition"]) | _DISTANCE_ALARM | _TELLS_THE_END * values["tell_the_end"]
    bounds = values["minimum_mm"].to_bytes(2, "little") + values["maximum_mm"].to_bytes(2, "little")
    return EncodedCommand(F_PORT, bytes((0xFF, 0x06, control)) + bounds + bytes(4))


DISTANCE_ALARM = Command(
    "set_distance_alarm",
    "Régler l'alarme de distance",
    _set_distance_alarm,
    (
        Parameter("condition", "quand alerter", ParameterKind.CHOICE, choices=_CONDITIONS),
        Parameter("minimum_mm", "borne basse", minimum=0, maximum=_LAST_I16, unit="mm", default=0),
        Parameter("maximum_mm", "borne haute", minimum=0, maximum=_LAST_I16, unit="mm", default=0),
        Parameter("tell_the_end", "prévenir aussi de la fin", ParameterKind.BOOLEAN, default=True),
    ),
)
READ_STATE = Command("read_state", "Demander l'état", lambda _: _hexadecimal("ff28ff"))


def _switch(
    name: str, label: str, build: Callable[[Mapping[str, Any]], EncodedCommand], *parameters: Parameter
) -> Command:
    return Command(name, label, build, parameters, switches=True)


SOCKET = (
    _switch("switch_on", "Allumer", lambda _: _hexadecimal("0801ffff")),
    _switch("switch_off", "Éteindre", lambda _: _hexadecimal("0800ffff")),
    READ_STATE,
)


def _set_all(values: Mapping[str, Any], count: int) -> tuple[int, int]:
    """(mask of the outputs that are set, mask of those that are to be on) from `switch_1` on."""
    mask = on = 0
    for rank in range(count):
        wanted = values[f"switch_{rank + 1}"]
        mask |= (wanted != _AS_IT_IS) << rank
        on |= (wanted == "on") << rank
    return mask, on


def _each(count: int) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            *(f"switch_{rank}", f"sortie {rank}", ParameterKind.CHOICE),
            choices=("on", "off", _AS_IT_IS),
            default=_AS_IT_IS,
        )
        for rank in range(1, count + 1)
    )


def _switches(count: int, encode: Callable[[int, int], EncodedCommand]) -> tuple[Command, ...]:
    """Of so many outputs; `encode` gets the bits of those that are set, and of those to be on."""
    which = Parameter("output", "sortie, 0 pour toutes", minimum=0, maximum=count, default=0)

    def mask(values: Mapping[str, Any]) -> int:
        return 1 << values["output"] - 1 if values["output"] else (1 << count) - 1

    return (
        _switch("switch_on", "Allumer", lambda values: encode(mask(values), mask(values)), which),
        _switch("switch_off", "Éteindre", lambda values: encode(mask(values), 0), which),
        _switch(
            "set_switches", "Régler chaque sortie", lambda values: encode(*_set_all(values, count)), *_each(count)
        ),
    )


def wall_switch(count: int) -> tuple[Command, ...]:
    """Of a wall switch with so many buttons, FF 29: the mask in the high half, the states in the low one."""
    return (*_switches(count, lambda mask, on: _octets(0xFF, 0x29, mask << 4 | on)), READ_STATE)


LIGHTS = _switches(8, lambda mask, on: _octets(0x08, mask, on))


_UC300_OUTPUT = Parameter("output", "sortie", minimum=1, maximum=2, default=1)
# Outputs that have a channel each: [channel] [on or off] FF.
UC300_OUTPUTS = (
    _switch(
        "switch_on", "Activer une sortie", lambda values: _octets(6 + values["output"], 1, 0xFF), _UC300_OUTPUT
    ),
    _switch(
        "switch_off", "Désactiver une sortie", lambda values: _octets(6 + values["output"], 0, 0xFF), _UC300_OUTPUT
    ),
)


def _valve_task(valve: int, sequence: int, *, opened: bool, seconds: int = 0, pulses: int = 0) -> EncodedCommand:
    """FF 1D: what to do with which valve, its number, for how long, for how many pulses."""
    control = valve - 1 | _OPEN * opened | _BY_PULSES * (pulses > 0) | _BY_TIME * (seconds > 0)
    head = bytes((0xFF, 0x1D, control, sequence))
    return EncodedCommand(F_PORT, head + seconds.to_bytes(3, "little") + pulses.to_bytes(4, "little"))


_VALVE = Parameter("valve", "vanne", minimum=1, maximum=2, default=1)
_SEQUENCE = Parameter("sequence", "numéro de la tâche, 0 pour tout de suite", minimum=0, maximum=255, default=0)
VALVES = (
    _switch(
        "open_valve",
        "Ouvrir une vanne pour une durée",
        lambda values: _valve_task(
            *(values["valve"], values["sequence"]),
            opened=True,
            seconds=values["duration_s"],
            pulses=values["pulses"],
        ),
        _VALVE,
        # Never without an end: a lost "close" must not empty a reservoir.
        Parameter("duration_s", "durée", minimum=1, maximum=_LAST_U24, unit="s"),
        Parameter("pulses", "impulsions après lesquelles fermer", minimum=0, maximum=_LAST_U32, default=0),
        _SEQUENCE,
    ),
    _switch(
        "close_valve",
        "Fermer une vanne",
        lambda values: _valve_task(values["valve"], 0, opened=False),
        _VALVE,
    ),
)
TARGET_TEMPERATURE = _switch(
    "set_target_temperature",
    "Régler la consigne de température",
    lambda values: EncodedCommand(
        F_PORT,
        b"\xff\xb1"
        + values["degrees"].to_bytes(1, signed=True)
        + round(values["tolerance"] * 10).to_bytes(2, "little"),
    ),
    Parameter("degrees", "consigne", minimum=5, maximum=35, unit="Cel"),
    Parameter("tolerance", "tolérance", ParameterKind.NUMBER, minimum=0.1, maximum=5, unit="Cel", default=0.5),
)
