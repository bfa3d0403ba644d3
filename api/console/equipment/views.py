"""Equipment: the list, and an asset with what it measures, who serves it, and how it looks."""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query, Response

from api import asset_state_store as store
from api.asset_list_store import LIST_WITH_STATES, list_assets
from api.auth import Caller
from api.console.equipment.codes import read_code
from api.console.equipment.curves import ALSO_MOST, CHOSEN, RANGES, Asked, read_curve
from api.console.forms import checked, number_of
from api.console.pages import page_router
from api.console.sorting import Sort, paged_order_of
from api.console.territory.views import Filtered
from api.console.versions import CHANGED, change_as_read, version_of
from api.console.visits import FieldAgentsVisit, ManagersVisit, PersonsVisit, ReadersVisit
from api.console.where import read_places
from api.fields import Id
from api.pages import Paging, ask_of, cursor_of
from api.routes import alerts, asset_photos, assets, device_traffic, devices, measurements, sharing
from core.runtime.http.errors import FieldError, Problem

router = page_router()

PAGE, DEVICES_PAGE = "/equipements", "/capteurs"
COLUMNS = {"etat": "state", "nom": "name", "genre": "kind", "commune": "commune", "mesure": "last_seen_at"}
SHOWN, DEVICES_SHOWN = 100, 20
INVALID, MISSING, CONFLICT, FORBIDDEN = 422, 404, 409, 403
TO_SHOW = {INVALID, MISSING, CONFLICT}
DEV_EUI, DEV_ADDR = re.compile("[0-9a-f]{16}"), re.compile("[0-9a-f]{8}")
# Of a shorter text too many devices have it somewhere.
SEARCHED_FROM = 3
LISTENED_TO = 3


@router.get(PAGE)
async def show_list(
    visit: ReadersVisit, wanted: Filtered, suite: Annotated[str, Query(max_length=1000)] = "", tri: Sort = ""
) -> Response:
    """The list, under the map's filter, and devices that the text finds; a whole DevEUI leads to its device."""
    asked = wanted.q.strip().lower()
    number = re.sub("[^0-9a-z]", "", asked)
    found: Sequence[Any] = [] if suite else await _find_devices(visit.caller, asked, number)
    if DEV_EUI.fullmatch(number) and len(found) == 1:
        return visit.go(f"{DEVICES_PAGE}/{found[0].dev_eui}")
    order, sort = paged_order_of(visit.request, tri, COLUMNS, "id")
    ask = ask_of(Paging(SHOWN, suite or None), sort, LIST_WITH_STATES)
    async with visit.caller.reading() as connection:
        part = await list_assets(connection, ask, wanted.assets(), wanted.states())
        found_states = await store.list_states(connection, store.Wanted(ids=part.ids), most=SHOWN)
    states = {one.id: one for one in found_states}
    shown = [states[id_] for id_ in part.ids if id_ in states]
    next_page = cursor_of(sort, part.following)
    named = [("tri", tri if order.column else ""), ("suite", next_page or "")]
    address = "&".join(filter(None, (wanted.address, urlencode([one for one in named if one[1]]))))
    return visit.page(
        "equipment/list.html",
        wanted=wanted,
        where=wanted,
        places=await read_places(visit.caller),
        listed=shown,
        following=f"{PAGE}?{address}" if next_page else "",
        order=order,
        first=not suite,
        devices=found,
    )


async def _find_devices(caller: Caller, asked: str, number: str) -> Sequence[Any]:
    """By a part of the name or the DevEUI, however that is written, or by the DevAddr under which they speak."""
    if len(asked) < SEARCHED_FROM:
        return []
    is_number = len(number) >= SEARCHED_FROM and not re.search("[^0-9a-f]", number)
    found = (await devices.list_devices(caller, Paging(DEVICES_SHOWN), q=number if is_number else asked)).items
    if DEV_ADDR.fullmatch(number):
        speaking = (await devices.list_devices(caller, Paging(DEVICES_SHOWN), dev_addr=number)).items
        found = [*speaking, *(one for one in found if one not in speaking)]
    return found


@router.get(PAGE + "/{id}")
async def show_asset(
    id: Id,  # noqa: A002 - The path's word.
    visit: ReadersVisit,
    asked: Annotated[Asked, Depends()],
) -> Response:
    """One asset: how it is, what it measures, its curve, its alerts, its devices, its photos."""
    return await _asset_page(visit, id, asked)


