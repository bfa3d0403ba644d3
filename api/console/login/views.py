"""Logging in, in one step or two, and out; the first password and a new one, by a link."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Response

from api.console.forms import CARRIED, DESTINATION, Form, errors_by_field, make_token
from api.console.language import COOKIE, NAMES
from api.console.pages import page_router
from api.console.visits import (
    CHOICE_LASTS_S,
    FIRST_PAGE,
    LOGIN_PAGE,
    SEE_OTHER,
    Anybody,
    ReadersVisit,
    Visit,
    own_address,
    with_cookies_of,
)
from api.login import Attempt
from api.origin import origin_of
from api.routes import sessions as routes
from core.runtime.http.errors import Problem
from registry import sessions
from registry.keys import WrongKek

router = page_router()

# Between the password and the code.
TICKET_LASTS = timedelta(minutes=5)


def _ticket_owner(account: str, address: str) -> str:
    return f"login/{account}/{address}"


def _make_ticket(attempt: Attempt) -> str:
    """Says that the password was right: sealed for this account and address, for a few minutes."""
    until = (datetime.now(UTC) + TICKET_LASTS).isoformat()
    return attempt.platform.keys.wrap_text(until, _ticket_owner(attempt.account, attempt.address)).hex()


def _is_valid(ticket: str, attempt: Attempt) -> bool:
    try:
        sealed = bytes.fromhex(ticket)
        until = attempt.platform.keys.unwrap_text(sealed, _ticket_owner(attempt.account, attempt.address))
        return datetime.now(UTC) < datetime.fromisoformat(until)
    except (ValueError, WrongKek):
        return False


def _carried(form: Form) -> list[tuple[str, str]]:
    """What was typed before a session ended, still under its names of the login's form."""
    return [
        (name, value)
        for name, value in form.fields.multi_items()
        if isinstance(value, str) and name.startswith(CARRIED)
    ]


def _form_page(visit: Visit, status: int, problem: Problem | None = None, **content: Any) -> Response:
    form = visit.form
    return visit.page(
        "login/login.html",
        status,
        destination=own_address(form.text(DESTINATION) or visit.request.query_params.get(DESTINATION, "")),
        carried=_carried(form),
        values={"email": form.text("email")},
        problem=problem,
        errors=errors_by_field(problem),
        **content,
    )


@router.get(LOGIN_PAGE)
async def show_login(visit: Anybody) -> Response:
    """The login's form."""
    return _form_page(visit, 200)


@router.post(LOGIN_PAGE)
async def log_in(visit: Anybody) -> Response:
    """Check the password, then the code where the account has a second factor; then on to where one was going."""
    form, platform = visit.form, visit.dependencies
    attempt = Attempt(platform, form.text("email").lower(), origin_of(visit.request, platform.access.proxies))
    try:
        if form.text("ticket"):
            person_id = await _finish(attempt, form)
        else:
            login = await attempt.check_account(str(form.fields.get("password", "")))
            if login.has_totp:
                return _form_page(visit, 200, ticket=_make_ticket(attempt))
            await attempt.succeed()
            person_id = login.person_id
        response = Response()
        session = await routes.start_session(visit.request, response, person_id, None, "password")
    except Problem as problem:
        again = form.text("ticket") if _is_valid(form.text("ticket"), attempt) else ""
        return _form_page(visit, problem.status, problem, ticket=again)
    destination = own_address(form.text(DESTINATION))
    carried = [(name.removeprefix(CARRIED), value) for name, value in _carried(form)]
    if carried:
        token = make_token(_cookie_of(response))
        answer: Response = visit.page(
            "login/resume.html", 200, destination=destination, carried=carried, token=token
        )
    elif len(session.memberships) > 1 and not form.text(DESTINATION):
        answer = visit.go("/collectivite")
    else:
        answer = visit.go(destination)
    return with_cookies_of(answer, response)


def _cookie_of(response: Response) -> str:
    """The token of the session that was just opened."""
    return response.headers["set-cookie"].partition("=")[2].partition(";")[0]


