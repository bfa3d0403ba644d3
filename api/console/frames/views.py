"""The radio at this moment, and why frames were not taken."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Annotated

from fastapi import Query, Response

from api.auth import Caller, by_session
from api.console.frames.reasons import every_outcome, words_of
from api.console.live.broadcast import Broadcast
from api.console.live.views import NO_CONTENT, TenantId
from api.console.pages import page_router
from api.console.visits import PersonsVisit, ReadersVisit
from api.event_stream import EventStream, encode_event
from api.fields import PRINTABLE
from api.pages import Paging
from api.routes import devices, live_frames, rejections
from core.runtime.bus import BUS_AWAY
from core.runtime.http.errors import Problem
from core.runtime.postgres import DATABASE_AWAY
from lorawan.identifiers import EUI_LENGTH

router = page_router()

PAGE = "/trames"
# A reader without JavaScript waits that long for a sample.
SAMPLE_S = 1.5
# A page that finds as many looking as may.
LOOK_AGAIN_S = 5.0
EUI = Annotated[str, Query(max_length=30, pattern=PRINTABLE)]
DEV_ADDR_LENGTH = 4
MISSING = 404
SHOWN = 100


@router.get(PAGE)
async def show(visit: ReadersVisit, capteur: EUI = "", passerelle: EUI = "") -> Response:
    """A sample of now; a script goes on from there while the page is looked at."""
    problem, frames, left_out = None, list[live_frames.LiveFrameAnswer](), 0
    try:
        seen = await live_frames.watch_frames(visit.caller, SAMPLE_S, _eui(capteur), _eui(passerelle))
        frames, left_out = seen.items, seen.left_out
    except Problem as raised:
        problem = raised
    return visit.form_page(
        "frames/page.html",
        problem,
        frames=list(reversed(frames)),
        left_out=left_out,
        capteur=capteur,
        passerelle=passerelle,
        words=partial(words_of, language=visit.language),
        outcomes=every_outcome(visit.language),
    )


@router.get(PAGE + "/direct")
async def follow(visit: ReadersVisit, collectivite: TenantId, capteur: EUI = "", passerelle: EUI = "") -> Response:
    """Frames as they come, as JSON; nothing (204) for a page of a tenant that the session has left."""
    broadcast: Broadcast = visit.request.app.state.broadcast
    dev_eui, gateway_id = _eui(capteur), _eui(passerelle)
    if collectivite != visit.tenant.id:
        return Response(status_code=NO_CONTENT)

    async def again() -> Caller:
        caller = await by_session(visit.request)
        if caller.principal.tenant_id != collectivite:
            raise Problem(403, "cette session est passée à une autre collectivité")
        caller.demand("read")
        return caller

    async def feed(stream: EventStream) -> None:
        def give(answer: live_frames.LiveFramesAnswer) -> None:
            stream.put(encode_event("frames", answer.model_dump_json()))

        # Then it ends, and the page asks again.
        with suppress(Problem, *BUS_AWAY, *DATABASE_AWAY):
            while True:
                try:
                    await live_frames.follow_frames(await again(), again, give, dev_eui, gateway_id)
                except live_frames.TooManyLook:
                    stream.put(encode_event("full", ""))
                    await asyncio.sleep(LOOK_AGAIN_S)

    stream = broadcast.open_fed(visit.caller.person().digest, feed)
    if stream is None:
        raise Problem(503, "trop de pages sont suivies en direct sur ce serveur")
    return stream


@router.get(PAGE + "/refus")
async def show_rejections(visit: ReadersVisit, capteur: EUI = "") -> Response:
    """Why frames were not taken: of a device by its DevEUI or DevAddr; for the operator also of strangers."""
    problem, refused = None, list[rejections.RefusalAnswer]()
    try:
        refused = await _rejections_of(visit, _hexadecimal(capteur))
    except Problem as raised:
        problem = raised
    return visit.form_page(
        "frames/refused.html",
        problem,
        refused=refused,
        capteur=capteur,
        words=partial(words_of, language=visit.language),
    )


async def _rejections_of(visit: PersonsVisit, octets: bytes) -> list[rejections.RefusalAnswer]:
    caller, is_operator = visit.caller, visit.caller.has("operate")
    if not octets:
        return (await rejections.list_strangers_refusals(caller, limit=SHOWN)).items if is_operator else []
    if len(octets) not in {DEV_ADDR_LENGTH, EUI_LENGTH}:
        raise Problem(422, visit.gettext("Un DevEUI compte 16 chiffres et lettres de a à f, un DevAddr 8."))
    if len(octets) == EUI_LENGTH:
        found = [octets.hex()]
    else:
        known = await devices.list_devices(caller, Paging(SHOWN), dev_addr=octets.hex())
        found = [device.dev_eui for device in known.items]
    refused: list[rejections.RefusalAnswer] = []
    is_known = False
    for dev_eui in found:
        try:
            refused += (await rejections.list_device_refusals(dev_eui, caller, SHOWN)).items
            is_known = True
        except Problem as problem:
            if problem.status != MISSING:
                raise
    if is_operator:
        kind = {"dev_eui": octets.hex()} if len(octets) == EUI_LENGTH else {"dev_addr": octets.hex()}
        strangers = await rejections.list_strangers_refusals(caller, limit=SHOWN, **kind)
        refused += [one for one in strangers.items if one not in refused]
    elif not is_known:
        raise Problem(404, visit.gettext("Aucun de vos capteurs n’a ce numéro."))
    return refused


def _hexadecimal(text: str) -> bytes:
    """What was typed or copied, with whatever between its digits; raises 422 for what is none."""
    try:
        return bytes.fromhex("".join(character for character in text if character.isalnum()))
    except ValueError:
        raise Problem(422, "des chiffres et des lettres de a à f sont attendus") from None


def _eui(text: str) -> str | None:
    """An EUI as it was typed or copied; None: none was. Raises 422 for what is none."""
    if not text.strip():
        return None
    octets = _hexadecimal(text)
    if len(octets) != EUI_LENGTH:
        raise Problem(422, "un EUI compte 16 chiffres et lettres de a à f")
    return octets.hex()