async def _asset_page(
    visit: PersonsVisit, asset_id: int, asked: Asked | None = None, problem: Problem | None = None
) -> Response:
    caller, asked = visit.caller, asked or Asked()
    asset: Any = await assets.read_asset(asset_id, caller)
    async with caller.reading() as connection:
        states = await store.list_states(connection, store.Wanted(ids=[asset_id]))
    latest: list[Any] = [*(await measurements.list_latest(caller, asset_id=[asset_id])).items]
    chosen = next((one for one in latest if one.id == asked.flux), latest[0] if latest else None)
    zone = visit.language.zone
    span = asked.span(zone, datetime.now(UTC))
    also = [one for one in latest if one.id in (asked.avec or ()) and one is not chosen][:ALSO_MOST]
    curve = None
    if chosen is not None:
        beside = [one.id for one in also]
        curve = await read_curve(caller, chosen.id, beside, span, zone.key, asked.compared)
    known: list[Any] = [*(await alerts.list_alerts(caller, Paging(50), asset_id=asset_id)).items]
    served: list[Any] = [*(await assets.list_devices(asset_id, caller)).items]
    is_own = asset.tenant_id == visit.tenant.id
    return visit.form_page(
        "equipment/asset.html",
        problem,
        asset=asset,
        state=states[0],
        latest=latest,
        chosen=chosen,
        ranges=RANGES,
        range=span.name,
        by_dates=span.name == CHOSEN,
        span=span,
        asked=asked,
        compare=asked.compared,
        curve=curve,
        also=also,
        open_alerts=[alert for alert in known if alert.workflow in alerts.UNENDED],
        past_alerts=[alert for alert in known if alert.workflow not in alerts.UNENDED],
        former_devices=[one for one in served if one.until is not None],
        radio=[await _listen(caller, device.dev_eui) for device in asset.devices[:LISTENED_TO]],
        visibility=await sharing.read_visibility(asset_id, caller) if is_own else None,
        photos=(await asset_photos.list_photos(asset_id, caller)).items,
        is_own=is_own,
        version=version_of(asset),
    )


@dataclass(frozen=True, slots=True)
class Radio:
    """How a device was last received; None where it never was."""

    dev_eui: str
    at: datetime | None
    gateways: int
    best: Any


async def _listen(caller: Caller, dev_eui: str) -> Radio:
    uplinks: list[Any] = [*(await device_traffic.list_uplinks(dev_eui, caller, limit=1)).items]
    if not uplinks:
        return Radio(dev_eui, None, 0, None)
    receptions = uplinks[0].receptions  # The loudest first.
    return Radio(dev_eui, uplinks[0].received_at, len(receptions), receptions[0] if receptions else None)


@router.post(PAGE + "/{id}/capteur")
async def place_device(id: Id, visit: FieldAgentsVisit) -> Response:  # noqa: A002 - The path's word.
    """Put a device here, in place of the one that serves, or take away the one that does."""
    try:
        if visit.form.text("act") == "end":
            await assets.end_device(id, visit.caller, visit.form.text("position"))
            return visit.go(f"{PAGE}/{id}", visit.gettext("Le capteur ne sert plus cet équipement."))
        code = read_code(visit, visit.form.text("dev_eui"))
        given = {"dev_eui": code.dev_eui.hex(), "position": visit.form.text("position")}
        await assets.assign_device(id, assets.AssignedDevice.model_validate(given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _asset_page(visit, id, problem=problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("Le capteur est posé ici à partir de maintenant."))


@router.post(PAGE + "/{id}/nom")
async def rename(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Correct the name, unless somebody else has changed the asset meanwhile."""
    try:
        patch = checked(assets.AssetPatch, {"name": visit.form.text("name")})
        await change_as_read(
            visit,
            f"/v1/assets/{id}",
            partial(assets.read_asset, id, visit.caller),
            partial(assets.update_asset, id, patch, visit.caller),
        )
    except Problem as problem:
        if problem.status not in {*TO_SHOW, CHANGED}:
            raise
        return await _asset_page(visit, id, problem=problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("Le nom est corrigé."))


@router.post(PAGE + "/{id}/photos")
async def change_photos(id: Id, visit: FieldAgentsVisit) -> Response:  # noqa: A002 - The path's word.
    """Add a photo, or remove one."""
    removed = visit.form.text("retirer")
    try:
        if removed:
            await asset_photos.delete_photo(number_of(removed) or 0, visit.caller)
            return visit.go(f"{PAGE}/{id}", visit.gettext("La photo est retirée."))
        added = await add_photo(visit, id)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _asset_page(visit, id, problem=problem)
    said = visit.gettext("La photo est ajoutée.") if added else visit.gettext("Choisissez d’abord une photo.")
    return visit.go(f"{PAGE}/{id}", said)


async def add_photo(visit: PersonsVisit, asset_id: int) -> bool:
    """Keep the photo that the form brings; False when it brings none."""
    sent = visit.form.file("photo")
    if sent is None:
        return False
    octets = await sent.read(asset_photos.OCTETS_MOST + 1)
    if not octets:
        return False
    given = {"content": b64encode(octets), "remark": visit.form.text("remark")}
    try:
        await asset_photos.create_photo(asset_id, asset_photos.NewPhoto.model_validate(given), visit.caller)
    except Problem as problem:
        errors = [FieldError(field="photo", code="photo", message=problem.detail)]
        raise Problem(problem.status, problem.detail, errors=errors) from None
    return True
