"""The radio at this moment: what gateways receive, and what the network server decides of it."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Annotated, Literal, Self

import msgspec
from fastapi import APIRouter, Query
from msgspec.structs import replace
from pydantic import Field

from api.auth import Caller, Reader
from api.fields import Answer, Eui
from core.messages import topics
from core.messages.live_frames import LiveFrame, Look, decode_live_frame, encode_live
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from lorawan.frame_lines import frame_lines
from lorawan.instants import from_us
from registry.enrolment import read_enrolled
from registry.gateways import list_gateway_ids
from registry.privacy import personal_of_others
from registry.tenants import read_tenants

MOST_FRAMES = 500
# Of more than that the radio of a tenant is not looked at one frame at a time.
MOST_GATEWAYS = 2_000
LONGEST_S = 20.0
# Said again by the next request; frames that come between the two are not shown.
MORE_THAN_A_REQUEST_S = 1.0
# Who follows is asked so often whether they still may; network then goes on.
RENEW_EVERY_S, LATE_RENEWAL_S = 10.0, 10.0
# A frame rarely comes alone.
SETTLE_S = 0.15

router = APIRouter(prefix="/v1", tags=["gateways"], responses=PROBLEM_RESPONSES)


class LiveReceptionAnswer(Answer):
    """Une passerelle qui a entendu la trame, ou qui l'émet."""

    gateway_id: Eui
    rssi: float = Field(description="dBm")
    snr: float = Field(description="dB")


class LiveLineAnswer(Answer):
    """Un champ de la trame, nommé comme dans la spécification LoRaWAN."""

    name: str = Field(examples=["FOpts"])
    value: str = Field(examples=["LinkADRAns PowerAck=1 DataRateAck=1 ChannelMaskAck=1"])


class LiveFrameAnswer(Answer):
    """Une trame, et ce que le réseau en a décidé."""

    kind: Literal["data_up", "join_request", "other_up", "downlink", "join_accept"]
    at: datetime
    outcome: str = Field(
        description="`accepted`, `late_copy`... ou la raison du refus ; d'une descendante, `OK` ou pourquoi pas",
        examples=["accepted"],
    )
    octets: int = Field(description="Longueur de la trame ; 0 : rien n'a été émis")
    frequency: int = Field(description="Hz")
    spreading_factor: int
    receptions: list[LiveReceptionAnswer]
    hidden: bool = Field(description="D'un capteur que cette clé ne voit pas : son nom n'est pas montré")
    dev_eui: str | None
    dev_addr: str | None
    f_cnt: int | None
    f_port: int | None
    phy_payload: str | None = Field(description="La trame entière, chiffrée comme elle passe ; null : d'un autre")
    lines: list[LiveLineAnswer] = Field(
        description="La trame champ par champ, commandes MAC comprises. D'un capteur d'une autre collectivité : "
        "son en-tête pour l'exploitant du réseau, rien pour les autres"
    )

    @classmethod
    def of(cls, frame: LiveFrame, *, is_personal: bool) -> Self:
        """As JSON has it; of a frame that tells of somebody else's dwelling nothing but that it came."""
        lines = [] if is_personal else frame_lines(frame.phy_payload, is_header=frame.is_hidden)
        return cls(
            kind=frame.kind,
            at=from_us(frame.at_us),
            outcome=frame.outcome,
            octets=frame.octets,
            frequency=frame.frequency,
            spreading_factor=frame.spreading_factor,
            receptions=[
                LiveReceptionAnswer(gateway_id=one.gateway_id.hex(), rssi=one.rssi, snr=one.snr)
                for one in frame.receptions
            ],
            hidden=is_personal or frame.is_hidden,
            dev_eui=None if is_personal else frame.dev_eui.hex() or None,
            dev_addr=None if is_personal else frame.dev_addr.hex() or None,
            f_cnt=None if is_personal else frame.f_cnt,
            f_port=None if is_personal else frame.f_port,
            phy_payload=None if is_personal or frame.is_hidden else frame.phy_payload.hex() or None,
            lines=[LiveLineAnswer(name=line.name, value=line.value) for line in lines],
        )


class LiveFramesAnswer(Answer):
    """Les trames vues pendant la demande."""

    items: list[LiveFrameAnswer]
    left_out: int = Field(description="Trames non montrées : il en vient plus qu'une personne n'en lit")


