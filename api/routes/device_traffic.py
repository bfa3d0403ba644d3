"""The uplinks of a device with their receptions, and its downlinks."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field, StringConstraints

from api import store
from api.auth import Caller, Change, Manager, Reader
from api.fields import Body, Eui, EuiPath, HexOctets, Instant, Text, answer_of, example
from api.lighting_octets import keep_for_unknown_act
from api.pages import Cursor, Limit, Page, bad_cursor, cursor_id, cursor_instant, instant_cursor, page_of
from api.preflight import WaitsFor, explain
from api.store import ReceptionRow, UplinkRow
from api.switching import REASON_TEXT, demand_reason, demand_right_to_switch
from api.uplink_reasons import uplink_sentence
from core.model.downlinks import Downlink, Preflight
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found, read_only
from core.runtime.postgres import Connection
from decoders.catalogue import can_switch
from registry.downlinks import enqueue, list_downlinks, read_downlink
from registry.enrolment import EnrolledDevice, read_enrolled
from registry.preflight import read_preflight
from registry.profiles import read_profile

USUAL_WAIT = timedelta(days=1)
LONGEST_WAIT = timedelta(days=30)
# lorawan.airtime.Priority.ROUTINE
ROUTINE = 2

router = APIRouter(prefix="/v1/devices/{dev_eui}", tags=["devices"], responses=PROBLEM_RESPONSES)


class ReceptionAnswer(answer_of(ReceptionRow, {"uplink_id"})):
    """Comment une passerelle a entendu ; elle n'est nommée qu'à son propriétaire."""

    gateway_id: Eui | None


class UplinkAnswer(answer_of(UplinkRow, {"detail"})):
    """Un message du capteur. `status` : decoded, empty, ou undecodable avec sa raison (quarantaine).

    Un message lu dont aucune mesure n'est sortie a sa raison, aussi ; `decoded.unmatched_rules` nomme les règles
    de la correspondance qui n'y ont rien trouvé.
    """

    payload: HexOctets
    reason: str | None = Field(description="Pourquoi il n'est pas décodé, ou n'a donné aucune mesure")
    reason_code: str | None = Field(examples=["unreadable"], description="Le code de cette raison")
    receptions: list[ReceptionAnswer]


class NewDownlink(Body):
    """Un message brut pour le capteur. Une armoire d'éclairage se commande par /v1/lighting/commands."""

    model_config = example({"f_port": 85, "payload": "ff03b004"})

    f_port: int = Field(ge=1, le=223, description="Port LoRaWAN du message (FPort)", examples=[125])
    payload: Annotated[str, StringConstraints(max_length=484, pattern="^([0-9a-fA-F]{2})*$")] = Field(
        examples=["11500006000000"], description="En hexadécimal, 242 octets au plus"
    )
    confirmed: bool = Field(False, description="Demander au capteur d'accuser réception")
    not_after: Instant | None = Field(None, description="Dernier instant utile, 30 jours au plus ; absent : 24 h")
    reason: Text = Field("", description=REASON_TEXT, examples=["Relevé avant travaux"])


class DownlinkAnswer(answer_of(Downlink, {"tenant_id", "device_id", "slot", "priority"})):
    """Un message pour le capteur et où il en est."""

    payload: HexOctets
    keys_of_group: int | None = Field(
        None, description="Il donne les clés de ce groupe multicast (clés de groupe) : `payload` est alors vide"
    )
    state: str = Field(
        examples=["queued"],
        description="`queued` en attente, `sending` demandé à une passerelle ou dans la file d'un autre LNS, "
        "`sent` émis, `acknowledged` acquitté par le capteur, `failed`, `expired`, `cancelled`",
    )
    reason: str | None = Field(
        examples=["DUTY_CYCLE_OVERFLOW"], description="Code de ce qui l'a fait attendre ou finir ainsi"
    )
    detail: str | None = Field(description="Ce qu'un autre LNS en a dit, dans ses mots")
    waits_for: WaitsFor | None = Field(
        examples=["uplink"],
        description="Ce qu'il attend : `enabling` que le capteur soit réactivé, `join` qu'il rejoigne le réseau, "
        "`first_uplink` son premier message, `uplink` son prochain message, `acknowledgement` un accusé de "
        "réception, `emission` la réponse d'une passerelle, `locked` un instant, `gateway` qu'une passerelle soit "
        "en ligne, `duty_cycle` du temps d'émission, `turn` son tour, `nothing` : il part dans la seconde",
    )
    waits_until: datetime | None = Field(description="Jusqu'à quand, si c'est connu")
    explanation: str | None = Field(
        examples=["attend le prochain message montant du capteur"],
        description="Pourquoi il attend, ou comment il a fini",
    )
    gateway_id: Eui | None
    lns_source_id: int | None = Field(description="La source dont le LNS le porte ; absente : notre réseau")


async def device_of(connection: Connection, dev_eui: str) -> EnrolledDevice:
    """The visible device of this path, or 404."""
    device = await read_enrolled(connection, bytes.fromhex(dev_eui))
    if device is None:
        raise not_found(f"capteur {dev_eui}")
    return device


def show_downlink(row: Downlink, preflight: Preflight | None) -> DownlinkAnswer:
    """The downlink as the API says it, and what it waits for."""
    explained = explain(row, preflight, datetime.now(UTC))
    said = {"waits_for": explained.waits_for, "waits_until": explained.until, "explanation": explained.text}
    return DownlinkAnswer.model_validate(asdict(row) | said)


