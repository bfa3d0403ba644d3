"""A downlink to another LNS: what an adapter gets, what it asks for, what an answer means. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

NAMES = {
    "chirpstack": "ChirpStack",
    "the_things_stack": "The Things Stack",
    "thingpark": "ThingPark",
    "live_objects": "Live Objects",
    "wanesy": "Wanesy",
    "generic": "cette source",
}
# What is worth keeping of what they answer.
ANSWER_KEPT = 200
SUCCESS = range(200, 300)
# Somebody can mend these over there, or they pass by themselves: the row waits. Of the others nothing will come.
PASSING = frozenset({401, 403, 408, 425, 429})
SERVER_ERRORS = range(500, 600)


@dataclass(frozen=True, slots=True)
class Order:
    """One row to hand over. `item` names it to their LNS; the same again is the same downlink."""

    id: int
    dev_eui: bytes
    f_port: int
    payload: bytes
    confirmed: bool
    not_after: datetime
    item: str
    address: str  # "": their LNS has not told yet how it calls the device.

    @property
    def eui(self) -> str:
        """The DevEUI as most LNS write it."""
        return self.dev_eui.hex().upper()


@dataclass(frozen=True, slots=True)
class Publication:
    """A message for their broker."""

    topic: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A request to their HTTP API."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """What their HTTP API said; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Mapping[str, Any]:
        """The JSON object of the body; empty when it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    @property
    def text(self) -> str:
        """The beginning of the body, for people to read."""
        text = " ".join(self.body[: 4 * ANSWER_KEPT].decode("utf-8", "replace").split())
        return text.replace("\0", "")[:ANSWER_KEPT]


@dataclass(frozen=True, slots=True)
class Handed:
    """Their LNS has it, and knows it as `item` from now on."""

    item: str


@dataclass(frozen=True, slots=True)
class Later:
    """Not now; `reason` is French."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Never; `reason` is French."""

    reason: str


Outcome = Handed | Later | Refused


def outcome_of(kind: str, answer: Answered, item: str) -> Outcome:
    """What an HTTP status means for the row."""
    if answer.status in SUCCESS:
        return Handed(item)
    said = f"{NAMES[kind]} répond {answer.status}" + (f" : {answer.text}" if answer.text else "")
    return Later(said) if answer.status in PASSING or answer.status in SERVER_ERRORS else Refused(said)


def in_their_queue(kind: str, *, is_class_c: bool) -> str:
    """What a technician reads while a row is with their LNS."""
    waits = "" if is_class_c else ", qui l'enverra après le prochain message du capteur"
    return f"dans la file de {NAMES[kind]}{waits}"
