"""Installer's mode, for a telephone in one hand: which device, on what, where, and whether it is heard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import cos, hypot, radians
from typing import Annotated, Any

from fastapi import Depends, Query, Response

from api import asset_state_store as store
from api.console.equipment.codes import read_code
from api.console.equipment.views import MISSING, TO_SHOW, add_photo
from api.console.forms import checked, number_of
from api.console.frames.reasons import words_of
from api.console.pages import page_router
from api.console.visits import FieldAgentsVisit, ManagersVisit, PersonsVisit, values_of
from api.console.wording import KINDS
from api.extent import Box
from api.fields import PRINTABLE, EuiPath
from api.pages import Paging
from api.routes import assets, device_profiles, device_traffic, devices, rejections
from core.runtime.http.errors import FieldError, Problem
from lorawan.device_code import DeviceCode

router = page_router()

PAGE = "/pose"
DEVICE = PAGE + "/{dev_eui}"
OFFERED, LOOKED_AT = 12, 500
PROFILES_MOST = 500
POLE, ANTIMERIDIAN = 90, 180
# How far around assets are looked for, in degrees of latitude: about 450 m.
AROUND = 0.004
METRES_PER_DEGREE = 111_320
GOOD_RSSI, GOOD_SNR, POOR_RSSI, POOR_SNR = -105, -5, -117, -14
Coordinate = Annotated[str, Query(max_length=20, pattern=PRINTABLE)]


@dataclass(frozen=True, slots=True)
class Search:
    """What was typed or scanned, and among which assets the device's is looked for."""

    code: Annotated[str, Query(max_length=200, pattern=PRINTABLE)] = ""
    q: Annotated[str, Query(max_length=100, pattern=PRINTABLE)] = ""
    lat: Coordinate = ""
    lon: Coordinate = ""

    @property
    def here(self) -> tuple[float, float] | None:
        """From where, as latitude and longitude; None: nobody said."""
        try:
            latitude, longitude = float(self.lat), float(self.lon)
        except ValueError:
            return None
        return (latitude, longitude) if abs(latitude) <= POLE and abs(longitude) <= ANTIMERIDIAN else None


Searched = Annotated[Search, Depends()]


@dataclass(frozen=True, slots=True)
class Nearby:
    """An asset, and how far it is where somebody said from where."""

    asset: store.AssetState
    metres: float | None


@router.get(PAGE)
async def show(visit: FieldAgentsVisit, search: Searched) -> Response:
    """Which device it is; then on which asset it is placed."""
    return await _first_page(visit, search)


async def _first_page(
    visit: PersonsVisit, search: Search, problem: Problem | None = None, values: Mapping[str, str] | None = None
) -> Response:
    code, serves = None, None
    device: Any = None
    if search.code.strip():
        try:
            code = read_code(visit, search.code, "code")
            device = await devices.read(code.dev_eui.hex(), visit.caller)
        except Problem as raised:
            if raised.status != MISSING:
                problem = problem or raised
    if device is not None and device.asset_id is not None:
        serves = await assets.read_asset(device.asset_id, visit.caller)
    is_manager = visit.caller.has("manage")
    return visit.form_page(
        "pose/page.html",
        problem,
        search=search,
        code=code,
        device=device,
        is_own=device is not None and device.tenant_id == visit.tenant.id,
        serves=serves,
        nearby=await _nearby(visit, search) if device is not None else [],
        profiles=await _profiles(visit) if is_manager and code is not None and device is None else [],
        kinds=KINDS,
        values=values if values is not None else _values(visit, code),
    )


def _values(visit: PersonsVisit, code: DeviceCode | None) -> Mapping[str, str]:
    read = {} if code is None or code.join_eui is None else {"join_eui": code.join_eui.hex()}
    return {**read, **values_of(visit.form)}


async def _profiles(visit: PersonsVisit) -> list[Any]:
    return [*(await device_profiles.list_device_profiles(visit.caller, Paging(PROFILES_MOST))).items]


async def _nearby(visit: PersonsVisit, search: Search) -> Sequence[Nearby]:
    """One's own assets of this name or street, or around here, the nearest first."""
    here, text = search.here, search.q.strip()
    if text:
        wanted = store.Wanted(search=text)
    elif here is not None:
        latitude, longitude = here
        wide = AROUND / max(0.1, cos(radians(latitude)))
        wanted = store.Wanted(box=Box(longitude - wide, latitude - AROUND, longitude + wide, latitude + AROUND))
    else:
        return []
    async with visit.caller.reading() as connection:
        found = await store.list_states(connection, wanted, None, 0, LOOKED_AT)
    own = [Nearby(one, _metres(here, one)) for one in found if one.tenant_id == visit.tenant.id]
    return sorted(own, key=lambda one: (one.metres is None, one.metres or 0, one.asset.name))[:OFFERED]


def _metres(here: tuple[float, float] | None, asset: store.AssetState) -> float | None:
    if here is None or asset.latitude is None or asset.longitude is None:
        return None
    east = (asset.longitude - here[1]) * cos(radians(here[0]))
    return METRES_PER_DEGREE * hypot(asset.latitude - here[0], east)


