"""Typed commands: checks their parameters, with errors for a technician, then builds them."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from decoders.codec import Command, Encode, EncodedCommand, Parameter, ParameterKind, UnsupportedCommand


def encoder(device: str, commands: Sequence[Command]) -> Encode:
    """The `encode` of a codec with these commands; `device` is how the messages call it.

    Raises UnsupportedCommand for a command or parameter that is not in the table, a parameter that is
    missing, of another type, out of its range or none of its choices.
    """
    known = {command.name: command for command in commands}

    def encode(name: str, parameters: Mapping[str, Any]) -> EncodedCommand:
        command = known.get(name)
        if command is None:
            raise UnsupportedCommand(
                f"{device} ne connaît pas la commande « {name} » (connues : {', '.join(known)})."
            )
        return command.build(checked(command, parameters))

    return encode


def checked(command: Command, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the command with its value, defaults included. Raises UnsupportedCommand."""
    known = {parameter.name for parameter in command.parameters}
    unknown = ", ".join(sorted(str(name) for name in parameters if name not in known))
    if unknown:
        takes = f"prend seulement {', '.join(sorted(known))}" if known else "ne prend pas de paramètre"
        raise UnsupportedCommand(f"La commande « {command.name} » {takes} (reçu : {unknown}).")
    return {
        parameter.name: _value(parameter, parameters.get(parameter.name, parameter.default))
        for parameter in command.parameters
    }


def _value(parameter: Parameter, value: Any) -> Any:
    what = f"« {parameter.name} » ({parameter.label_fr})"
    if value is None:
        if parameter.required:
            raise UnsupportedCommand(f"{what} est obligatoire.")
        return None
    match parameter.kind:
        case ParameterKind.CHOICE:
            if value not in parameter.choices:
                choices = ", ".join(parameter.choices)
                raise UnsupportedCommand(f"{what} doit être l'un de : {choices}, pas {value!r}.")
        case ParameterKind.INTEGER | ParameterKind.NUMBER:
            _check_number(parameter, what, value)
        case kind:
            form, wanted = _FORMS[kind]
            if not isinstance(value, form):
                raise UnsupportedCommand(f"{what} doit être {wanted}, pas {value!r}.")
    return value


_FORMS: Mapping[ParameterKind, tuple[type, str]] = {
    ParameterKind.BOOLEAN: (bool, "vrai ou faux"),
    ParameterKind.TEXT: (str, "un texte"),
    ParameterKind.LIST: (list, "une liste d'objets"),
}


def _check_number(parameter: Parameter, what: str, value: Any) -> None:
    integer = parameter.kind is ParameterKind.INTEGER
    wanted = (int,) if integer else (int, float)
    if (
        isinstance(value, bool)
        or not isinstance(value, wanted)
        or (isinstance(value, float) and not isfinite(value))
    ):
        form = "un nombre entier" if integer else "un nombre"
        raise UnsupportedCommand(f"{what} doit être {form}, pas {value!r}.")
    minimum, maximum = parameter.minimum, parameter.maximum
    below, above = minimum is not None and value < minimum, maximum is not None and value > maximum
    if below or above:
        unit = f" {parameter.unit}" if parameter.unit else ""
        raise UnsupportedCommand(f"{what} va de {minimum} à {maximum}{unit}, pas {value}.")
