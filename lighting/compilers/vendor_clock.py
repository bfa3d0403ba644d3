"""Programs for vendors' clocks: the parameters of their command `set_program`, by name; pure.

The names are those of docs/profil-horloge.md, "Horloges d'autres fabricants". What no parameter says is lost, and
said.
"""

from collections.abc import Mapping
from typing import Any

from core.model.lighting import FULL, LampPlace, Program, Schedule, Switching
from decoders.codec import Command, Parameter, ParameterKind, UnsupportedCommand
from decoders.commands import checked
from decoders.territoire.clock_program import hash_of
from lighting.compilers.compiled import CannotCompile, Compiled

MOST_STEPS = 15
# Of how much each parameter tells, for what is lost without any of them.
CUT = ("cut_start", "cut_end")


def compile_for_vendor(command: Command, program: Program, place: LampPlace) -> Compiled:
    """The default schedule of a program as parameters of the vendor's command.

    Raises:
        CannotCompile: the default is a night without light, or the command asks for what a program does not say.
    """
    schedule = program.default
    if schedule is None:
        raise CannotCompile("l'horloge ne tient pas de nuit sans éclairage")
    values = _values(program, schedule, place)
    known = {parameter.name: parameter for parameter in command.parameters}
    given = {name: _as_asked(known[name], value) for name, value in values.items() if name in known}
    try:
        parameters = checked(command, given)
        encoded = command.build(parameters)
    except NotImplementedError:  # A script's: where scripts run, they encode it.
        return Compiled(parameters=given, losses_fr=_not_held(program, schedule, known.keys() & values.keys()))
    except UnsupportedCommand as unsupported:
        raise CannotCompile(f"l'horloge ne prend pas ce programme : {unsupported}") from None
    losses = _not_held(program, schedule, known.keys() & values.keys())
    return Compiled((encoded,), hash_of(encoded.payload), losses, parameters=given)


def _values(program: Program, schedule: Schedule, place: LampPlace) -> Mapping[str, Any]:
    values: dict[str, Any] = {"coefficient": program.coefficient * FULL}
    if place.latitude is not None and place.longitude is not None:
        values |= {"latitude": place.latitude, "longitude": place.longitude}
    for name, switching in (("on", schedule.on), ("off", schedule.off)):
        values |= _switching(name, switching)
    if schedule.cut is not None:
        values |= dict(zip(CUT, schedule.cut, strict=True))
    steps = schedule.dimming
    values["dimming"] = [{"at": minute, "level": level} for minute, level in steps]
    for number, (minute, level) in enumerate(steps[:MOST_STEPS], 1):
        values |= {f"step_{number}_at": minute, f"step_{number}_level": level}
    return values


def _switching(name: str, switching: Switching) -> Mapping[str, Any]:
    if switching.event is None:
        return {f"{name}_event": "clock", f"{name}_at": switching.minutes}
    return {f"{name}_event": switching.event, f"{name}_offset": switching.minutes}


def _as_asked(parameter: Parameter, value: Any) -> Any:
    """Whole numbers where the command takes no others."""
    if parameter.kind is ParameterKind.INTEGER and isinstance(value, float):
        return round(value)
    return value


def _not_held(program: Program, schedule: Schedule, said: set[str]) -> tuple[str, ...]:
    losses: list[str] = []
    if program.rules:
        losses.append(f"les {len(program.rules)} règles de calendrier : l'horaire par défaut vaut chaque nuit")
    for name, switching, what in (("on", schedule.on, "allumage"), ("off", schedule.off, "extinction")):
        losses += _lost_switching(name, switching, what, said)
    if schedule.cut is not None and not said.issuperset(CUT):
        losses.append("la coupure de nuit")
    if "dimming" not in said:
        kept = sum(said.issuperset({f"step_{n}_at", f"step_{n}_level"}) for n in range(1, MOST_STEPS + 1))
        if kept < len(schedule.dimming):
            losses.append(f"{kept} paliers au plus, sur {len(schedule.dimming)}")
    if program.coefficient < 1 and "coefficient" not in said:
        losses.append("le coefficient de réduction")
    return tuple(losses)


def _lost_switching(name: str, switching: Switching, what: str, said: set[str]) -> list[str]:
    if switching.event is None:
        return [] if f"{name}_at" in said else [f"l'{what} à heure fixe"]
    if switching.minutes and f"{name}_offset" not in said:
        return [f"le décalage de l'{what} sur le soleil"]
    return []
