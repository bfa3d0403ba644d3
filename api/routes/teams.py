"""Teams: who is notified of alerts, when they are not to be disturbed, and who is next when nobody answers."""

from collections.abc import Awaitable
from datetime import time
from typing import Annotated, Self

from fastapi import APIRouter, Response
from pydantic import AfterValidator, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from alerting import store, teams
from alerting.message_formats import EMAIL
from api.auth import Change, Manager, Reader
from api.fields import Body, Id, IdRef, Name, answer_of, example
from api.pages import Page
from api.resources import Resource
from api.routes.webhook_endpoints import begin_proof
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found
from registry.keys import KeyWrap

router = APIRouter(prefix="/v1/teams", tags=["teams"], responses=PROBLEM_RESPONSES)
CONTACTS_MOST = 50


def _local(at: time) -> time:
    if at.tzinfo is not None:
        raise PydanticCustomError("local_time", "heure locale attendue, HH:MM")
    return at.replace(second=0, microsecond=0)


LocalTime = Annotated[
    time, AfterValidator(_local), PlainSerializer(lambda at: f"{at:%H:%M}", str), Field(examples=["07:30"])
]


class TeamBody(Body):
    """Une équipe et ses heures calmes."""

    model_config = example(
        {"name": "Voirie", "quiet_from": "20:00", "quiet_until": "07:00", "quiet_on_days_off": True}
    )

    name: Name
    quiet_from: LocalTime | None = Field(None, description="Début des heures calmes, heure locale ; null : aucune")
    quiet_until: LocalTime | None = Field(None, description="Fin ; plus tôt que le début : le lendemain")
    quiet_on_days_off: bool = Field(False, description="Calme aussi les samedis, dimanches et jours fériés")
    digest_at: LocalTime = Field(time(7, 30), description="Heure du résumé de ce qui a attendu")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.quiet_from is None) != (self.quiet_until is None):
            raise PydanticCustomError("quiet", "quiet_from et quiet_until vont ensemble")
        return self


class TeamAnswer(answer_of(teams.Team, {"tenant_id"})):
    """Une équipe."""

    quiet_from: LocalTime | None
    quiet_until: LocalTime | None
    digest_at: LocalTime


class NewContact(Body):
    """Quelqu'un à prévenir : une adresse de courrier, ou une adresse de webhook."""

    model_config = example({"name": "Astreinte", "rung": 1, "after_seconds": 1800, "email": "astreinte@ville.fr"})

    name: Name
    rung: int = Field(0, ge=0, le=9, description="Échelon : 0 est prévenu d'abord, 1 si personne ne répond…")
    after_seconds: int = Field(
        1800, ge=60, le=604_800, description="Attente sans prise en charge avant cet échelon (sans effet à 0)"
    )
    email: str | None = Field(None, min_length=3, max_length=254, examples=["astreinte@ville.fr"])
    webhook_endpoint_id: IdRef | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.email is None) == (self.webhook_endpoint_id is None):
            raise PydanticCustomError("contact", "soit email, soit webhook_endpoint_id")
        return self


class ContactAnswer(answer_of(teams.Contact, {"team_id"})):
    """Quelqu'un à prévenir."""

    webhook_endpoint_id: int = Field(description="Ses essais, sa santé et son essai sont ceux de cette adresse")
    state: str = Field(
        description="enabled ; disabled : cette adresse ne reçoit plus rien ; unproved : rien encore"
    )


TEAMS = Resource("team", "équipe", teams.read_team, TeamAnswer.model_validate)


@router.post("", status_code=201, summary="Créer une équipe")
async def create_team(body: TeamBody, caller: Manager) -> TeamAnswer:
    """Créer une équipe. Une règle nomme l'équipe qu'elle prévient (`team_id`)."""

    def create(change: Change) -> Awaitable[teams.Team]:
        return teams.create_team(change.connection, change.tenant_id, dict(body))

    return await TEAMS.create(caller, create)


@router.get("", summary="Lister les équipes")
async def list_teams(caller: Reader) -> Page[TeamAnswer]:
    """Les équipes de la collectivité."""
    return await TEAMS.list(caller, teams.list_teams)


