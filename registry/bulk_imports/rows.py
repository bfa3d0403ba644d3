"""Lines that are written one by one: each in a transaction of its own, which a refused one takes back."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.runtime.postgres import BAD_DATA, Connection
from registry.bulk_imports.plan import RejectedLine
from registry.imports import Outcome
from registry.keys import KeyWrap


@dataclass(frozen=True, slots=True)
class DoneLine:
    """What became of one: created, updated, unchanged, or refused with column and reason."""

    outcome: Outcome
    column: str = ""
    french: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose lines they are, and how many more of them there may be."""

    connection: Connection
    keys: KeyWrap
    tenant_id: int
    room: int


Write = Callable[[Place, Mapping[str, Any]], Awaitable[Outcome]]
"""Writes one line; raises RejectedLine."""
Writers = Mapping[str, Callable[[Place, Sequence[Mapping[str, Any]]], Awaitable[list[DoneLine]]]]
"""By the name of a kind: what writes its lines."""
FULL = "quota atteint : l'exploitant du réseau peut l'élever"


def _check_room(room: int) -> None:
    if room < 0:
        raise RejectedLine("", FULL)


async def write_each(place: Place, lines: Sequence[Mapping[str, Any]], write: Write) -> list[DoneLine]:
    """Write these lines, of which `place.room` may be new."""
    done, room = list[DoneLine](), place.room
    for line in lines:
        trying = place.connection.transaction()
        await trying.start()
        try:
            outcome = await write(place, line)
            room -= outcome == Outcome.CREATED
            _check_room(room)
        except RejectedLine as refused:
            await trying.rollback()
            room = max(room, 0)
            done.append(DoneLine(Outcome.REFUSED, refused.column, refused.french))
        except BAD_DATA:
            await trying.rollback()
            done.append(DoneLine(Outcome.REFUSED, "", "la base refuse cette ligne"))
        else:
            await trying.commit()
            done.append(DoneLine(outcome))
    return done


def changed(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given and is another than it was."""
    return {name: value for name, value in given.items() if known[name] != value}
