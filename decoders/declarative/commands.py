"""The downlinks of a declaration: typed parameters in, octets out, read back before anybody sends them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decoders.canonical import MalformedPayload
from decoders.codec import EncodedCommand, UnsupportedCommand
from decoders.declarative.elements import Bits, Number, Text
from decoders.declarative.meaning import Parameter
from decoders.declarative.records import Group, Repeat, Tagged, read_all, write_all
from decoders.declarative.stream import Element, Reader, Writer

LONGEST = 242  # Octets of the largest LoRaWAN payload.


@dataclass(frozen=True, slots=True)
class Command:
    """A downlink by name."""

    name: str
    title: str
    f_port: int
    elements: tuple[Element, ...]

    def encode(self, given: Mapping[str, Any]) -> EncodedCommand:
        """The octets; raises UnsupportedCommand for parameters that are missing, unknown or impossible."""
        parameters = {parameter.name for parameter in self.parameters()}
        if unknown := sorted(given.keys() - parameters):
            known = ", ".join(sorted(parameters)) or "aucun"
            raise UnsupportedCommand(f"« {unknown[0]} » n'est pas un paramètre de {self.name} : {known}")
        writer = Writer()
        write_all(self.elements, writer, given)
        payload = bytes(writer.octets)
        if not 0 < len(payload) <= LONGEST:
            raise UnsupportedCommand(f"la commande a {len(payload)} octets, de 1 à {LONGEST} possibles")
        self._check(payload, writer)
        return EncodedCommand(self.f_port, payload)

    def decode(self, payload: bytes) -> dict[str, Any]:
        """The parameters that these octets carry; raises MalformedPayload."""
        return self._read(payload).data

    def _read(self, payload: bytes) -> Reader:
        reader = Reader(payload, 0)
        read_all(self.elements, reader)
        if reader.reached != len(payload):
            raise MalformedPayload(f"octets en trop après la commande : {payload[reader.reached :].hex()}")
        return reader

    def _check(self, payload: bytes, writer: Writer) -> None:
        """What is read back is what was written: fields that overlap are found here."""
        try:
            read = self._read(payload).raw
        except MalformedPayload as unlike:
            raise UnsupportedCommand(f"la commande {self.name} ne se relit pas : {unlike}") from None
        for name, raw in writer.raw.items():
            if isinstance(raw, int) and read.get(name) != raw:
                raise UnsupportedCommand(
                    f"« {name} » relu vaut {read.get(name)}, {raw} a été écrit : {payload.hex()}"
                )

    def parameters(self) -> list[Parameter]:
        """What the sender gives, in the order of the frame."""
        return list({parameter.name: parameter for parameter in _parameters(self.elements)}.values())


def _parameters(elements: tuple[Element, ...]) -> list[Parameter]:
    found: list[Parameter | None] = []
    counts = {element.count for element in elements if isinstance(element, Repeat)}
    for element in elements:
        match element:
            case Number(meaning=meaning):
                found.append(meaning.parameter())
            case Bits(fields=fields):
                found.extend(field.meaning.parameter() for field in fields)
            case Text(name=name, title=title):
                found.append(Parameter(name, title, "text"))
            case Repeat(name=name, title=title):
                found.append(Parameter(name, title, "list"))
            case Group(elements=inner):
                found.extend(_parameters(inner))
            case Tagged(records=records):
                for record in records.values():
                    found.extend(_parameters(record.elements))
            case _:
                pass
    return [parameter for parameter in found if parameter is not None and parameter.name not in counts]
