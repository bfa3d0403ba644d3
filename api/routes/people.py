"""The people of a tenant: invited, given roles, removed; their accounts are the operator's to close."""

from datetime import UTC, datetime
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.auth import Caller, Change, NetworkOperator, PeopleManager, ProvenPeopleManager
from api.fields import Answer, Body, Id, Name, Slug, answer_of, example
from api.links import INVITATION, RESET, link_of, send_link
from api.pages import Page
from api.routes.sessions import Email
from core.model.rights import ROLES, RoleName, may_give, rights_of
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from registry import people, sessions, tenants
from registry.entering import act_as_operator, enter_as_operator

router = APIRouter(prefix="/v1", tags=["people"], responses=PROBLEM_RESPONSES)

ROLE_TEXT = " ; ".join(f"`{name}` {ROLES[name].label}" for name in get_args(RoleName))
RoleField = Annotated[RoleName, Field(description=ROLE_TEXT, examples=["field_agent"])]


class NewInvitation(Body):
    """Une personne à inviter ; nul ne donne un rôle dont il n'a pas les droits."""

    model_config = example(
        {"email": "jeanne.le-goff@landerneau.example", "name": "Jeanne Le Goff", "role": "field_agent"}
    )

    email: Email
    name: Name
    role: RoleField
    tenant: Slug | None = Field(
        None, description="Pour quelle collectivité, quand on exploite le réseau ; absente : la sienne"
    )


class RoleBody(Body):
    """Ce que la personne fait pour la collectivité."""

    model_config = example({"role": "reader"})

    role: RoleField
    extra_rights: list[Literal["export_keys"]] = Field(
        default_factory=list[Literal["export_keys"]],
        max_length=1,
        description="`export_keys` : sortir les clés des capteurs ; nul ne se le donne à soi-même",
    )


class EnabledBody(Body):
    """Si le compte est ouvert."""

    model_config = example({"enabled": False})

    enabled: bool


class MemberAnswer(answer_of(people.Member)):
    """Une personne de la collectivité."""


class InvitationAnswer(answer_of(people.Invitation, {"accepted_at"})):
    """Une invitation en attente."""


class CreatedInvitation(InvitationAnswer):
    """Une invitation, envoyée ou montrée cette seule fois."""

    sent: bool = Field(description="Si le serveur de courrier l'a prise ; sinon, donnez le lien vous-même")
    link: str | None = Field(description="Le lien, quand il n'a pas été envoyé")


class ResetLink(Answer):
    """Un lien qui choisit un nouveau mot de passe, une fois."""

    sent: bool
    link: str | None
    expires_in_minutes: int


class ClosedSessions(Answer):
    """Combien de sessions ont été fermées."""

    closed: int


def _demand_role(caller: Caller, role: str) -> None:
    if not may_give(caller.principal.rights, role):
        raise Problem(403, f"vous n'avez pas tous les droits du rôle « {ROLES[role].label} »")


def _require_above(caller: Caller, member: people.Member) -> None:
    """Raises 403 for somebody who may more than the caller: they are not the caller's to change."""
    if not rights_of(member.role) <= caller.principal.rights:
        raise Problem(403, f"{member.name} a plus de droits que vous")


async def _tenant_id(caller: Caller, change: Change, slug: str | None) -> int:
    """The caller's own tenant, or for the operator of the network the one that was named."""
    if slug is None or slug == change.tenant_slug:
        return change.tenant_id
    caller.demand("operate")
    await act_as_operator(change.connection)
    tenant = await tenants.find_tenant(change.connection, slug)
    if tenant is None:
        raise not_found(f"collectivité {slug}")
    return tenant.id


async def _enter(change: Change, tenant_id: int) -> None:
    if tenant_id != change.tenant_id:
        await enter_as_operator(change.connection, tenant_id)


@router.post("/invitations", operation_id="createInvitation", status_code=201, summary="Inviter une personne")
async def invite(body: NewInvitation, caller: ProvenPeopleManager) -> CreatedInvitation:
    """Inviter une personne, pour sept jours. Sans serveur de courrier, le lien est montré, cette seule fois."""
    _demand_role(caller, body.role)
    async with caller.changing() as change:
        tenant_id = await _tenant_id(caller, change, body.tenant)
        asked = {"email": body.email, "name": body.name, "role": body.role, "tenant": body.tenant}
        await change.audit("invite", "person", body.email.partition("@")[2], after=asked)
        await _enter(change, tenant_id)
        made, token = await people.invite(
            change.connection, tenant_id, body.email, body.name, body.role, change.actor
        )
    sent = await send_link(caller.platform, body.email, INVITATION, token)
    return CreatedInvitation(
        **InvitationAnswer.model_validate(made).model_dump(),
        sent=sent,
        link=None if sent else link_of(caller.platform, INVITATION, token),
    )


@router.get("/invitations", summary="Lister les invitations en attente")
async def list_invitations(caller: PeopleManager) -> Page[InvitationAnswer]:
    """Celles que l'on peut encore accepter."""
    async with caller.reading() as connection:
        found = await people.list_invitations(connection)
    return Page(items=[InvitationAnswer.model_validate(one) for one in found], next=None)


