"""A downlink to another LNS: the request that an adapter makes of it, and the outcome of an answer. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from core.model.downlinks import DownlinkReason

NAMES = {
    "chirpstack": "ChirpStack",
    "the_things_stack": "The Things Stack",
    "thingpark": "ThingPark",
    "live_objects": "Live Objects",
    "wanesy": "Wanesy",
    "generic": "cette source",
}
# How many characters of their answer are kept.
ANSWER_KEPT = 200
SUCCESS = range(200, 300)
# Somebody can mend these over there, or they end by themselves: the row waits. Any other error is final.
PASSING = frozenset({401, 403, 408, 425, 429})
SERVER_ERRORS = range(500, 600)


@dataclass(frozen=True, slots=True)
class LnsDownlink:
    """One row to hand over. `item` names it to their LNS; the same again is the same downlink."""

    id: int
    dev_eui: bytes
    f_port: int
    payload: bytes
    confirmed: bool
    not_after: datetime
    item: str
    address: str  # "": no uplink has shown yet how their LNS addresses the device.

    @property
    def eui(self) -> str:
        """The DevEUI as most LNS write it."""
        return self.dev_eui.hex().upper()


@dataclass(frozen=True, slots=True)
class Publication:
    """An MQTT message for their broker."""

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
    """The answer of their HTTP API; header names are in lower case."""

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
    """Their LNS has the downlink, under the id `item` from now on."""

    item: str


@dataclass(frozen=True, slots=True)
class Later:
    """To be tried again. `detail` is their text; `french` is what the source's manager reads."""

    reason: DownlinkReason
    french: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Never to be tried again. `detail` is their text."""

    reason: DownlinkReason
    detail: str | None = None


Outcome = Handed | Later | Rejected


def outcome_of(kind: str, answer: Answered, item: str) -> Outcome:
    """The outcome for the row of an HTTP status."""
    if answer.status in SUCCESS:
        return Handed(item)
    said = f"{answer.status}" + (f" : {answer.text}" if answer.text else "")
    if answer.status in PASSING or answer.status in SERVER_ERRORS:
        return Later(DownlinkReason.LNS_ANSWERED, f"{NAMES[kind]} répond {said}", said)
    return Rejected(DownlinkReason.LNS_ANSWERED, said)


def in_their_queue(*, is_class_c: bool) -> DownlinkReason:
    """Why a row waits that their LNS has: a class A device is sent to after its next uplink."""
    return DownlinkReason.LNS_QUEUED if is_class_c else DownlinkReason.LNS_QUEUED_UNTIL_UPLINK
