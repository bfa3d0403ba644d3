"""The radio at this moment: frames as gateways hear them, and what the network decides of each."""

from typing import Annotated

from fastapi import Query, Response

from api.console.pages import page_router
from api.console.visits import ReadersVisit
from api.fields import PRINTABLE
from api.routes import live_frames
from core.runtime.http.errors import Problem
from lorawan.identifiers import EUI_LENGTH

router = page_router()

PAGE = "/trames"
# A reader without JavaScript waits that long for a sample.
SAMPLE_S = 1.5
EUI = Annotated[str, Query(max_length=30, pattern=PRINTABLE)]


@router.get(PAGE)
async def show(visit: ReadersVisit, capteur: EUI = "", passerelle: EUI = "") -> Response:
    """A sample of now; a script goes on from there while the page is looked at."""
    problem, frames, left_out = None, list[live_frames.LiveFrameAnswer](), 0
    try:
        seen = await live_frames.watch_frames(visit.caller, SAMPLE_S, _eui(capteur), _eui(passerelle))
        frames, left_out = seen.items, seen.left_out
    except Problem as raised:
        problem = raised
    return visit.page(
        "frames/page.html",
        200 if problem is None else problem.status,
        frames=list(reversed(frames)),
        left_out=left_out,
        capteur=capteur,
        passerelle=passerelle,
        problem=problem,
    )


def _eui(text: str) -> str | None:
    """An EUI as it was typed or copied; None: none was. Raises 422 for what is none."""
    typed = "".join(character for character in text.lower() if character.isalnum())
    if not typed:
        return None
    try:
        is_eui = len(bytes.fromhex(typed)) == EUI_LENGTH
    except ValueError:
        is_eui = False
    if not is_eui:
        raise Problem(422, "un EUI compte 16 chiffres et lettres de a à f")
    return typed