@router.delete("/invitations/{id}", status_code=204, summary="Retirer une invitation")
async def withdraw_invitation(id: Id, caller: PeopleManager) -> Response:
    """Son lien ne vaut plus rien."""
    async with caller.changing() as change:
        waiting = await people.list_invitations(change.connection)
        if not await people.withdraw_invitation(change.connection, id):
            raise not_found(f"invitation {id}")
        former = next((InvitationAnswer.model_validate(one) for one in waiting if one.id == id), None)
        await change.audit("withdraw", "invitation", id, before=former or {"expired": True})
    return Response(status_code=204)


@router.get("/people", summary="Lister les personnes")
async def list_people(
    caller: PeopleManager,
    tenant: Annotated[
        Slug | None, Query(description="D'une collectivité, quand on exploite le réseau ; absente : la sienne")
    ] = None,
) -> Page[MemberAnswer]:
    """Les personnes de la collectivité, leur rôle, leur dernière connexion. Cette lecture est consignée."""
    async with caller.changing() as change:
        await change.audit("read", "person", "all", {"tenant": tenant or change.tenant_slug})
        await _enter(change, await _tenant_id(caller, change, tenant))
        found = await people.list_members(change.connection)
    return Page(items=[MemberAnswer.model_validate(one) for one in found], next=None)


@router.put("/people/{id}/role", operation_id="setPersonRole", summary="Donner un rôle à une personne")
async def set_role(id: Id, body: RoleBody, caller: ProvenPeopleManager) -> MemberAnswer:
    """Changer le rôle d'une personne, dès sa requête suivante."""
    _demand_role(caller, body.role)
    if body.extra_rights and caller.principal.person_id in {None, id}:
        raise Problem(403, "ce droit est donné par une autre personne que celle qui le reçoit")
    async with caller.changing() as change:
        before = await people.find_member(change.connection, id)
        if before is None:
            raise not_found(f"personne {id}")
        _require_above(caller, before)
        await people.set_role(change.connection, id, body.role, body.extra_rights)
        former = {"role": before.role, "extra_rights": list(before.extra_rights)}
        await change.audit("set_role", "person", id, before=former, after=body)
        after = await people.find_member(change.connection, id)
    return MemberAnswer.model_validate(after)


@router.delete("/people/{id}", status_code=204, summary="Retirer une personne de la collectivité")
async def remove_person(id: Id, caller: PeopleManager) -> Response:
    """Elle n'y voit plus rien, dès sa requête suivante ; son compte et ses autres collectivités restent."""
    async with caller.changing() as change:
        before = await people.find_member(change.connection, id)
        if before is None:
            raise not_found(f"personne {id}")
        _require_above(caller, before)
        await people.remove_member(change.connection, id)
        await change.audit("remove", "person", id, before=MemberAnswer.model_validate(before))
    return Response(status_code=204)


@router.delete(
    "/people/{id}/sessions", operation_id="closePersonSessions", summary="Fermer les sessions d'une personne"
)
async def close_sessions(id: Id, caller: PeopleManager) -> ClosedSessions:
    """Fermer ses sessions dans cette collectivité, tout de suite."""
    async with caller.changing() as change:
        if await people.find_member(change.connection, id) is None:
            raise not_found(f"personne {id}")
        closed = await sessions.close_sessions_here(change.connection, id)
        await change.audit("close_sessions", "person", id, before={"open": closed}, after={"open": 0})
    return ClosedSessions(closed=closed)


@router.post(
    "/people/{id}/password-reset",
    operation_id="resetPersonPassword",
    status_code=201,
    summary="Donner un nouveau mot de passe",
)
async def reset_password(id: Id, caller: ProvenPeopleManager) -> ResetLink:
    """Un lien, envoyé ou montré, avec lequel la personne choisit un nouveau mot de passe.

    Seulement pour qui n'a de rôle que dans cette collectivité : le compte ouvrirait sinon les autres (409).
    """
    async with caller.changing() as change:
        member = await people.find_member(change.connection, id)
        if member is None:
            raise not_found(f"personne {id}")
        _require_above(caller, member)
        token = await people.start_reset_of_member(change.connection, id)
        if token is None:
            raise Problem(409, "cette personne seule peut demander un nouveau mot de passe pour ce compte")
        until = datetime.now(UTC) + people.RESET_LASTS
        await change.audit("reset_password", "person", id, after={"link_until": until})
    sent = await send_link(caller.platform, member.email, RESET, token)
    minutes = int(people.RESET_LASTS.total_seconds() // 60)
    link = None if sent else link_of(caller.platform, RESET, token)
    return ResetLink(sent=sent, link=link, expires_in_minutes=minutes)


@router.put(
    "/people/{id}/enabled", operation_id="setPersonEnabled", status_code=204, summary="Fermer ou rouvrir un compte"
)
async def set_enabled(id: Id, body: EnabledBody, caller: NetworkOperator) -> Response:
    """Fermer un compte partout : ses sessions se ferment tout de suite. À l'exploitant du réseau."""
    async with caller.changing() as change:
        was_enabled = await sessions.find_secrets(change.connection, id) is not None
        if not await people.set_enabled(change.connection, id, enabled=body.enabled):
            raise not_found(f"personne {id}")
        action = "enable" if body.enabled else "disable"
        await change.audit(action, "person", id, before={"enabled": was_enabled}, after=body)
    return Response(status_code=204)
