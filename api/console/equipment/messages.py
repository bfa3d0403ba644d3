"""Messages to a device: raw, or typed commands; shown before they are sent, and taken back while they wait."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from json import JSONDecodeError, loads
from typing import Any

from fastapi import Response

from api.console.equipment.views import DEVICES_PAGE
from api.console.forms import checked, instant_of
from api.console.pages import page_router
from api.console.said import said
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit, values_of
from api.fields import BigId, EuiPath
from api.routes import (
    device_commands,
    device_profiles,
    device_traffic,
    devices,
    downlink_cancellation,
)
from core.runtime.http.errors import FieldError, Problem, invalid, not_found, read_only
from decoders.catalogue import can_switch

router = page_router()

DEVICE = DEVICES_PAGE + "/{dev_eui}"
SHOWN = 10
TO_SHOW = {409, 422}
YES = "oui"
LOCAL = "%Y-%m-%dT%H:%M"
OCTETS = re.compile("([0-9a-f]{2})+")
BETWEEN_OCTETS = re.compile(r"[\s:,-]|0x")
# A parameter's field, apart from the form's own.
PARAMETER = "p."
NAMED = re.compile("« ([a-z0-9_.-]+) »")


async def spoken_to(visit: PersonsVisit, device: Any) -> Any:
    """The profile of the tenant's own device, when the visitor may send something to it; else None."""
    if device.tenant_id != visit.tenant.id or not visit.caller.has("manage") or device.archived_at:
        return None
    profile: Any = await device_profiles.read_device_profile(device.device_profile_id, visit.caller)
    may = not switches(profile) or visit.caller.has("lighting") or visit.caller.has("operate")
    return profile if may else None


def switches(profile: Any) -> bool:
    """Whether messages to it may switch something, and must say why."""
    return can_switch(profile.codec, profile.capabilities)


async def commands_of(visit: PersonsVisit, dev_eui: str) -> Sequence[Any]:
    """What can be asked of the device by name."""
    return (await device_commands.list_commands(dev_eui, visit.caller)).items


async def _target(visit: PersonsVisit, dev_eui: str) -> tuple[Any, Any]:
    """The device and its profile; 403 for who may not send anything to it."""
    device: Any = await devices.read(dev_eui, visit.caller)
    profile = await spoken_to(visit, device)
    if profile is None:
        if device.tenant_id != visit.tenant.id:
            raise read_only(f"capteur {dev_eui}")
        raise Problem(403, visit.gettext("Rien ne peut être envoyé à ce capteur avec vos droits."))
    return device, profile


def _common(visit: PersonsVisit, profile: Any) -> dict[str, Any]:
    """The fields that a raw message and a command share; raises 422 for an instant that is none."""
    form = visit.form
    given: dict[str, Any] = {"confirmed": form.text("confirmed") == YES, "reason": form.text("reason")}
    given["not_after"] = instant_of("not_after", form.text("not_after"), visit.language.zone)
    device_traffic.useful_until(given["not_after"], datetime.now(UTC))
    if switches(profile) and not given["reason"]:
        raise invalid("reason", "missing", visit.gettext("Dites pourquoi : cet appareil commute."))
    return given


def _usual(visit: PersonsVisit) -> dict[str, str]:
    tomorrow = datetime.now(visit.language.zone) + timedelta(days=1)
    return {"not_after": tomorrow.strftime(LOCAL)}


def _until(given: Mapping[str, Any]) -> datetime:
    return device_traffic.useful_until(given["not_after"], datetime.now(UTC))


def _queued(visit: PersonsVisit, dev_eui: str, downlink: Any) -> Response:
    outcome = said(visit.language.code, downlink.explanation or "")
    text = visit.gettext("Le message est en file : %(what)s.") % {"what": outcome}
    return visit.go(f"{DEVICES_PAGE}/{dev_eui}#messages", text)


@router.get(DEVICE + "/messages")
async def show_messages(dev_eui: EuiPath, visit: ReadersVisit) -> Response:
    """The messages alone, to be put in place of those of a while ago."""
    device: Any = await devices.read(dev_eui, visit.caller)
    downlinks = (await device_traffic.list_downlinks_of_device(dev_eui, visit.caller, limit=SHOWN)).items
    may_send = await spoken_to(visit, device) is not None
    return visit.page("equipment/messages.html", device=device, downlinks=downlinks, may_send=may_send)


@router.get(DEVICE + "/message")
async def show_form(dev_eui: EuiPath, visit: ManagersVisit) -> Response:
    """The form of a raw message."""
    device, profile = await _target(visit, dev_eui)
    return _form(visit, device, profile, _usual(visit))


def _form(
    visit: PersonsVisit, device: Any, profile: Any, values: Mapping[str, str], problem: Problem | None = None
) -> Response:
    return visit.form_page(
        "equipment/message.html",
        problem,
        device=device,
        profile=profile,
        switches=switches(profile),
        values=values,
        asked=None,
    )