@router.get("/{id}", summary="Lire une équipe")
async def read_team(id: Id, caller: Reader) -> TeamAnswer:
    """Une équipe."""
    return await TEAMS.read(caller, id)


@router.put("/{id}", summary="Modifier une équipe")
async def replace_team(id: Id, body: TeamBody, caller: Manager) -> TeamAnswer:
    """Donner à une équipe d'autres heures, ou un autre nom."""
    given = dict(body)
    return await TEAMS.change(caller, id, lambda connection, key: teams.replace_team(connection, key, given))


@router.delete("/{id}", status_code=204, summary="Retirer une équipe")
async def delete_team(id: Id, caller: Manager) -> Response:
    """Retirer une équipe et ses contacts. Ses règles préviennent ensuite toutes les adresses de webhook."""
    return await TEAMS.delete(caller, id, teams.delete_team)


@router.get("/{id}/contacts", operation_id="listTeamContacts", summary="Lister les contacts d'une équipe")
async def list_contacts(id: Id, caller: Reader) -> Page[ContactAnswer]:
    """Les contacts, du premier échelon au dernier."""
    async with caller.reading() as connection:
        await TEAMS.get(connection, id)
        found = await teams.list_contacts(connection, id)
    return Page(items=[ContactAnswer.model_validate(contact) for contact in found], next=None)


@router.post(
    "/{id}/contacts", operation_id="createTeamContact", status_code=201, summary="Ajouter un contact à une équipe"
)
async def create_contact(id: Id, body: NewContact, caller: Manager) -> ContactAnswer:
    """Ajouter quelqu'un à prévenir. Une adresse de courrier devient aussi une adresse, avec ses essais.

    Une adresse de courrier neuve y reçoit un code : elle n'est prévenue qu'une fois ce code saisi
    (`POST /v1/webhook-endpoints/{webhook_endpoint_id}/proof`).

    Commencez par l'échelon 0 : tant qu'il n'a personne, toutes les adresses de webhook sont prévenues à sa place.
    """
    async with caller.changing() as change:
        await TEAMS.get(change.connection, id)
        if len(await teams.list_contacts(change.connection, id)) >= CONTACTS_MOST:
            raise Problem(422, f"une équipe a {CONTACTS_MOST} contacts au plus")
        endpoint_id = await _endpoint(change, caller.platform.keys, body)
        contact_id = await teams.create_contact(
            change.connection, id, body.name, body.rung, body.after_seconds, endpoint_id
        )
        if contact_id is None:
            raise invalid("webhook_endpoint_id", "unknown", f"adresse {endpoint_id} introuvable")
        made = await _contact(change, id, contact_id)
        await change.audit("create", "contact", contact_id, {"team_id": id}, after=made)
    return made


async def _contact(change: Change, team_id: int, contact_id: int) -> ContactAnswer:
    for one in await teams.list_contacts(change.connection, team_id):
        if one.id == contact_id:
            return ContactAnswer.model_validate(one)
    raise not_found(f"contact {contact_id}")


async def _endpoint(change: Change, keys: KeyWrap, body: NewContact) -> int:
    if body.webhook_endpoint_id is not None:
        return body.webhook_endpoint_id
    try:
        endpoint_id, is_new = await store.endpoint_of_address(
            change.connection, keys, change.tenant_id, body.email or ""
        )
    except store.RejectedUrl as refused:
        raise invalid("email", "refused_address", str(refused)) from None
    if is_new:
        await begin_proof(change, endpoint_id, EMAIL)
    return endpoint_id


@router.delete(
    "/{id}/contacts/{contact_id}",
    operation_id="deleteTeamContact",
    status_code=204,
    summary="Retirer un contact d'une équipe",
)
async def delete_contact(id: Id, contact_id: Id, caller: Manager) -> Response:
    """Ne plus prévenir quelqu'un ; son adresse reste dans les adresses de webhook, avec ses essais."""
    async with caller.changing() as change:
        former = await _contact(change, id, contact_id)
        if not await teams.delete_contact(change.connection, id, contact_id):
            raise not_found(f"contact {contact_id}")
        await change.audit("delete", "contact", contact_id, {"team_id": id}, before=former)
    return Response(status_code=204)
