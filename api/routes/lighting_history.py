"""What was done to the lamps of an asset: who, why, before, after, when."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from alerting.wording import instant_text
from api.auth import Reader
from api.fields import Answer, Id
from api.pages import Page, Paged, bad_cursor, page_of
from api.routes.assets import ASSETS
from core.model.region import Region, region_of
from core.runtime.http.errors import PROBLEM_RESPONSES
from lighting.commands import failure_text
from lighting.following import PROGRAM
from lighting.history import KINDS, Entry, Position, order_of, read_history
from lighting.program_store import read_department
from lighting.programs import time_text
from lighting.restoring import RELIT_BY
from lorawan.instants import from_us, to_us

router = APIRouter(prefix="/v1/assets", tags=["lighting"], responses=PROBLEM_RESPONSES)

LABELS = {
    "bounds": "Bornes du syndicat",
    "program_version": "Nouvelle version du programme",
    "assignment": "Programme affecté",
    "assignment_ended": "Programme retiré",
    "campaign": "Campagne",
    "unknown_act": "Acte inconnu",
    "command": "Ordre",
    "work_order": "Intervention demandée",
    "local_override": "Forçage sur place",
}
# What the platform does by itself.
BY_ITSELF = {RELIT_BY: ("relight", "Retour au programme"), PROGRAM: ("program_switch", "Commutation du programme")}
STATES = {
    "queued": "attend son émission",
    "sent": "émis",
    "acknowledged": "reçu par l'équipement",
    "applied": "appliqué, par la parole du relais",
    "confirmed": "confirmé par la puissance mesurée",
    "unproven": "émis, rien ne peut prouver l'effet",
    "failed": "échoué",
    "expired": "expiré",
    "superseded": "remplacé par un ordre plus récent",
}
BOUNDS = (("earliest_cut", "pas d'extinction avant {}"), ("latest_return", "rallumage à {} au plus tard"))
PARTS, LATEST_US = 3, 8_000_000_000_000_000


class HistoryEntry(Answer):
    """Une chose faite à l'éclairage d'un actif."""

    at: datetime
    kind: str = Field(
        description="command, relight (la plateforme ramène au programme), program_switch, unknown_act, "
        "assignment, assignment_ended, program_version, campaign, local_override, bounds, work_order",
        examples=["command"],
    )
    label: str = Field(description="Ce que c'est, en français", examples=["Ordre"])
    reference: int = Field(description="Son numéro dans son genre : ordre, campagne, affectation…")
    asset_id: int | None = Field(
        description="L'armoire ou le circuit ; null : toute la collectivité, ou un programme"
    )
    asset_name: str | None
    who: str | None = Field(description="Null : personne ne le sait, ou la plateforme", examples=["Mme Le Goff"])
    why: str = Field(examples=["Intervention sur le réseau"])
    before: str | None = Field(description="Null : rien, ou inconnu", examples=["Allumer"])
    after: str | None = Field(examples=["Éteindre jusqu'au 25/11/2026 à 23 h 30"])
    outcome: str | None = Field(description="Ce que c'est devenu", examples=["appliqué, par la parole du relais"])


@router.get("/{id}/lighting-history", summary="Lire l'historique de l'éclairage d'un actif")
async def read_lighting_history(id: Id, caller: Reader, paging: Paged) -> Page[HistoryEntry]:
    """Ce qui a été fait à l'éclairage d'une armoire et de ses circuits, d'un circuit ou d'un point lumineux.

    Ordres, rallumages, actes inconnus, programmes, campagnes, forçages sur place, bornes : le dernier d'abord.
    """
    after = _position(paging.cursor)
    async with caller.reading() as connection:
        asset = await ASSETS.get(connection, id)
        found = await read_history(connection, id, after, paging.most)
        region = region_of(*await read_department(connection, asset.tenant_id))
    return page_of(found, paging.limit, lambda entry: _shown(entry, region), _cursor)


def _cursor(entry: Entry) -> str:
    return f"{to_us(entry.at)}.{entry.place}.{entry.id}"


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    parts = cursor.split(".")
    if len(parts) != PARTS or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):  # noqa: PLR2004 - Of a bigint.
        raise bad_cursor()
    at_us, place, number = map(int, parts)
    if at_us > LATEST_US or place >= len(KINDS):
        raise bad_cursor()
    return Position(from_us(at_us), place, number)


def _shown(entry: Entry, region: Region) -> HistoryEntry:
    kind, label, who = entry.kind, LABELS[entry.kind], entry.who
    if kind == "command" and who in BY_ITSELF:
        (kind, label), who = BY_ITSELF[who], None
    return HistoryEntry(
        at=entry.at,
        kind=kind,
        label=label,
        reference=entry.id,
        asset_id=entry.asset_id,
        asset_name=entry.asset_name,
        who=who,
        why=entry.why,
        before=_before(entry, region),
        after=_after(entry, entry.became, region),
        outcome=_outcome(entry, region),
    )


def _before(entry: Entry, region: Region) -> str | None:
    if entry.kind == "campaign" or entry.was is None:
        return None
    return _after(entry, entry.was, region)


def _after(entry: Entry, said: Any, region: Region) -> str | None:
    match entry.kind:
        case _ if said is None:
            text = None
        case "bounds":
            text = _bounds(said)
        case "program_version" | "assignment" | "assignment_ended":
            text = f"« {said['program']} », version {said['version']}"
        case "unknown_act":
            text = "inconnu : un message a atteint l'équipement hors de l'éclairage"
        case "local_override":
            text = "forcée sur place" if said else "libre"
        case "campaign":
            text = f"« {said['name']} » : {_order(said, region)}"
        case _:
            text = _order(said, region)
    return text


def _order(said: Any, region: Region) -> str:
    action, level, until = order_of(said)
    if action == "off":
        return (
            "Éteindre" if until is None else f"Éteindre jusqu'au {instant_text(until, region).removeprefix('le ')}"
        )
    return "Allumer" if action == "on" else f"Graduer à {level} %"


def _bounds(said: Any) -> str:
    found = [text.format(time_text(said[name])) for name, text in BOUNDS if said.get(name) is not None]
    if said.get("least_level") is not None:
        found.append(f"{said['least_level']} % de lumière au moins")
    if said.get("protected_tags"):
        found.append(f"protégées : {', '.join(said['protected_tags'])}")
    return " ; ".join(found) or "aucune borne"


def _outcome(entry: Entry, region: Region) -> str | None:
    if entry.kind == "campaign":
        approved = "" if entry.was is None else f"approuvée par {entry.was['approved_by']}"
        return " ; ".join(filter(None, (approved, entry.failure))) or None
    if entry.kind == "unknown_act":
        settled = entry.became["settled_at"]
        at = datetime.fromisoformat(settled or entry.became["due_at"])
        words = "ramené au programme" if settled else "à ramener au programme avant"
        return f"{words} {instant_text(at, region)}"
    if entry.state is None:
        return None
    failure = failure_text(entry.failure)
    return STATES.get(entry.state, entry.state) + ("" if failure is None else f" : {failure}")
