"""ChirpStack's messages, made of descriptors that are kept, are those of the distribution chirpstack-api."""

import random

import pytest
from chirpstack_api import common as their_common
from chirpstack_api import gw as their_gw
from chirpstack_api import integration as their_integration
from google.protobuf import json_format
from google.protobuf.message import Message

from core.messages import chirpstack
from lab.commands.chirpstack_messages import KEPT, descriptors
from tests.rooms import CHECKOUT, PRODUCT

PACKAGES = {
    "common": (chirpstack.common, their_common),
    "gw": (chirpstack.gw, their_gw),
    "integration": (chirpstack.integration, their_integration),
}
NUMBERS = {1: 0.25, 2: 0.5, 3: -7, 4: 9, 5: 3, 13: 8, 17: -2, 18: -3}  # By protobuf's own numbers of types.


def fill(message: Message, draw: random.Random, depth: int = 0) -> None:
    """Something in every field, of every kind that these messages have."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None and message.WhichOneof(field.containing_oneof.name):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _fill_map(getattr(message, field.name), field.message_type.fields_by_name, draw, depth)
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            inner = inner.add() if field.is_repeated else inner
            if field.message_type.full_name == "google.protobuf.Struct":
                inner.update({"level": draw.randrange(100), "name": "é"})
            elif field.message_type.full_name.startswith("google.protobuf."):
                inner.seconds, inner.nanos = draw.randrange(1, 1 << 31), 500_000_000
            elif depth < 4:
                fill(inner, draw, depth + 1)
        else:
            value = _value(field, draw)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)


def _fill_map(values, fields, draw: random.Random, depth: int) -> None:
    key = _value(fields["key"], draw)
    if fields["value"].message_type is None:
        values[key] = _value(fields["value"], draw)
    else:
        fill(values[key], draw, depth + 1)


def _value(field, draw: random.Random):
    if field.enum_type is not None:
        return draw.choice(field.enum_type.values).number
    if field.type == field.TYPE_STRING:
        return f"text {draw.randrange(1000)}"
    if field.type == field.TYPE_BYTES:
        return draw.randbytes(12)
    return draw.random() < 0.5 if field.type == field.TYPE_BOOL else NUMBERS[field.type]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_message_reads_and_writes_as_theirs(package: str) -> None:
    ours, theirs = PACKAGES[package]
    names = [name for name, value in vars(ours).items() if isinstance(value, type)]
    assert set(names) == {
        name for name, value in vars(theirs).items() if hasattr(value, "DESCRIPTOR") and isinstance(value, type)
    }
    for name in names:
        message = getattr(theirs, name)()
        fill(message, random.Random(7))
        octets, text = message.SerializeToString(deterministic=True), json_format.MessageToJson(message)

        mine = getattr(ours, name).FromString(octets)
        assert mine.SerializeToString(deterministic=True) == octets, name  # Of a map any order is right.
        assert json_format.MessageToJson(mine) == text, name
        assert json_format.Parse(text, getattr(ours, name)()) == mine, name


def test_every_value_of_an_enumeration_is_theirs() -> None:
    for ours, theirs in PACKAGES.values():
        for name, value in vars(ours).items():
            if isinstance(value, int):
                assert value == getattr(theirs, name), name
            elif not isinstance(value, type):
                assert value.items() == getattr(theirs, name).items(), name


def test_the_descriptors_are_those_of_the_version_that_is_locked() -> None:
    assert KEPT.read_bytes() == descriptors()


def test_no_program_imports_the_distribution_itself() -> None:
    importing = [
        str(file.relative_to(CHECKOUT))
        for package in (*PRODUCT, "lab")
        for file in (CHECKOUT / package).rglob("*.py")
        if "from chirpstack_api" in file.read_text("utf-8") and file.name != "chirpstack_messages.py"
    ]
    assert importing == ["core/messages/chirpstack.py"]  # For its types alone.
