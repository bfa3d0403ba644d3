"""Downlinks of a declaration: encodes typed parameters, and decodes the result again as a check."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from decoders.canonical import MalformedPayload
from decoders.codec import Command, EncodedCommand, Parameter, ParameterKind, UnsupportedCommand
from decoders.declarative.elements import Bits, Number, Text
from decoders.declarative.records import Group, Repeat, Tagged, read_all, write_all
from decoders.declarative.stream import Element, Reader, Writer

LONGEST = 242  # Octets of the largest LoRaWAN payload.


@dataclass(frozen=True, slots=True)
class Form:
    """A downlink's f_port and octets, as a table."""

    name: str
    f_port: int
    elements: tuple[Element, ...]

    def build(self, given: Mapping[str, Any]) -> EncodedCommand:
        """The octets; raises UnsupportedCommand for what they cannot carry."""
        writer = Writer()
        write_all(self.elements, writer, {name: value for name, value in given.items() if value is not None})
        payload = bytes(writer.octets)
        if not 0 < len(payload) <= LONGEST:
            raise UnsupportedCommand(f"la commande a {len(payload)} octets, de 1 à {LONGEST} possibles")
        self._check(payload, writer)
        return EncodedCommand(self.f_port, payload)

    def read(self, payload: bytes) -> Reader:
        """What these octets carry. Raises MalformedPayload."""
        reader = Reader(payload, 0)
        read_all(self.elements, reader)
        if reader.reached != len(payload):
            raise MalformedPayload(f"octets en trop après la commande : {payload[reader.reached :].hex()}")
        return reader

    def _check(self, payload: bytes, writer: Writer) -> None:
        """What is read back is what was written: fields that overlap are found here."""
        try:
            read = self.read(payload).raw
        except MalformedPayload as unlike:
            raise UnsupportedCommand(f"la commande {self.name} ne se relit pas : {unlike}") from None
        for name, raw in writer.raw.items():
            if isinstance(raw, int) and read.get(name) != raw:
                got = read.get(name)
                raise UnsupportedCommand(f"« {name} » relu vaut {got}, {raw} a été écrit : {payload.hex()}")


def command_of(form: Form, title: str, switches: bool) -> Command:
    """The command of this form; its parameters are in the order of the frame."""
    parameters = {parameter.name: parameter for parameter in _parameters(form.elements)}
    return Command(form.name, title or form.name, form.build, tuple(parameters.values()), switches)


def _parameters(elements: tuple[Element, ...]) -> list[Parameter]:
    found: list[Parameter | None] = []
    counts = {element.count for element in elements if isinstance(element, Repeat)}
    for element in elements:
        match element:
            case Number(type=kind, meaning=meaning):
                found.append(meaning.parameter(kind.least, kind.most))
            case Bits(fields=fields):
                found.extend(field.meaning.parameter(*field.bounds) for field in fields)
            case Text(name=name, title=title):
                found.append(Parameter(name, title or name, ParameterKind.TEXT))
            case Repeat(name=name, title=title):
                found.append(Parameter(name, title or name, ParameterKind.LIST))
            case Group(elements=inner):
                found.extend(_optional(inner))
            case Tagged(records=records):
                for record in records.values():
                    found.extend(_optional(record.elements))
            case _:
                pass
    return [parameter for parameter in found if parameter is not None and parameter.name not in counts]


def _optional(elements: tuple[Element, ...]) -> list[Parameter]:
    """Of what is not in every frame; the form itself asks for what the others make necessary."""
    return [replace(parameter, required=False) for parameter in _parameters(elements)]
