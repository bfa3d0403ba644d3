"""A device described by a table in YAML instead of code: from the text to a codec (docs/codec-declaratif.md)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decoders.canonical import Decoded, MalformedPayload
from decoders.codec import Codec, Command
from decoders.commands import encoder
from decoders.declarative.build import Scope, elements_of
from decoders.declarative.commands import Form, command_of
from decoders.declarative.examples import check_example
from decoders.declarative.nodes import Entry, read_document
from decoders.declarative.numbers import Order
from decoders.declarative.places import ranges_of
from decoders.declarative.records import Ranges, holds, read_all
from decoders.declarative.stream import Element, Reader

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
LAST_F_PORT = 223
LAST_OCTET = 511


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """One form of uplink, and how it is recognised; None and () recognise anything."""

    name: str
    f_ports: Ranges | None
    sizes: Ranges | None
    octets: tuple[tuple[int, Ranges], ...]
    elements: tuple[Element, ...]
    ignores_rest: bool

    def matches(self, f_port: int, payload: bytes) -> bool:
        """Whether this payload has the form that `when` asks for."""
        if self.f_ports is not None and not holds(self.f_ports, f_port):
            return False
        if self.sizes is not None and not holds(self.sizes, len(payload)):
            return False
        return not self.octets or all(
            at < len(payload) and holds(ranges, payload[at]) for at, ranges in self.octets
        )

    def decode(self, payload: bytes, time_us: int) -> Decoded:
        """What the payload says. Raises MalformedPayload."""
        reader = Reader(payload, time_us)
        read_all(self.elements, reader)
        if reader.reached < len(payload) and not self.ignores_rest:
            raise MalformedPayload(
                f"{self.name} : {len(payload) - reader.reached} octets après le dernier champ : {payload.hex()}"
            )
        return reader.decoded


@dataclass(frozen=True, slots=True)
class Declaration:
    """A codec as its author declared it."""

    name: str
    version: int
    frames: tuple[FrameLayout, ...]
    commands: tuple[Command, ...]

    def decode(self, f_port: int, payload: bytes, time_us: int, _options: Mapping[str, Any]) -> Decoded:
        """By the first frame that recognises the payload. Raises MalformedPayload."""
        for frame in self.frames:
            if frame.matches(f_port, payload):
                return frame.decode(payload, time_us)
        raise MalformedPayload(
            f"aucune trame déclarée ne convient au f_port {f_port} et à {len(payload)} octets : {payload.hex()}"
        )

    def codec(self) -> Codec:
        """The codec that ingest, the API and the command line use."""
        encode = encoder(self.name, self.commands) if self.commands else None
        return Codec(self.name, self.version, self.decode, encode, self.commands)


def parse(text: str) -> Codec:
    """The codec that this YAML declares; every example in it has been played.

    Raises:
        InvalidDeclaration: in French, with the line, the place and the reason.
    """
    root = read_document(text)
    keys = root.mapping("codec", "version", "title", "order", "frames", "commands", "examples")
    if "codec" not in keys or not keys.keys() & {"frames", "commands"}:
        raise root.error("une déclaration a « codec » (son nom) et « frames » (ses trames)")
    if not _NAME.fullmatch(keys["codec"].text()):
        raise keys["codec"].error("un nom de décodeur a des minuscules, des chiffres, « - », « . » et « _ »")
    if "title" in keys:
        keys["title"].text()  # It is for who reads the table.
    order: Order = "big"
    if "order" in keys and keys["order"].one_of(("big", "little")) == "little":
        order = "little"
    declaration = Declaration(
        name=keys["codec"].text(),
        version=keys["version"].integer(1, 1_000_000) if "version" in keys else 1,
        frames=tuple(_frame(item, order) for item in keys["frames"].items()) if "frames" in keys else (),
        commands=_commands(keys["commands"], order) if "commands" in keys else (),
    )
    codec = declaration.codec()
    for example in keys["examples"].items() if "examples" in keys else []:
        check_example(example, codec)
    return codec


def _frame(entry: Entry, byte_order: Order) -> FrameLayout:
    keys = entry.mapping("name", "when", "fields", "order", "rest")
    if "fields" not in keys:
        raise entry.error("une trame a « fields », la liste de ses champs")
    if "order" in keys:
        byte_order = "little" if keys["order"].one_of(("big", "little")) == "little" else "big"
    when = keys["when"].mapping("f_port", "size", "octets") if "when" in keys else {}
    octets = list(when["octets"].pairs()) if "octets" in when else []
    return FrameLayout(
        name=keys["name"].text() if "name" in keys else "trame",
        f_ports=ranges_of(when["f_port"]) if "f_port" in when else None,
        sizes=ranges_of(when["size"]) if "size" in when else None,
        octets=tuple((key.integer(0, LAST_OCTET), ranges_of(value)) for key, value in octets),
        elements=elements_of(keys["fields"], Scope(byte_order, in_command=False)),
        ignores_rest="rest" in keys and keys["rest"].one_of(("refuse", "ignore")) == "ignore",
    )


def _commands(entry: Entry, byte_order: Order) -> tuple[Command, ...]:
    commands: list[Command] = []
    for key, value in entry.pairs():
        keys = value.mapping("title", "switches", "f_port", "fields")
        if "f_port" not in keys or "fields" not in keys:
            raise value.error("une commande a « f_port » et « fields »")
        elements = elements_of(keys["fields"], Scope(byte_order, in_command=True))
        form = Form(key.text(), keys["f_port"].integer(1, LAST_F_PORT), elements)
        # Unless it says otherwise it acts on the territory, and takes the right to switch.
        switches = "switches" not in keys or keys["switches"].flag()
        commands.append(command_of(form, keys["title"].text() if "title" in keys else "", switches))
    return tuple(commands)