def useful_until(not_after: datetime | None, now: datetime) -> datetime:
    """The last instant at which a downlink is of use, a day ahead when none is given; 422 for one out of range."""
    until = not_after or now + USUAL_WAIT
    if not now < until <= now + LONGEST_WAIT:
        raise invalid("not_after", "range", "« not_after » doit être à venir, dans 30 jours au plus")
    return until


async def queue_downlink(
    change: Change, device: EnrolledDevice, noted: Mapping[str, Any], **asked: Any
) -> tuple[Downlink, Preflight | None]:
    """The row that is queued, with its line in the audit, and what it waits for; 409 for a device out of reach."""
    if not device.enabled:
        raise Problem(409, "ce capteur est désactivé")
    if device.activation == "EXTERNAL" and device.lns_source_id is None:
        raise Problem(409, "un autre réseau active ce capteur : dites par quelle source lui parler (PATCH)")
    row = await enqueue(change.connection, device.id, **asked)
    downlink = await read_downlink(change.connection, row.id)
    assert downlink is not None  # noqa: S101 - Inserted in this very transaction.
    await change.audit("create", "downlink", row.id, after=noted)
    return downlink, await read_preflight(change.connection, device.id)


def _uplink(row: UplinkRow, receptions: list[ReceptionRow]) -> UplinkAnswer:
    reason = uplink_sentence(row.reason, row.detail, row.codec, row.codec_version)
    said = {"receptions": receptions, "reason": reason, "reason_code": row.reason}
    return UplinkAnswer.model_validate(asdict(row) | said)


def _cursor_of(row: UplinkRow) -> str:
    return f"{instant_cursor(row.time)}.{row.uplink_id.hex}"


def _read_cursor(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    instant, _, uplink_id = cursor.partition(".")
    time = cursor_instant(instant)
    try:
        identity = UUID(hex=uplink_id)
    except ValueError:
        raise bad_cursor() from None
    return None if time is None else (time, identity)


@router.get("/uplinks", operation_id="listDeviceUplinks", summary="Lister les messages d'un capteur")
async def list_uplinks(
    dev_eui: EuiPath,
    caller: Reader,
    status: Annotated[
        Literal["decoded", "empty", "undecodable"] | None,
        Query(
            description="`decoded` lu, `empty` sans contenu, `undecodable` illisible (quarantaine) ; absent : tous"
        ),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[UplinkAnswer]:
    """Les messages du capteur, le dernier d'abord, et qui les a entendus."""
    before = _read_cursor(cursor)
    async with caller.reading() as connection:
        device = await device_of(connection, dev_eui)
        await caller.audit_personal(connection, devices=[device.id])
        rows = await store.list_uplinks(connection, device.id, status=status, before=before, most=limit + 1)
        receptions = await store.list_receptions(connection, device.id, rows[:limit]) if rows else {}
    return page_of(rows, limit, lambda row: _uplink(row, receptions.get(row.uplink_id, [])), _cursor_of)


@router.get("/downlinks", operation_id="listDeviceDownlinks", summary="Lister les messages destinés à un capteur")
async def list_downlinks_of_device(
    dev_eui: EuiPath, caller: Reader, limit: Limit = 50, cursor: Cursor = None
) -> Page[DownlinkAnswer]:
    """Les messages pour le capteur, le dernier d'abord, et ce que chacun attend."""
    before = cursor_id(cursor)
    async with caller.reading() as connection:
        device = await device_of(connection, dev_eui)
        rows = await list_downlinks(connection, device.id, before=before, most=limit + 1)
        preflight = await read_preflight(connection, device.id) if rows else None
    return page_of(rows, limit, lambda row: show_downlink(row, preflight))


async def own_device(change: Change, caller: Caller, dev_eui: str) -> tuple[EnrolledDevice, bool]:
    """The caller's own device, and whether it switches something, which takes a right (403)."""
    device = await device_of(change.connection, dev_eui)
    if device.tenant_id != change.tenant_id:
        raise read_only(f"capteur {dev_eui}")
    profile = await read_profile(change.connection, device.device_profile_id)
    switches = profile is not None and can_switch(profile.codec, profile.capabilities)
    if switches:
        demand_right_to_switch(caller)
    return device, switches


@router.post(
    "/downlinks", operation_id="createDeviceDownlink", status_code=201, summary="Envoyer un message à un capteur"
)
async def create_downlink(dev_eui: EuiPath, body: NewDownlink, caller: Manager) -> DownlinkAnswer:
    """Mettre un message en file. Pour un appareil qui commute, il faut `lighting` ou `operate`, et un motif.

    Pour un équipement qui commande un éclairage c'est un acte inconnu : dans les 12 heures après son émission, le
    circuit est ramené à ce que dit son programme, ou allumé. Pour le commuter : /v1/lighting/commands.
    """
    not_after = useful_until(body.not_after, datetime.now(UTC))
    async with caller.changing() as change:
        device, switches = await own_device(change, caller, dev_eui)
        if switches:
            demand_reason(body.reason)
        queued, preflight = await queue_downlink(
            change,
            device,
            {"dev_eui": dev_eui, **body.model_dump(mode="json")},
            f_port=body.f_port,
            payload=bytes.fromhex(body.payload),
            not_after=not_after,
            confirmed=body.confirmed,
            priority=ROUTINE,
        )
        await keep_for_unknown_act(change, caller, device.id)
    await caller.platform.nudge_downlink(queued.slot, device.id)
    return show_downlink(queued, preflight)
