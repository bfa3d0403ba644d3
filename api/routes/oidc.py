"""Logging in by a provider of identities: a redirection there, and the way back."""

from typing import Annotated
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.auth import session_of
from api.cookies import is_plain_loopback
from api.dependencies import Dependencies
from api.fields import Slug
from api.oidc import Identity, InvalidToken, Provider, ProviderAway, provider_away
from api.origin import origin_of
from api.routes.sessions import start_session
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from registry import identities

router = APIRouter(prefix="/v1/oidc", tags=["sessions"], responses=PROBLEM_RESPONSES)

FLOW_COOKIE, LOOPBACK_FLOW_COOKIE = "__Host-territoire-oidc", "territoire-oidc"
FLOW_LASTS_S = 600
HOME = "/"


class FlowCookie(msgspec.Struct, frozen=True):
    """What the browser keeps while it is at the provider's."""

    state: str
    nonce: str
    verifier: str
    tenant: str | None = None
    invitation: str | None = None
    link: bool = False


def _dependencies(request: Request) -> Dependencies:
    return request.app.state.platform


def _provider(dependencies: Dependencies) -> Provider:
    if dependencies.access.provider is None:
        raise Problem(404, "aucun fournisseur d'identité n'est configuré (TERRITOIRE_OIDC_ISSUER)")
    return dependencies.access.provider


def _redirect_uri(request: Request, dependencies: Dependencies) -> str:
    base = dependencies.access.public_url or str(request.base_url)
    return f"{base.rstrip('/')}/v1/oidc/callback"


def _cookie_name(request: Request) -> str:
    return LOOPBACK_FLOW_COOKIE if is_plain_loopback(request) else FLOW_COOKIE


@router.get(
    "/login", operation_id="beginOidcLogin", status_code=303, summary="Se connecter par le fournisseur d'identité"
)
async def begin(
    request: Request,
    tenant: Annotated[Slug | None, Query(description="Pour quelle collectivité ; absente : la première")] = None,
    invitation: Annotated[
        str | None, Query(max_length=100, description="Le texte du lien d'une invitation, pour l'accepter ainsi")
    ] = None,
    link: Annotated[bool, Query(description="Lier cette identité au compte de la session ouverte")] = False,
) -> Response:
    """Envoyer le navigateur chez le fournisseur (code avec PKCE). Sans clé ni session."""
    platform = _dependencies(request)
    try:
        flow = await _provider(platform).begin(_redirect_uri(request, platform))
    except ProviderAway:
        raise provider_away() from None
    answer = RedirectResponse(flow.url, 303)
    kept = FlowCookie(flow.state, flow.nonce, flow.verifier, tenant, invitation, link)
    answer.set_cookie(
        _cookie_name(request),
        msgspec.json.encode(kept).hex(),
        max_age=FLOW_LASTS_S,
        path="/",
        secure=not is_plain_loopback(request),
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get(
    "/callback", operation_id="finishOidcLogin", status_code=303, summary="Revenir du fournisseur d'identité"
)
async def finish(
    request: Request,
    state: Annotated[str, Query(max_length=200, description="Ce que nous avions donné au fournisseur")] = "",
    code: Annotated[str, Query(max_length=4000, description="Le code que le fournisseur a donné")] = "",
) -> Response:
    """Ouvrir une session pour le compte lié à cette identité : émetteur et sujet, jamais l'adresse seule."""
    platform = _dependencies(request)
    address = origin_of(request, platform.access.proxies)
    kept = _kept(request)
    if kept is None or not code or state != kept.state:
        why = "cette connexion n'a pas commencé ici, ou a duré plus de dix minutes : recommencez"
        await platform.rejections.record(address, "oidc", {"why": why})
        raise Problem(401, why)
    try:
        identity = await _provider(platform).finish(
            _redirect_uri(request, platform), code, kept.nonce, kept.verifier
        )
    except InvalidToken as wrong:
        await platform.rejections.record(address, "oidc", {"why": str(wrong)})
        raise Problem(401, str(wrong)) from None
    except ProviderAway:
        raise provider_away() from None
    answer = RedirectResponse(HOME, 303)
    person_id, tenant = await _person(request, kept, identity, address)
    await start_session(request, answer, person_id, tenant, "oidc")
    answer.delete_cookie(_cookie_name(request), path="/", secure=not is_plain_loopback(request), httponly=True)
    return answer


def _kept(request: Request) -> FlowCookie | None:
    try:
        return msgspec.json.decode(bytes.fromhex(request.cookies[_cookie_name(request)]), type=FlowCookie)
    except (KeyError, ValueError, msgspec.DecodeError):
        return None


async def _person(request: Request, kept: FlowCookie, identity: Identity, address: str) -> tuple[int, str | None]:
    """Whose account it opens, and for which tenant; raises 403 or 409 when none."""
    platform = _dependencies(request)
    if kept.link:
        session = await session_of(request)
        if session is None:
            raise Problem(403, "ouvrez d'abord une session, puis liez cette identité")
        async with session.changing() as change:
            person = session.person().row
            if not await identities.link_identity(
                change.connection, person.person_id, identity.issuer, identity.subject
            ):
                raise Problem(409, "cette identité ouvre déjà un compte")
            await change.audit("link", "identity", person.person_id, after={"issuer": identity.issuer})
        return person.person_id, person.tenant_slug
    known = await identities.find_identity(platform.pool, identity.issuer, identity.subject)
    if known is not None:
        return known.person_id, kept.tenant
    if kept.invitation is not None:
        made = await identities.accept_invitation(
            platform.pool, kept.invitation, identity.issuer, identity.subject, address
        )
        if made is not None:
            return made, kept.tenant
    given = {"issuer": identity.issuer, "invited": kept.invitation is not None}
    await platform.rejections.record(address, "oidc", given)
    if kept.invitation is not None:
        raise Problem(
            409,
            "cette invitation a servi ou a expiré, ou un compte existe déjà à cette adresse : connectez-vous, "
            f"puis liez l'identité (/v1/oidc/login?{urlencode({'link': 'true'})})",
        )
    raise Problem(403, "aucun compte n'est lié à cette identité : demandez une invitation")
