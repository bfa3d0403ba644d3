"""One's own account: password, second factor, other sessions."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.auth import Caller, RequireRight
from api.fields import Answer, Body, Id, answer_of, example
from api.login import Attempt
from api.pages import Page
from api.routes.sessions import Code, NewPassword, Proof, Secret, check_proof, hash_of_new
from api.totp import make_secret, matching_step, uri_of
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from registry import people, sessions

router = APIRouter(prefix="/v1/account", tags=["sessions"], responses=PROBLEM_RESPONSES)

Person = Annotated[Caller, Depends(RequireRight("read"))]
ProvenPerson = Annotated[Caller, Depends(RequireRight("read", proved=True))]


class ChangedPassword(Body):
    """L'ancien mot de passe et le nouveau."""

    model_config = example({"current": "…", "password": "…"})

    current: Secret
    password: NewPassword


class TotpCode(Body):
    """Le code que montre le téléphone."""

    model_config = example({"code": "123456"})

    code: Code


class TotpSecret(Answer):
    """Un second facteur, à confirmer ; montré cette seule fois."""

    secret: str = Field(description="À taper dans l'application du téléphone")
    uri: str = Field(description="La même chose, pour un QR code")


class RecoveryCodes(Answer):
    """Codes de secours, montrés cette seule fois ; chacun remplace une fois le téléphone."""

    recovery_codes: list[str]


class OwnSession(answer_of(sessions.ShownSession)):
    """Une session ouverte : d'où, depuis quand, vue pour la dernière fois."""

    tenant: str = Field(description="Collectivité pour laquelle elle travaille", examples=["landerneau"])
    address: str = Field(description="Adresse de la dernière requête", examples=["192.0.2.7"])
    user_agent: str = Field(description="Navigateur, tel qu'il se nomme")
    last_seen_at: datetime = Field(description="Dernière requête, à la minute")
    is_current: bool = Field(description="Celle de cette requête")


class ClosedSessions(Answer):
    """Combien de sessions ont été fermées."""

    closed: int


@router.put("/password", status_code=204, summary="Changer son mot de passe")
async def change_password(body: ChangedPassword, caller: Person) -> Response:
    """Changer son mot de passe ; les autres sessions du compte se ferment."""
    session = caller.person()
    await check_proof(caller, Proof(password=body.current))
    hashed = await hash_of_new(caller.platform, body.password, session.row.email)
    async with caller.changing() as change:
        await people.set_password(change.connection, session.row.person_id, hashed, session.digest)
        await change.audit("change", "password", session.row.person_id, after={"other_sessions": "closed"})
    return Response(status_code=204)


@router.get("/sessions", operation_id="listOwnSessions", summary="Lister ses sessions")
async def list_own(caller: Person) -> Page[OwnSession]:
    """Les sessions ouvertes de son compte, dans toutes ses collectivités, la dernière vue d'abord."""
    session = caller.person()
    async with caller.reading() as connection:
        found = await sessions.list_sessions(connection, session.digest)
    return Page(items=[OwnSession.model_validate(one) for one in found], next=None)


@router.delete(
    "/sessions/{id}", operation_id="closeOwnSession", status_code=204, summary="Fermer une de ses sessions"
)
async def close_one(id: Id, caller: Person) -> Response:
    """Fermer une de ses sessions : elle n'ouvre plus rien, dès sa requête suivante."""
    session = caller.person()
    async with caller.changing() as change:
        known = await sessions.list_sessions(change.connection, session.digest)
        former = next((OwnSession.model_validate(one) for one in known if one.id == id), None)
        if former is None or not await sessions.close_session_of(change.connection, session.digest, id):
            raise not_found(f"session {id}")
        await change.audit("close", "session", session.row.person_id, before=former)
    return Response(status_code=204)


@router.delete("/sessions", operation_id="closeOtherSessions", summary="Fermer ses autres sessions")
async def close_others(caller: Person) -> ClosedSessions:
    """Fermer toutes ses sessions sauf celle-ci."""
    session = caller.person()
    async with caller.changing() as change:
        closed = await sessions.close_sessions(change.connection, session.row.person_id, session.digest)
        await change.audit(
            "close_others", "session", session.row.person_id, before={"open": closed}, after={"open": 0}
        )
    return ClosedSessions(closed=closed)


@router.post("/totp", status_code=201, summary="Préparer un second facteur")
async def prepare_totp(caller: ProvenPerson) -> TotpSecret:
    """Un secret pour l'application d'un téléphone ; il compte dès qu'un premier code l'a confirmé."""
    session, secret = caller.person(), make_secret()
    wrapped, kek_id = caller.platform.keys.wrap_secret(secret, people.totp_owner(session.row.person_id))
    async with caller.changing() as change:
        if not await people.set_totp(change.connection, session.row.person_id, wrapped, kek_id):
            raise Problem(409, "un second facteur est déjà en place : retirez-le d'abord")
        await change.audit("prepare", "totp", session.row.person_id, after={"confirmed": False})
    return TotpSecret(secret=secret, uri=uri_of(secret, session.row.email))


@router.post("/totp/confirm", summary="Confirmer le second facteur")
async def confirm_totp(body: TotpCode, caller: ProvenPerson) -> RecoveryCodes:
    """Confirmer par un premier code ; rend les codes de secours. Chaque connexion demande ensuite un code."""
    session = caller.person()
    attempt = Attempt(caller.platform, session.row.email, caller.address)
    await attempt.require_unlocked()
    login = await sessions.find_secrets(caller.platform.pool, session.row.person_id)
    if login is None or login.totp_wrapped is None or login.has_totp:
        raise Problem(409, "aucun second facteur n'attend d'être confirmé")
    secret = caller.platform.keys.unwrap_text(login.totp_wrapped, people.totp_owner(session.row.person_id))
    step = matching_step(secret, body.code, datetime.now(UTC).timestamp())
    if step is None:
        raise await attempt.fail(
            422,
            "code incorrect : vérifiez que l'heure de votre téléphone est automatique, et tapez le code affiché",
        )
    codes = people.make_recovery_codes()
    async with caller.changing() as change:
        await sessions.use_totp_step(change.connection, session.row.person_id, step)
        if not await people.confirm_totp(change.connection, session.row.person_id, codes):
            raise Problem(409, "aucun second facteur n'attend d'être confirmé")
        before, after = {"confirmed": False}, {"confirmed": True}
        await change.audit("confirm", "totp", session.row.person_id, before=before, after=after)
    return RecoveryCodes(recovery_codes=codes)


@router.delete("/totp", status_code=204, summary="Retirer le second facteur")
async def remove_totp(caller: ProvenPerson) -> Response:
    """Revenir au mot de passe seul ; les codes de secours ne valent plus."""
    session = caller.person()
    async with caller.changing() as change:
        await people.drop_totp(change.connection, session.row.person_id)
        before = {"confirmed": session.row.has_totp}
        await change.audit("remove", "totp", session.row.person_id, before=before)
    return Response(status_code=204)