@router.get("/live-frames", operation_id="watchLiveFrames", summary="Regarder les trames en direct")
async def watch_frames(
    caller: Reader,
    seconds: Annotated[
        float, Query(ge=0, le=LONGEST_S, description="Combien de temps regarder, en secondes")
    ] = 1.0,
    dev_eui: Annotated[Eui | None, Query(description="Seulement ce capteur")] = None,
    gateway_id: Annotated[Eui | None, Query(description="Seulement cette passerelle")] = None,
) -> LiveFramesAnswer:
    """Ce que les passerelles entendent en ce moment, et ce que le réseau en décide.

    Un échantillon : une vingtaine de trames par seconde. Des capteurs des autres, ce que les passerelles de la
    collectivité entendent est montré sans rien qui les nomme ; l'exploitant du réseau en voit l'en-tête.
    """
    look = await look_of(caller, seconds + MORE_THAN_A_REQUEST_S, dev_eui, gateway_id)
    await caller.end_sharing()
    try:
        async with _shown(caller.platform.bus, look) as frames:
            await asyncio.sleep(seconds)
    except BUS_AWAY:
        raise Problem(503, "le bus ne répond pas : réessayez dans un instant") from None
    return await _answer(caller, _taken(frames))


async def follow_frames(
    caller: Caller,
    again: Callable[[], Awaitable[Caller]],
    give: Callable[[LiveFramesAnswer], None],
    dev_eui: str | None,
    gateway_id: str | None,
) -> None:
    """Give frames as they come, until cancelled; first none, once network is asked for them.

    `again` is the caller of now. Raises a Problem when they may not look any more, and BUS_AWAY.
    """
    lasts_s = RENEW_EVERY_S + LATE_RENEWAL_S
    look = await look_of(caller, lasts_s, dev_eui, gateway_id)
    async with _shown(caller.platform.bus, look) as frames:
        give(LiveFramesAnswer(items=[], left_out=0))
        renew_at = time.monotonic() + RENEW_EVERY_S
        while True:
            first = None
            with suppress(TimeoutError):
                async with asyncio.timeout(renew_at - time.monotonic()):
                    first = await frames.get()
            if first is not None:
                await asyncio.sleep(SETTLE_S)
                give(await _answer(caller, [first, *_taken(frames)]))
            if time.monotonic() >= renew_at:
                caller = await again()
                renewed = await look_of(caller, lasts_s, dev_eui, gateway_id)
                await caller.platform.bus.nudge(topics.LIVE_LOOKS, encode_live(replace(renewed, id=look.id)))
                renew_at = time.monotonic() + RENEW_EVERY_S


async def _answer(caller: Caller, frames: Sequence[LiveFrame]) -> LiveFramesAnswer:
    async with caller.reading() as connection:
        personal = await personal_of_others(connection, sorted({frame.dev_eui for frame in frames}))
    items = [LiveFrameAnswer.of(frame, is_personal=frame.dev_eui in personal) for frame in frames]
    return LiveFramesAnswer(items=items, left_out=sum(frame.left_out for frame in frames))


async def look_of(caller: Caller, seconds: float, dev_eui: str | None, gateway_id: str | None) -> Look:
    """What this caller may be shown; raises 404 for a device or a gateway that they do not see."""
    own = caller.principal.tenant_id
    async with caller.reading() as connection:
        tenant_ids = [own, *(one for one in await read_tenants(connection) if one != own)]
        gateway_ids = await list_gateway_ids(connection, MOST_GATEWAYS)
        if dev_eui is not None:
            device = await read_enrolled(connection, bytes.fromhex(dev_eui))
            if device is None or device.tenant_id not in tenant_ids:
                raise not_found(f"capteur {dev_eui}")
    is_operator = caller.has("operate")
    if gateway_id is not None and not is_operator and bytes.fromhex(gateway_id) not in gateway_ids:
        raise not_found(f"passerelle {gateway_id}")
    return Look(
        secrets.token_hex(8),
        seconds,
        tenant_ids,
        gateway_ids,
        is_operator,
        dev_eui=b"" if dev_eui is None else bytes.fromhex(dev_eui),
        gateway_id=b"" if gateway_id is None else bytes.fromhex(gateway_id),
    )


@asynccontextmanager
async def _shown(bus: Bus, look: Look) -> AsyncGenerator[asyncio.Queue[LiveFrame]]:
    """The frames that network shows for this look while the block runs."""
    frames = asyncio.Queue[LiveFrame](MOST_FRAMES)

    async def collect(_subject: str, data: bytes) -> None:
        with suppress(msgspec.MsgspecError, asyncio.QueueFull):
            frames.put_nowait(decode_live_frame(data))

    subscription = await bus.subscribe(topics.live_frames(look.id), collect)
    try:
        await bus.nudge(topics.LIVE_LOOKS, encode_live(look))
        yield frames
    finally:
        with suppress(*BUS_AWAY):
            await subscription.unsubscribe()
            await bus.nudge(topics.LIVE_LOOKS, encode_live(replace(look, seconds=0.0)))


def _taken(frames: asyncio.Queue[LiveFrame]) -> list[LiveFrame]:
    """All that are there."""
    return [frames.get_nowait() for _ in range(frames.qsize())]
