"""People of a tenant: invited, given a role, withdrawn; a new password by a link, sessions closed."""

from operator import attrgetter
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import StringConstraints

from api.console.navigation import marked
from api.console.pages import page_router
from api.console.proof import check_proof_of, done
from api.console.sorting import Keys, Sort, by_text, order_of
from api.console.versions import change_as_read, version_of
from api.console.visits import OperatorsVisit, PeopleManagersVisit, PersonsVisit, values_of
from api.console.wording import ROLE_NAMES
from api.fields import Id
from api.routes import people as routes
from api.routes import tenants
from core.model.rights import ROLES, may_give, rights_of
from core.runtime.http.errors import Problem, not_found

router = page_router()

PAGE = "/personnes"
EXPORT_KEYS = "export_keys"
# What each right opens, as a person would say it; in the order of the table of roles.
ABILITIES = {
    "read": marked("Voir les équipements, les mesures et les alertes"),
    "field": marked("Poser et remplacer un capteur, relever un compteur, traiter une alerte"),
    "lighting": marked("Commander l’éclairage"),
    "lighting_approve": marked("Approuver les campagnes d’éclairage préparées par d’autres"),
    "manage": marked("Changer équipements, règles, passerelles, partages et clés"),
    "open_data": marked("Publier des données ouvertes"),
    "people": marked("Inviter des personnes et leur donner un rôle"),
    "audit": marked("Lire le journal : qui a fait quoi"),
    "operate": marked("Exploiter le réseau, pour toutes les collectivités"),
}
COLUMNS: Keys = {
    "nom": lambda member: by_text(member.name),
    "adresse": attrgetter("email"),
    "role": lambda member: list(ROLES).index(member.role),
    "facteur": attrgetter("has_totp"),
    "connexion": attrgetter("last_login_at"),
}
Tenant = Annotated[str, StringConstraints(pattern="^[a-z0-9-]{0,63}$"), Query()]


def _roles_to_give(visit: PersonsVisit) -> dict[str, str]:
    """The roles that this person may give, by name."""
    own = visit.caller.principal.rights
    return {role: visit.gettext(name) for role, name in ROLE_NAMES.items() if may_give(own, role)}


async def _list_page(
    visit: PersonsVisit, tenant: str, problem: Problem | None = None, tri: str = "", **content: Any
) -> Response:
    members: list[Any] = (await routes.list_people(visit.caller, tenant or None)).items
    order = order_of(visit.request, tri, COLUMNS)
    is_own = tenant in {"", visit.tenant.slug}
    waiting = (await routes.list_invitations(visit.caller)).items if is_own else []
    others: list[Any] = (await tenants.list_tenants(visit.caller)).items if visit.caller.has("operate") else []
    return visit.form_page(
        "people/list.html",
        problem,
        members=order.applied(members),
        order=order,
        waiting=waiting,
        is_own=is_own,
        shown_tenant=tenant or visit.tenant.slug,
        tenants={one.slug: one.name for one in others},
        roles=ROLES,
        role_names=ROLE_NAMES,
        abilities=ABILITIES,
        to_give=_roles_to_give(visit),
        values=values_of(visit.form) if problem else {},
        **({"invited": None} | content),
    )


@router.get(PAGE)
async def show_list(visit: PeopleManagersVisit, collectivite: Tenant = "", tri: Sort = "") -> Response:
    """Who works for the tenant, who is invited, and what each role may do."""
    return await _list_page(visit, collectivite, tri=tri)


@router.post(PAGE)
async def invite(visit: PeopleManagersVisit) -> Response:
    """Invite somebody; without a mail server the link is shown this once."""
    form, tenant = visit.form, visit.form.text("tenant")
    try:
        body = form.of(routes.NewInvitation)
        await check_proof_of(form, visit.caller)
        invited: Any = await done(routes.invite(body, visit.caller))
    except Problem as problem:
        return await _list_page(visit, tenant if problem.status != NOT_FOUND else "", problem)
    if invited.sent:
        said = visit.gettext("Une invitation est partie à")
        return visit.go(_address_of(visit, tenant), f"{said} {invited.email}.")
    return await _list_page(visit, tenant, invited=invited)


NOT_FOUND = 404


def _address_of(visit: PersonsVisit, tenant: str) -> str:
    return PAGE if tenant in {"", visit.tenant.slug} else f"{PAGE}?collectivite={tenant}"