@router.post(DEVICE + "/enregistrer")
async def enrol(dev_eui: EuiPath, visit: ManagersVisit) -> Response:
    """Register the device that was scanned, with its key, which is written and never shown."""
    form = visit.form
    given = {"dev_eui": dev_eui, "app_key": form.text("secret")} | {
        name: form.text(name) for name in ("name", "device_profile_id", "join_eui")
    }
    try:
        await devices.create(checked(devices.NewDevice, _filled(given)), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        errors = [_of_the_secret(error) for error in problem.errors or ()]
        shown = Problem(problem.status, problem.detail, errors=errors)
        return await _first_page(visit, Search(dev_eui), shown)
    return visit.go(f"{PAGE}?code={dev_eui}", visit.gettext("Le capteur est enregistré."))


def _filled(given: Mapping[str, str]) -> dict[str, str]:
    """An empty field is one that was not filled in."""
    return {name: value for name, value in given.items() if value}


def _of_the_secret(error: FieldError) -> FieldError:
    name = "secret" if error.field.endswith("app_key") else error.field
    return FieldError(field=name, code=error.code, message=error.message)


@router.post(DEVICE + "/equipement")
async def create_asset(dev_eui: EuiPath, visit: ManagersVisit) -> Response:
    """Make the asset that is not there yet."""
    try:
        made: Any = await assets.create_asset(visit.form.of(assets.NewAsset), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _first_page(visit, Search(dev_eui), problem)
    return visit.go(f"{PAGE}/{dev_eui}?actif={made.id}")


@router.get(DEVICE)
async def show_place(
    dev_eui: EuiPath, visit: FieldAgentsVisit, search: Searched, actif: Annotated[int, Query(ge=1, le=2**31 - 1)]
) -> Response:
    """Where it is placed, and a photo."""
    return await _place_page(visit, dev_eui, actif, search.here)


async def _place_page(
    visit: PersonsVisit,
    dev_eui: str,
    asset_id: int,
    here: tuple[float, float] | None = None,
    problem: Problem | None = None,
) -> Response:
    device = await devices.read(dev_eui, visit.caller)
    asset: Any = await assets.read_asset(asset_id, visit.caller)
    typed = dict(values_of(visit.form))
    at = {"latitude": asset.latitude, "longitude": asset.longitude}
    if asset.latitude is None and here is not None:
        at = {"latitude": here[0], "longitude": here[1]}
    known = {name: "" if value is None else f"{value:.6f}" for name, value in at.items()}
    return visit.form_page(
        "pose/place.html",
        problem,
        device=device,
        asset=asset,
        values=known | typed,
    )


@router.post(DEVICE)
async def place(dev_eui: EuiPath, visit: FieldAgentsVisit) -> Response:
    """Placed here: the position, the device, the photo; each that was done stays done."""
    form, caller = visit.form, visit.caller
    asset_id = number_of(form.text("actif")) or 0
    asset: Any = await assets.read_asset(asset_id, caller)
    try:
        if form.text("latitude") or form.text("longitude"):
            typed = {name: form.text(name).replace(",", ".") for name in ("latitude", "longitude")}
            wanted = checked(assets.Position, _filled(typed))
            if (wanted.latitude, wanted.longitude) != (asset.latitude, asset.longitude):
                await assets.place_asset(asset_id, wanted, caller)
        given = {"dev_eui": dev_eui, "position": form.text("position")}
        await assets.assign_device(asset_id, checked(assets.AssignedDevice, _filled(given)), caller)
        await add_photo(visit, asset_id)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _place_page(visit, dev_eui, asset_id, problem=problem)
    since = int(datetime.now(UTC).timestamp())
    return visit.go(f"{PAGE}/{dev_eui}/entendu?depuis={since}", visit.gettext("Le capteur est posé."))


Since = Annotated[int, Query(ge=0, le=2**33)]


@router.get(DEVICE + "/entendu")
async def show_reception(dev_eui: EuiPath, visit: FieldAgentsVisit, depuis: Since = 0) -> Response:
    """Whether it is heard; the answer comes by itself, or with a reload."""
    device: Any = await devices.read(dev_eui, visit.caller)
    asset = None if device.asset_id is None else await assets.read_asset(device.asset_id, visit.caller)
    return visit.page("pose/heard_page.html", asset=asset, **await _reception_since(visit, device, depuis))


@router.get(DEVICE + "/ecoute")
async def listen(dev_eui: EuiPath, visit: FieldAgentsVisit, depuis: Since = 0) -> Response:
    """The answer alone."""
    device = await devices.read(dev_eui, visit.caller)
    return visit.page("pose/heard.html", **await _reception_since(visit, device, depuis))


async def _reception_since(visit: PersonsVisit, device: Any, depuis: int) -> dict[str, Any]:
    since = datetime.fromtimestamp(depuis, UTC)
    uplinks: list[Any] = [*(await device_traffic.list_uplinks(device.dev_eui, visit.caller, limit=1)).items]
    heard = next((one for one in uplinks if one.received_at >= since), None)
    best: Any = heard.receptions[0] if heard is not None and heard.receptions else None
    refused: rejections.RefusalAnswer | None = None
    if heard is None and device.tenant_id == visit.tenant.id:
        found = (await rejections.list_device_refusals(device.dev_eui, visit.caller, 1)).items
        refused = next((one for one in found if one.last_at >= since), None)
    joined_at = None if device.join is None else device.join.joined_at
    return {
        "device": device,
        "depuis": depuis,
        "heard": heard,
        "best": best,
        "quality": "" if best is None else _quality(best.rssi, best.snr),
        "refused": None if refused is None else words_of(refused.reason, visit.language),
        "has_joined": joined_at is not None and joined_at >= since,
        "before": uplinks[0].received_at if uplinks and heard is None else None,
    }


def _quality(rssi: float, snr: float) -> str:
    """How much there is to lose before the device is heard no more."""
    if rssi >= GOOD_RSSI and snr >= GOOD_SNR:
        return "good"
    return "poor" if rssi < POOR_RSSI or snr < POOR_SNR else "fair"
