"""Sessions of people: opened with a password, proved again before what is grave, closed."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError
from starlette.background import BackgroundTask

from api.auth import Caller, Reader
from api.cookies import csrf_token, delete_cookie, set_cookie
from api.dependencies import Dependencies
from api.fields import Answer, Body, Name, Slug, example
from api.links import RESET, send_link
from api.login import Attempt
from api.origin import origin_of
from core.model.rights import rights_of
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from registry import people, sessions
from registry.passwords import LONGEST, TooManyPasswords, weakness
from registry.people import token_digest
from registry.sessions import Membership, Session

router = APIRouter(prefix="/v1", tags=["sessions"], responses=PROBLEM_RESPONSES)


def _email(text: str) -> str:
    name, _, domain = text.rpartition("@")
    if not name or not domain or any(character.isspace() for character in text):
        raise PydanticCustomError("email", "adresse de courrier attendue")
    return text.lower()


Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=254, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(_email),
    Field(examples=["jeanne.le-goff@landerneau.example"]),
]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=LONGEST, json_schema_extra={"writeOnly": True})]
NewPassword = Annotated[
    SecretStr,
    Field(
        min_length=1,
        max_length=LONGEST,
        json_schema_extra={"writeOnly": True},
        description="12 caractères au moins",
    ),
]
Code = Annotated[str, StringConstraints(min_length=6, max_length=40, pattern=r"^[0-9a-zA-Z -]+$")]
Token = Annotated[SecretStr, Field(min_length=20, max_length=100, description="Le texte du lien, après « # »")]


class Credentials(Body):
    """De quoi ouvrir une session."""

    model_config = example({"email": "jeanne.le-goff@landerneau.example", "password": "…"})

    email: Email
    password: Secret
    code: Code | None = Field(None, description="Code du téléphone, ou code de secours, si le compte en demande")
    tenant: Slug | None = Field(None, description="Pour quelle collectivité ; absente : la première")


class Proof(Body):
    """Son mot de passe, ou un code de son téléphone."""

    model_config = example({"password": "…"})

    password: Secret | None = None
    code: Code | None = None


class ChosenTenant(Body):
    """Pour quelle collectivité travailler."""

    model_config = example({"tenant": "landerneau"})

    tenant: Slug


class MembershipAnswer(Answer):
    """Une collectivité où l'on a un rôle."""

    slug: str
    name: str
    role: str


class SessionAnswer(Answer):
    """La session ouverte."""

    person_id: int
    email: str
    name: str
    tenant: str = Field(description="Identifiant court de la collectivité", examples=["landerneau"])
    role: str = Field(examples=["service_manager"])
    rights: list[str]
    memberships: list[MembershipAnswer] = Field(description="Où l'on peut travailler : PUT /v1/session/tenant")
    has_totp: bool = Field(description="Si le compte demande un code à chaque connexion")
    expires_at: datetime
    csrf_token: str = Field(description="À renvoyer dans X-CSRF-Token avec chaque modification")


# In examples of the document, which may be sent as they are.
EXAMPLE_TOKEN = "0123456789abcdefghijklmnopqrstuv"  # noqa: S105 - Of nothing.
EXAMPLE_PASSWORD = "quatre mots pris au hasard"  # noqa: S105 - Nobody's.


class AcceptedInvitation(Body):
    """Une invitation, acceptée."""

    model_config = example({"token": EXAMPLE_TOKEN, "name": "Jeanne Le Goff", "password": EXAMPLE_PASSWORD})

    token: Token
    name: Name | None = Field(None, description="Absent : celui de l'invitation")
    password: NewPassword = Field(description="Du compte qui existe déjà à cette adresse, sinon un nouveau")
    code: Code | None = Field(None, description="Si ce compte demande un code")


class ResetRequest(Body):
    """De qui le mot de passe est oublié."""

    model_config = example({"email": "jeanne.le-goff@landerneau.example"})

    email: Email


class FinishedReset(Body):
    """Un nouveau mot de passe."""

    model_config = example({"token": EXAMPLE_TOKEN, "password": EXAMPLE_PASSWORD})

    token: Token
    password: NewPassword


def _dependencies(request: Request) -> Dependencies:
    return request.app.state.platform


async def hash_of_new(dependencies: Dependencies, password: SecretStr, email: str) -> str:
    """The hash of a new password; raises 422 when it is weak."""
    wrong = weakness(password.get_secret_value(), email)
    if wrong is not None:
        raise Problem(422, f"mot de passe trop faible : {wrong}")
    try:
        return await dependencies.passwords.hash_of(password.get_secret_value())
    except TooManyPasswords:
        raise Problem(429, "trop de connexions à la fois, réessayez", headers={"Retry-After": "2"}) from None


