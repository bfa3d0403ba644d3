"""A device: whether it is heard, why not, what it sent and what waits for it; and what can be done with it."""

from functools import partial
from operator import attrgetter
from typing import Any

from fastapi import Response

from api.console.equipment.codes import read_code
from api.console.equipment.messages import SHOWN, commands_of, spoken_to
from api.console.equipment.views import DEVICES_PAGE, MISSING, PAGE, TO_SHOW
from api.console.frames.reasons import words_of
from api.console.pages import page_router
from api.console.visits import FieldAgentsVisit, ManagersVisit, PersonsVisit, ReadersVisit
from api.fields import ArchivedBody, EuiPath
from api.routes import assets, dev_nonces, device_profiles, device_status, device_traffic, devices, rejections
from core.runtime.http.errors import Problem

router = page_router()

DEVICE = DEVICES_PAGE + "/{dev_eui}"
RESET = {"dev_nonce_used", "dev_nonce_not_increasing"}


@router.get(DEVICE)
async def show_device(dev_eui: EuiPath, visit: ReadersVisit) -> Response:
    """One device."""
    return await _page(visit, dev_eui)


async def _page(visit: PersonsVisit, dev_eui: str, problem: Problem | None = None) -> Response:
    caller = visit.caller
    device: Any = await devices.read(dev_eui, caller)
    uplinks = (await device_traffic.list_uplinks(dev_eui, caller, limit=25)).items
    downlinks = (await device_traffic.list_downlinks_of_device(dev_eui, caller, limit=SHOWN)).items
    refused: list[rejections.RefusalAnswer] = []
    status: device_status.DeviceStatusAnswer | None = None
    try:
        refused = (await rejections.list_device_refusals(dev_eui, caller, 20)).items
        status = await device_status.read(dev_eui, caller)
    except Problem as missing:
        if missing.status != MISSING:  # What belongs to another tenant and is shared shows less.
            raise
    may_send = await spoken_to(visit, device) is not None
    asset = None if device.asset_id is None else await assets.read_asset(device.asset_id, caller)
    return visit.form_page(
        "equipment/device.html",
        problem,
        device=device,
        asset=asset,
        status=status,
        profile=await _profile_name(visit, device.device_profile_id),
        uplinks=uplinks,
        downlinks=downlinks,
        may_send=may_send,
        commands=await commands_of(visit, dev_eui) if may_send else [],
        # Of joins it says so above.
        refused=[one for one in refused if device.join is None or one.reason != device.join.reason],
        best=[max(one.receptions, key=attrgetter("rssi"), default=None) for one in uplinks],
        words=partial(words_of, language=visit.language),
        was_reset=device.join is not None and device.join.reason in RESET,
        is_own=device.tenant_id == visit.tenant.id,
    )


async def _profile_name(visit: PersonsVisit, profile_id: int) -> str:
    try:
        profile: Any = await device_profiles.read_device_profile(profile_id, visit.caller)
    except Problem:
        return ""
    return profile.name


@router.post(DEVICE + "/remplacer")
async def replace_device(dev_eui: EuiPath, visit: FieldAgentsVisit) -> Response:
    """Another device serves in its place from now on; the asset's history goes on."""
    device: Any = await devices.read(dev_eui, visit.caller)
    if device.asset_id is None:
        said = visit.gettext("Ce capteur ne sert aucun équipement.")
        return visit.go(f"{DEVICES_PAGE}/{dev_eui}", said)
    try:
        other = read_code(visit, visit.form.text("dev_eui")).dev_eui.hex()
        given = {"dev_eui": other, "position": device.position or ""}
        await assets.assign_device(device.asset_id, assets.AssignedDevice.model_validate(given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _page(visit, dev_eui, problem)
    said = visit.gettext("Le capteur est remplacé ; l’historique de l’équipement continue.")
    return visit.go(f"{PAGE}/{device.asset_id}", said)


@router.post(DEVICE + "/jonction")
async def forget_joins(dev_eui: EuiPath, visit: FieldAgentsVisit) -> Response:
    """A device that was reset may join again with numbers that it used before."""
    try:
        await dev_nonces.flush_one(dev_eui, visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _page(visit, dev_eui, problem)
    said = visit.gettext("Ses numéros de jonction sont oubliés : appuyez sur le bouton du capteur.")
    return visit.go(f"{DEVICES_PAGE}/{dev_eui}", said)


@router.post(DEVICE + "/etat")
async def change_state(dev_eui: EuiPath, visit: ManagersVisit) -> Response:
    """Disable, enable, archive, or take out of the archive."""
    match visit.form.text("act"):
        case "disable" | "enable" as act:
            patch = devices.DevicePatch.model_validate({"enabled": act == "enable"})
            await devices.update(dev_eui, patch, visit.caller)
            said = (
                visit.gettext("Le capteur est actif.")
                if act == "enable"
                else visit.gettext("Le capteur est désactivé.")
            )
        case "archive" | "unarchive" as act:
            body = ArchivedBody.model_validate({"archived": act == "archive"})
            await devices.archive(dev_eui, body, visit.caller)
            said = (
                visit.gettext("Le capteur est archivé : il est dans cette fiche, et plus dans les listes.")
                if act == "archive"
                else visit.gettext("Le capteur est sorti des archives, et actif.")
            )
        case _:
            said = visit.gettext("Choisissez ce qu’il faut faire.")
    return visit.go(f"{DEVICES_PAGE}/{dev_eui}", said)
