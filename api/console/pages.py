"""How a page answers: errors are pages too, in words, with a number that is in the log."""

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from api.console.forms import CARRIED, DESTINATION
from api.console.language import Language
from api.console.rendering import render_beginning
from api.console.visits import LOGIN_PAGE, SEE_OTHER, PersonsVisit, SessionNeeded, Visit, code_of, is_part
from api.dependencies import Dependencies
from api.forbidden import record_forbidden
from core.model.region import PARIS
from core.runtime.errors import describe
from core.runtime.http.errors import Problem, problem_of
from core.runtime.postgres import DATABASE_AWAY

# Nothing runs or is loaded that is not a file of ours.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:{tiles}; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HTML = "text/html"
# Where a page's own content begins, in base.html.
CONTENT = '<main id="contenu"'

log = structlog.get_logger()


class PageRoute(APIRoute):
    """A route of the console."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own, with errors as pages, and the policy of what a page may load."""
        answer = super().get_route_handler()

        async def page(request: Request) -> Response:
            return guarded(request, await _answered(request, answer(request)))

        return page


async def _answered(request: Request, answering: Awaitable[Response]) -> Response:
    """What is awaited, or a page that says why not."""
    try:
        response = await answering
    except SessionNeeded as needed:
        response = _login_first(request, needed)
    except Problem as problem:
        await record_forbidden(request, problem)
        response = error_page(request, problem.status, problem.detail)
    except RequestValidationError:
        response = error_page(request, 404)
    except HTTPException as error:
        response = error_page(request, error.status_code)
    except DATABASE_AWAY as away:
        log.warning("page_refused_database_away", error=describe(away))
        response = error_page(request, 503)
    except Exception as error:  # noqa: BLE001 - A page, and a line in the log.
        response = await _failed(request, error)
    return response


def begun_page(
    visit: PersonsVisit, template: str, reading: Callable[[], Awaitable[Mapping[str, Any]]]
) -> Response:
    """A page of which the menu goes out before what it shows is read.

    A browser fetches style sheets and draws the menu meanwhile. What goes wrong then is said where the content
    would be, under the status 200 that is gone. The visit is one that lasts until the page was sent.
    """
    beginning = render_beginning(template, visit.language, visit.context(), CONTENT)

    async def pieces() -> AsyncGenerator[str]:
        yield beginning

        async def rest() -> Response:
            content = await reading()
            await visit.caller.end_sharing()  # A slow reader of the page keeps nobody waiting.
            return visit.page(template, **content)

        whole = bytes((await _answered(visit.request, rest())).body).decode()
        yield whole[whole.index(CONTENT) :]

    response = StreamingResponse(pieces(), media_type=HTML)
    visit.forget_message(response)
    return response


async def _failed(request: Request, error: Exception) -> Response:
    """What the database rejects is told as the API tells it; anything else is ours to mend."""
    rejected = problem_of(error)
    if rejected is None:
        log.error("page_failed", method=request.method, path=request.url.path, exc_info=error)
        return error_page(request, 500)
    await record_forbidden(request, rejected)
    return error_page(request, rejected.status, rejected.detail)


def guarded(request: Request, response: Response) -> Response:
    """The answer with the policy of what a page may load: from elsewhere only the background of maps."""
    platform: Dependencies = request.app.state.platform
    parts = urlsplit(platform.access.tiles_url)
    tiles = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    response.headers.setdefault("Content-Security-Policy", POLICY.format(tiles=tiles))
    return response


def page_router() -> APIRouter:
    """Where the routes of a page go; they are no part of the API's document."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)


def _login_first(request: Request, needed: SessionNeeded) -> Response:
    """To the login, and back: a page by its address, a form with what was typed; a part of a page is refused."""
    if is_part(request):
        return Response(status_code=401)
    address = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    if request.method == "GET":
        return Response(
            status_code=SEE_OTHER, headers={"Location": f"{LOGIN_PAGE}?{DESTINATION}={quote(address)}"}
        )
    visit = Visit(request, Language(code_of(request), PARIS))
    carried = [(f"{CARRIED}{name}", value) for name, value in needed.form.carried()]
    return visit.page("login/login.html", 401, destination=address, carried=carried, values={}, problem=None)


def error_page(request: Request, status: int, detail: str = "") -> Response:
    """What happened and what to do, for people."""
    number = secrets.token_hex(4)
    log.info("error_page", number=number, status=status, method=request.method, path=request.url.path)
    visit = Visit(request, Language(code_of(request), PARIS))
    return visit.page("error.html", status, status=status, detail=detail, number=number)


def wants_page(request: Request) -> bool:
    """Whether a browser asks for an address outside the API."""
    return HTML in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")