@router.post(PAGE + "/invitations/{id}")
async def withdraw_invitation(id: Id, visit: PeopleManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """An invitation that nobody shall accept any more."""
    await routes.withdraw_invitation(id, visit.caller)
    return visit.go(PAGE, visit.gettext("L’invitation est retirée : son lien ne vaut plus rien."))


async def _member(visit: PersonsVisit, person_id: int) -> Any:
    found: list[Any] = (await routes.list_people(visit.caller)).items
    member = next((one for one in found if one.id == person_id), None)
    if member is None:
        raise not_found(f"personne {person_id}")
    return member


async def _person_page(
    visit: PersonsVisit, person_id: int, problem: Problem | None = None, **content: Any
) -> Response:
    member = await _member(visit, person_id)
    return visit.form_page(
        "people/person.html",
        problem,
        member=member,
        version=version_of(_role_of(member)),
        is_self=member.id == visit.caller.principal.person_id,
        is_above=not rights_of(member.role) <= visit.caller.principal.rights,
        exports_keys=EXPORT_KEYS in member.extra_rights,
        role_names=ROLE_NAMES,
        to_give=_roles_to_give(visit),
        abilities=[words for right, words in ABILITIES.items() if right in rights_of(member.role)],
        **({"reset": None} | content),
    )


@router.get(PAGE + "/{id}")
async def show_person(id: Id, visit: PeopleManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """One person: what they may do here, and what can be done about it."""
    return await _person_page(visit, id)


def _role_of(member: Any) -> routes.RoleBody:
    return routes.RoleBody(role=member.role, extra_rights=list(member.extra_rights))


@router.post(PAGE + "/{id}/role")
async def set_role(id: Id, visit: PeopleManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Give another role."""
    form = visit.form

    async def read() -> routes.RoleBody:
        return _role_of(await _member(visit, id))

    async def change() -> None:
        await check_proof_of(form, visit.caller)
        await done(routes.set_role(id, body, visit.caller))

    try:
        extra = [EXPORT_KEYS] if form.text(EXPORT_KEYS) else []
        body = form.of(routes.RoleBody, {"role"}).model_copy(update={"extra_rights": extra})
        changed = visit.gettext("Quelqu’un a changé ce rôle entre-temps : voici ce qu’il est maintenant.")
        await change_as_read(visit, f"/v1/people/{id}/role", read, change, changed)
    except Problem as problem:
        if problem.status == NOT_FOUND:
            raise
        return await _person_page(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("Le rôle est donné : il vaut dès la prochaine page."))


@router.post(PAGE + "/{id}/sessions")
async def close_sessions(id: Id, visit: PeopleManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """End their sessions here."""
    closed = await routes.close_sessions(id, visit.caller)
    said = visit.gettext("Sessions fermées :")
    return visit.go(f"{PAGE}/{id}", f"{said} {closed.closed}")


@router.post(PAGE + "/{id}/mot-de-passe")
async def reset_password(id: Id, visit: PeopleManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """A link to a new password, sent, or shown this once."""
    try:
        await check_proof_of(visit.form, visit.caller)
        reset = await routes.reset_password(id, visit.caller)
    except Problem as problem:
        if problem.status == NOT_FOUND:
            raise
        return await _person_page(visit, id, problem)
    if reset.sent:
        return visit.go(f"{PAGE}/{id}", visit.gettext("Le lien est parti par courrier ; il vaut une heure."))
    return await _person_page(visit, id, reset=reset)


@router.post(PAGE + "/{id}/retrait")
async def remove(id: Id, visit: PeopleManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """End the membership, once it was confirmed."""
    if not visit.form.text("sure"):
        return await _person_page(visit, id, Problem(422, visit.gettext("Cochez la case pour confirmer.")))
    try:
        await routes.remove_person(id, visit.caller)
    except Problem as problem:
        if problem.status == NOT_FOUND:
            raise
        return await _person_page(visit, id, problem)
    return visit.go(PAGE, visit.gettext("Cette personne n’a plus rien à voir ici."))


@router.post(PAGE + "/{id}/acces")
async def set_enabled(id: Id, visit: OperatorsVisit) -> Response:  # noqa: A002 - The path's word.
    """Close an account everywhere, or open it again."""
    enabled = visit.form.text("enabled") == "true"
    await routes.set_enabled(id, routes.EnabledBody(enabled=enabled), visit.caller)
    opened, closed = visit.gettext("Le compte est rouvert."), visit.gettext("Le compte est fermé partout.")
    return visit.go(f"{PAGE}/{id}", opened if enabled else closed)
