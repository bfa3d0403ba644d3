"""One's own account: password, second factor, sessions, and how the console looks."""

from typing import Any

from fastapi import Response

from api.console.account.agents import in_words
from api.console.pages import page_router
from api.console.proof import check_proof_of
from api.console.visits import CHOICE_LASTS_S, PersonsVisit, ReadersVisit
from api.fields import Id
from api.routes import account as routes
from api.routes import sessions
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/compte"
THEMES = ("", "light", "dark")


async def _page(visit: PersonsVisit, problem: Problem | None = None, **content: Any) -> Response:
    session = await sessions.read_session(visit.caller)
    return visit.form_page(
        "account/page.html",
        problem,
        session=session,
        opened=(await routes.list_own(visit.caller)).items,
        in_words=in_words,
        has_provider=visit.dependencies.access.provider is not None,
        **({"secret": None, "codes": None} | content),
    )


@router.get(PAGE)
async def show(visit: ReadersVisit) -> Response:
    """The page."""
    return await _page(visit)


@router.post(f"{PAGE}/mot-de-passe")
async def change_password(visit: ReadersVisit) -> Response:
    """A new password; other sessions end."""
    try:
        await routes.change_password(visit.form.of(routes.ChangedPassword), visit.caller)
    except Problem as problem:
        return await _page(visit, problem)
    return visit.go(PAGE, visit.gettext("Mot de passe changé ; vos autres sessions sont fermées."))


@router.post(f"{PAGE}/sessions")
async def close_others(visit: ReadersVisit) -> Response:
    """End every session but this one."""
    closed = await routes.close_others(visit.caller)
    said = visit.gettext("Autres sessions fermées :")
    return visit.go(PAGE, f"{said} {closed.closed}")


@router.post(PAGE + "/sessions/{id}")
async def close_one(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """End one of one's sessions."""
    await routes.close_one(id, visit.caller)
    return visit.go(PAGE, visit.gettext("Cette session est fermée."))


@router.post(f"{PAGE}/second-facteur")
async def change_second_factor(visit: ReadersVisit) -> Response:
    """Prepare, confirm or remove the code of a telephone; each asks for the password first where it is due."""
    form, caller = visit.form, visit.caller
    try:
        await check_proof_of(form, caller)
        match form.text("act"):
            case "prepare":
                return await _page(visit, secret=await routes.prepare_totp(caller))
            case "confirm":
                confirmed = await routes.confirm_totp(form.of(routes.TotpCode), caller)
                return await _page(visit, codes=confirmed.recovery_codes)
            case "remove":
                await routes.remove_totp(caller)
            case _:
                return visit.go(PAGE, visit.gettext("Choisissez ce qu’il faut faire."))
    except Problem as problem:
        return await _page(visit, problem)
    return visit.go(PAGE, visit.gettext("Le code n’est plus demandé."))


@router.post(f"{PAGE}/apparence")
async def choose_theme(visit: ReadersVisit) -> Response:
    """Light, dark, or as the machine."""
    answer = visit.go(PAGE)
    theme = visit.form.text("theme")
    if theme in THEMES:
        visit.remember(answer, "theme", theme, CHOICE_LASTS_S)
    return answer