def _shown(row: Session, memberships: list[Membership], token: str) -> SessionAnswer:
    return SessionAnswer(
        person_id=row.person_id,
        email=row.email,
        name=row.person_name,
        tenant=row.tenant_slug,
        role=row.role,
        rights=sorted(rights_of(row.role, row.extra_rights)),
        memberships=[MembershipAnswer.model_validate(one) for one in memberships],
        has_totp=row.has_totp,
        expires_at=row.expires_at,
        csrf_token=csrf_token(token),
    )


async def start_session(
    request: Request, response: Response, person_id: int, wanted: str | None, proof: str
) -> SessionAnswer:
    """Open a session of somebody who has proved who they are, with its cookie; 403 when they may work nowhere."""
    platform = _dependencies(request)
    address = origin_of(request, platform.access.proxies)
    memberships = await sessions.list_memberships(platform.pool, person_id)
    chosen = [one for one in memberships if wanted in {None, one.slug}]
    token = None
    if chosen:
        agent = request.headers.get("user-agent", "")
        token = await sessions.open_session(platform.pool, person_id, chosen[0].tenant_id, address, proof, agent)
    row = None if token is None else await sessions.find_session(platform.pool, token_digest(token))
    if token is None or row is None:
        raise Problem(403, "ce compte n'a de rôle dans aucune collectivité, ou pas dans celle-ci")
    set_cookie(request, response, token)
    return _shown(row, memberships, token)


@router.post("/sessions", status_code=201, summary="Ouvrir une session")
async def log_in(body: Credentials, request: Request, response: Response) -> SessionAnswer:
    """Ouvrir une session de douze heures, par un cookie. Sans clé ni session.

    Cinq essais faux d'un compte depuis une adresse, vingt d'une adresse : 15 minutes sans essai (429).
    """
    platform = _dependencies(request)
    attempt = Attempt(platform, body.email, origin_of(request, platform.access.proxies))
    login = await attempt.check(body.password.get_secret_value(), body.code)
    return await start_session(request, response, login.person_id, body.tenant, "password")


@router.get("/session", summary="Lire sa session")
async def read_session(caller: Reader) -> SessionAnswer:
    """Qui l'on est, pour quelle collectivité, avec quels droits."""
    return await _current(caller)


async def _current(caller: Caller) -> SessionAnswer:
    session = caller.person()
    row = await sessions.find_session(caller.platform.pool, session.digest)
    memberships = await sessions.list_memberships(caller.platform.pool, session.row.person_id)
    return _shown(row or session.row, memberships, session.token)


@router.delete("/session", status_code=204, summary="Fermer sa session")
async def log_out(caller: Reader, request: Request) -> Response:
    """Fermer la session : son cookie n'ouvre plus rien, dès la requête suivante."""
    session = caller.person()
    async with caller.changing() as change:
        await sessions.close_session(change.connection, session.digest)
        shown = {"expires_at": session.row.expires_at}
        await change.audit("logout", "session", session.row.person_id, before=shown)
    response = Response(status_code=204)
    delete_cookie(request, response)
    return response


@router.put(
    "/session/tenant", operation_id="chooseSessionTenant", summary="Travailler pour une autre de ses collectivités"
)
async def choose_tenant(body: ChosenTenant, caller: Reader) -> SessionAnswer:
    """Passer la session à une autre collectivité où l'on a un rôle."""
    session = caller.person()
    async with caller.changing() as change:
        if not await sessions.switch_session(change.connection, session.digest, body.tenant):
            raise not_found(f"collectivité {body.tenant}")
        former = {"tenant": session.row.tenant_slug}
        await change.audit("switch_tenant", "session", session.row.person_id, before=former, after=body)
    return await _current(caller)


@router.post("/session/proof", operation_id="proveSession", summary="Confirmer que c'est bien soi")
async def prove(body: Proof, caller: Reader) -> SessionAnswer:
    """Redonner son mot de passe ou un code, avant un partage ou une sortie de clés : vaut dix minutes."""
    await check_proof(caller, body)
    return await _current(caller)


