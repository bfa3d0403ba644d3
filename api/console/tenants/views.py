"""Tenants: where they are, how many objects they may have, and for the operator of the network all of them."""

from typing import Any

from fastapi import Response

from api.console.forms import checked, number_of
from api.console.pages import page_router
from api.console.proof import check_proof_of, done
from api.console.visits import ManagersVisit, OperatorsVisit, PersonsVisit, values_of
from api.fields import Id
from api.routes import sharing
from api.routes import tenants as routes
from core.runtime.http.errors import Problem, invalid

router = page_router()

PAGE = "/collectivites"
NOT_FOUND = 404


async def _list_page(visit: PersonsVisit, problem: Problem | None = None, key: str = "") -> Response:
    found: list[Any] = (await routes.list_tenants(visit.caller)).items
    return visit.form_page(
        "tenants/list.html",
        problem,
        tenants=found,
        names={one.id: one.name for one in found},
        key=key,
        created_name=visit.form.text("name"),
        values=values_of(visit.form) if problem is not None else {},
    )


@router.get(PAGE)
async def show_list(visit: ManagersVisit) -> Response:
    """One's own tenant and its members; for the operator all of them."""
    return await _list_page(visit)


@router.post(PAGE)
async def create(visit: OperatorsVisit) -> Response:
    """Make a tenant; its first key is shown this once."""
    try:
        body = visit.form.of(routes.NewTenant, {"slug", "name", "department"})
        created = await done(routes.create_tenant(body, visit.caller))
    except Problem as problem:
        return await _list_page(visit, problem)
    return await _list_page(visit, key=created.api_key)


async def _tenant_page(visit: PersonsVisit, tenant_id: int, problem: Problem | None = None) -> Response:
    tenant = await routes.read_tenant(tenant_id, visit.caller)
    quotas = (await routes.read_quotas(tenant_id, visit.caller)).items
    others: list[Any] = (await routes.list_tenants(visit.caller)).items
    return visit.form_page(
        "tenants/tenant.html",
        problem,
        shown=tenant,
        quotas=quotas,
        others={str(one.id): one.name for one in others if one.id != tenant_id},
        is_own=tenant_id == visit.tenant.id,
    )


@router.get(PAGE + "/{id}")
async def show_tenant(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """One tenant."""
    return await _tenant_page(visit, id)


@router.post(PAGE + "/{id}/departement")
async def set_department(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Where one's own tenant is."""
    try:
        given = {"department": visit.form.text("department") or None}
        body = _department(given)
        await done(routes.update_tenant(id, body, visit.caller))
    except Problem as problem:
        return await _again(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("Le département est enregistré."))


@router.post(PAGE + "/{id}/nom")
async def rename(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """What people call one's own tenant."""
    try:
        body = checked(routes.TenantPatch, {"name": visit.form.text("name")})
        await done(routes.update_tenant(id, body, visit.caller))
    except Problem as problem:
        return await _again(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("Le nom est changé."))


@router.post(PAGE + "/{id}/fermeture")
async def close(id: Id, visit: OperatorsVisit) -> Response:  # noqa: A002 - The path's word.
    """Close another tenant, once that was confirmed; or open it again."""
    closed = bool(visit.form.text("closed"))
    if closed and not visit.form.text("sure"):
        return await _again(visit, id, Problem(422, visit.gettext("Cochez la case pour confirmer.")))
    try:
        await check_proof_of(visit.form, visit.caller)
        await done(routes.close_tenant(id, routes.ClosedBody(closed=closed), visit.caller))
    except Problem as problem:
        return await _again(visit, id, problem)
    said = (
        visit.gettext("Elle est fermée.") if closed else visit.gettext("Elle est rouverte, telle qu’elle était.")
    )
    return visit.go(f"{PAGE}/{id}", said)


def _department(given: dict[str, str | None]) -> routes.TenantPatch:
    try:
        return routes.TenantPatch.model_validate(given)
    except ValueError:
        message = "code de département attendu : 29, 2A ou 974 par exemple"
        raise invalid("department", "department", message) from None


async def _again(visit: PersonsVisit, tenant_id: int, problem: Problem) -> Response:
    if problem.status == NOT_FOUND:
        raise problem
    return await _tenant_page(visit, tenant_id, problem)


@router.post(PAGE + "/{id}/quotas")
async def set_quotas(id: Id, visit: OperatorsVisit) -> Response:  # noqa: A002 - The path's word.
    """How many objects of each kind it may have; an empty field is the default."""
    try:
        known: list[Any] = (await routes.read_quotas(id, visit.caller)).items
        wanted = {one.kind: visit.form.text(one.kind) or None for one in known if one.kind in visit.form.fields}
        body = _quotas(wanted)
        await done(routes.set_quotas(id, body, visit.caller))
    except Problem as problem:
        return await _again(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("Les quotas sont enregistrés. Ce qui existe déjà reste."))


def _quotas(wanted: dict[str, str | None]) -> routes.QuotasBody:
    try:
        return routes.QuotasBody.model_validate({"quotas": wanted}, strict=False)
    except ValueError:
        raise Problem(422, "un quota est un nombre entier, 10 000 000 au plus ; vide : celui par défaut") from None


@router.post(PAGE + "/{id}/syndicat")
async def set_member_of(id: Id, visit: OperatorsVisit) -> Response:  # noqa: A002 - The path's word.
    """Of which other tenant it is a member."""
    try:
        body = sharing.MemberOf(tenant_id=number_of(visit.form.text("tenant_id")))
        await done(sharing.set_member_of(id, body, visit.caller))
    except Problem as problem:
        return await _again(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("C’est enregistré."))


@router.post(PAGE + "/{id}/adresses")
async def allow_destinations(id: Id, visit: OperatorsVisit) -> Response:  # noqa: A002 - The path's word.
    """Where its messages may go, outside the Internet."""
    try:
        body = _destinations(visit.form.text("webhook_allow_list").split())
        await done(routes.allow_destinations(id, body, visit.caller))
    except Problem as problem:
        return await _again(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("C’est enregistré."))


def _destinations(listed: list[str]) -> routes.AllowListBody:
    try:
        return routes.AllowListBody.model_validate({"webhook_allow_list": listed})
    except ValueError:
        message = "réseaux (192.0.2.0/24) ou noms d'hôtes attendus, 50 au plus"
        raise invalid("webhook_allow_list", "destination", message) from None