@router.post(DEVICE + "/message")
async def send(dev_eui: EuiPath, visit: ManagersVisit) -> Response:
    """Say what will happen, ask once, and queue the message."""
    device, profile = await _target(visit, dev_eui)
    try:
        wanted = _wanted(visit, profile)
        if visit.form.text("confirm") != YES:
            return visit.page(
                "equipment/message.html",
                device=device,
                profile=profile,
                switches=switches(profile),
                values=values_of(visit.form),
                problem=None,
                errors={},
                asked=wanted,
                until=_until({"not_after": wanted.not_after}),
            )
        queued = await device_traffic.create_downlink(dev_eui, wanted, visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return _form(visit, device, profile, values_of(visit.form), problem)
    return _queued(visit, dev_eui, queued)


def _wanted(visit: PersonsVisit, profile: Any) -> device_traffic.NewDownlink:
    payload = BETWEEN_OCTETS.sub("", visit.form.text("payload").lower())
    if not OCTETS.fullmatch(payload):
        raise invalid("payload", "hex", visit.gettext("Deux chiffres ou lettres de a à f par octet : 01 a5 ff."))
    given = {"f_port": visit.form.text("f_port") or None, "payload": payload}
    return checked(device_traffic.NewDownlink, given | _common(visit, profile))


@router.get(DEVICE + "/commandes/{name}")
async def show_command(dev_eui: EuiPath, name: device_commands.CommandName, visit: ManagersVisit) -> Response:
    """The form of a command, with a field for each of its parameters."""
    device, profile = await _target(visit, dev_eui)
    command = await _command(visit, dev_eui, name)
    values = {f"{PARAMETER}{one.name}": _shown(one.default) for one in command.parameters}
    return _command_form(visit, device, profile, command, values | _usual(visit))


async def _command(visit: PersonsVisit, dev_eui: str, name: str) -> Any:
    found = next((one for one in await commands_of(visit, dev_eui) if one.name == name), None)
    if found is None:
        raise not_found(f"commande {name}")
    return found


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return YES if default else ""
    return "" if default is None else str(default)


def _command_form(
    visit: PersonsVisit,
    device: Any,
    profile: Any,
    command: Any,
    values: Mapping[str, str],
    problem: Problem | None = None,
    **shown: Any,
) -> Response:
    must_explain = command.switches or switches(profile)
    content = {"device": device, "profile": profile, "command": command, "switches": must_explain}
    content |= {"values": values, "outcome": None} | shown
    return visit.form_page("equipment/command.html", problem, **content)


@router.post(DEVICE + "/commandes/{name}")
async def command(dev_eui: EuiPath, name: device_commands.CommandName, visit: ManagersVisit) -> Response:
    """Show the octets and what the vendor's decoder says of them, ask once, and queue them."""
    device, profile = await _target(visit, dev_eui)
    wanted = await _command(visit, dev_eui, name)
    is_sure = visit.form.text("confirm") == YES
    try:
        given = _common(visit, profile)
        if wanted.switches and not given["reason"]:
            raise invalid("reason", "missing", visit.gettext("Dites pourquoi : cet appareil commute."))
        given |= {"parameters": _parameters(visit, wanted), "preview": not is_sure}
        body = checked(device_commands.CommandOrder, given)
        outcome = await device_commands.order(dev_eui, name, body, visit.caller, Response())
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        values = values_of(visit.form)
        return _command_form(visit, device, profile, wanted, values, _beside_its_field(problem, wanted))
    if outcome.downlink is None:
        shown: dict[str, Any] = {"outcome": outcome, "until": _until(given), "reason": given["reason"]}
        return _command_form(visit, device, profile, wanted, values_of(visit.form), None, **shown)
    return _queued(visit, dev_eui, outcome.downlink)


def _parameters(visit: PersonsVisit, command: Any) -> dict[str, Any]:
    """What was typed for each parameter, as the command takes it; what it does not take it refuses itself."""
    found: dict[str, Any] = {}
    for one in command.parameters:
        text = visit.form.text(PARAMETER + one.name)
        if one.kind == "boolean":
            found[one.name] = text == YES
        elif text:
            found[one.name] = _typed(str(one.kind), text)
    return found


def _typed(kind: str, text: str) -> Any:
    with suppress(ValueError, JSONDecodeError):
        match kind:
            case "integer":
                return int(text)
            case "number":
                return float(text.replace(",", "."))
            case "list":
                return loads(text)
            case _:
                return text
    return text


def _beside_its_field(problem: Problem, command: Any) -> Problem:
    """What the command says of a parameter, beside the field of that parameter."""
    named = NAMED.match(problem.detail)
    if problem.errors or named is None or named[1] not in {one.name for one in command.parameters}:
        return problem
    error = FieldError(field=f"body.{named[1]}", code="parameter", message=problem.detail)
    return Problem(problem.status, problem.detail, errors=[error])


@router.post(DEVICE + "/messages/{id}/retrait")
async def withdraw(dev_eui: EuiPath, id: BigId, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Take a message back that still waits."""
    try:
        await downlink_cancellation.cancel_downlink(dev_eui, id, visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return visit.go(f"{DEVICES_PAGE}/{dev_eui}#messages", said(visit.language.code, problem.detail))
    text = visit.gettext("Le message est retiré : il ne sera pas envoyé.")
    return visit.go(f"{DEVICES_PAGE}/{dev_eui}#messages", text)