async def check_proof(caller: Caller, proof: Proof) -> None:
    """Raises 401 unless the person of the session has given the right password or code now."""
    session = caller.person()
    attempt = Attempt(caller.platform, session.row.email, caller.address)
    await attempt.require_unlocked()
    login = await sessions.find_secrets(caller.platform.pool, session.row.person_id)
    if login is None or (proof.password is None) == (proof.code is None):
        raise Problem(422, "donnez « password » ou « code », l'un des deux")
    if proof.password is not None:
        proved = await attempt.check_password(login, proof.password.get_secret_value())
    else:
        proved = login.has_totp and await attempt.check_code(login, proof.code or "")
    if not proved:
        raise await attempt.fail(401, "mot de passe ou code incorrect")
    await attempt.succeed()
    async with caller.changing() as change:
        await sessions.prove_session(change.connection, session.digest)
        before, after = {"proved_at": session.row.proved_at}, {"proved_at": datetime.now(UTC)}
        await change.audit("prove", "session", session.row.person_id, before=before, after=after)


@router.post("/invitations/accept", status_code=201, summary="Accepter une invitation")
async def accept_invitation(body: AcceptedInvitation, request: Request, response: Response) -> SessionAnswer:
    """Devenir membre de la collectivité qui invite, et ouvrir une session. Sans clé ni session.

    Un compte à cette adresse existe déjà : son mot de passe est demandé. Sinon il est créé avec celui-ci.
    """
    platform = _dependencies(request)
    token = body.token.get_secret_value()
    attempt = Attempt(platform, "", origin_of(request, platform.access.proxies))
    await attempt.require_unlocked()
    invited = await people.find_invitation(platform.pool, token)
    if invited is None:
        raise await attempt.fail(401, "cette invitation n'existe pas : vérifiez que le lien est entier")
    if invited.accepted_at is not None:
        raise await attempt.fail(409, "cette invitation a déjà servi : demandez-en une autre")
    if invited.expires_at <= datetime.now(invited.expires_at.tzinfo):
        raise await attempt.fail(409, "cette invitation a expiré : demandez-en une autre")
    hashed = None
    if await sessions.find_login(platform.pool, invited.email) is None:
        hashed = await hash_of_new(platform, body.password, invited.email)
    else:
        of_account = Attempt(platform, invited.email, attempt.address)
        await of_account.check(body.password.get_secret_value(), body.code)
    name = body.name or invited.name
    person_id = await people.accept_invitation(platform.pool, token, name, hashed, attempt.address)
    if person_id is None:
        raise Problem(409, "cette invitation a déjà servi, a expiré, ou ce compte est fermé")
    return await start_session(request, response, person_id, invited.tenant_slug, "invitation")


@router.post(
    "/password-resets",
    operation_id="requestPasswordReset",
    status_code=202,
    summary="Demander un nouveau mot de passe",
)
async def request_reset(body: ResetRequest, request: Request) -> Response:
    """Envoyer à cette adresse, si un compte y est, un lien qui vaut une heure. Sans clé ni session.

    La réponse est la même pour toute adresse. Sans serveur de courrier, un responsable de la
    collectivité montre le lien : POST /v1/people/{id}/password-reset.
    """
    platform = _dependencies(request)
    attempt = Attempt(platform, body.email, origin_of(request, platform.access.proxies))
    await attempt.require_unlocked()
    await sessions.record_failure(platform.pool, body.email, attempt.address)  # A limit on letters, too.
    started = (
        await people.start_reset(platform.pool, body.email, attempt.address) if platform.access.mailer else None
    )
    response = Response(status_code=202)
    if started is not None:  # Afterwards: how long the answer takes says nothing.
        response.background = BackgroundTask(send_link, platform, body.email, RESET, started[1])
    return response


@router.post(
    "/password-resets/finish",
    operation_id="finishPasswordReset",
    status_code=204,
    summary="Choisir un nouveau mot de passe",
)
async def finish_reset(body: FinishedReset, request: Request) -> Response:
    """Choisir un mot de passe par un lien ; toutes les sessions du compte se ferment. Sans clé ni session."""
    platform = _dependencies(request)
    attempt = Attempt(platform, "", origin_of(request, platform.access.proxies))
    await attempt.require_unlocked()
    token, over = (
        body.token.get_secret_value(),
        "ce lien n'existe pas, a déjà servi, ou a expiré : demandez-en un autre",
    )
    email = await people.find_reset(platform.pool, token)
    if email is None:
        raise await attempt.fail(409, over)
    hashed = await hash_of_new(platform, body.password, email)
    if await people.finish_reset(platform.pool, token, hashed, attempt.address) is None:
        raise Problem(409, over)
    return Response(status_code=204)