async def _finish(attempt: Attempt, form: Form) -> int:
    """The second step: who it is when the ticket holds and the code is right."""
    await attempt.require_unlocked()
    if not _is_valid(form.text("ticket"), attempt):
        raise Problem(401, "trop de temps a passé depuis le mot de passe : donnez-le de nouveau")
    login = await sessions.find_login(attempt.platform.pool, attempt.account)
    if login is None:
        raise await attempt.fail(401, "adresse ou mot de passe incorrect")
    await attempt.check_second_factor(login, form.text("code"))
    await attempt.succeed()
    return login.person_id


@router.post("/deconnexion")
async def log_out(visit: ReadersVisit) -> Response:
    """End the session."""
    ended = await routes.log_out(visit.caller, visit.request)
    answer = visit.go(LOGIN_PAGE, visit.gettext("Vous êtes déconnecté."))
    return with_cookies_of(answer, ended)


@router.get("/collectivite")
async def show_tenants(visit: ReadersVisit) -> Response:
    """For which of one's tenants to work."""
    session = await routes.read_session(visit.caller)
    return visit.page("login/tenants.html", memberships=session.memberships, current=session.tenant)


@router.post("/collectivite")
async def choose_tenant(visit: ReadersVisit) -> Response:
    """Work for another one."""
    await routes.choose_tenant(visit.form.of(routes.ChosenTenant), visit.caller)
    return visit.go(FIRST_PAGE)


@router.post("/langue")
async def choose_language(visit: Anybody) -> Response:
    """Read in another language from now on."""
    answer = visit.go(own_address(visit.form.text(DESTINATION)))
    code = visit.form.text("langue")
    if code in NAMES:
        visit.remember(answer, COOKIE, code, CHOICE_LASTS_S)
    return answer


@router.get("/invitation")
async def show_invitation(visit: Anybody) -> Response:
    """The form of a new account; what the link holds after `#` is filled in by the page's script."""
    return visit.page("login/invitation.html", values={}, problem=None, errors={})


@router.post("/invitation")
async def accept_invitation(visit: Anybody) -> Response:
    """Become a member and begin."""
    response = Response()
    try:
        body = visit.form.of(routes.AcceptedInvitation)
        await routes.accept_invitation(body, visit.request, response)
    except Problem as problem:
        values = {"token": visit.form.text("token"), "name": visit.form.text("name")}
        return visit.form_page("login/invitation.html", problem, values=values)
    answer = visit.go(FIRST_PAGE, visit.gettext("Bienvenue."))
    return with_cookies_of(answer, response)


@router.get("/mot-de-passe-oublie")
async def show_forgotten(visit: Anybody) -> Response:
    """Ask for a link."""
    has_mail = visit.dependencies.access.mailer is not None
    return visit.page("login/forgotten.html", has_mail=has_mail, sent=False, problem=None, values={}, errors={})


@router.post("/mot-de-passe-oublie")
async def ask_reset(visit: Anybody) -> Response:
    """The same answer for every address."""
    problem, background = None, None
    try:
        asked = await routes.request_reset(visit.form.of(routes.ResetRequest), visit.request)
        background = asked.background
    except Problem as raised:
        problem = raised
    page = visit.form_page(
        "login/forgotten.html",
        problem,
        has_mail=visit.dependencies.access.mailer is not None,
        sent=problem is None,
        values={"email": visit.form.text("email")},
    )
    page.background = background
    return page


@router.get("/reset")
async def show_reset(visit: Anybody) -> Response:
    """Choose a new password."""
    return visit.page("login/reset.html", values={}, problem=None, errors={})


@router.post("/reset")
async def finish_reset(visit: Anybody) -> Response:
    """From now on it is this one."""
    try:
        await routes.finish_reset(visit.form.of(routes.FinishedReset), visit.request)
    except Problem as problem:
        return visit.form_page("login/reset.html", problem, values={"token": visit.form.text("token")})
    return Response(status_code=SEE_OTHER, headers={"Location": LOGIN_PAGE})
