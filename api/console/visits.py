"""Who looks at a page: a person with an open session, and with the right that the page demands."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlsplit

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.asset_state_store import list_kinds
from api.auth import Caller, by_session
from api.console import forms
from api.console.explanations import help_of
from api.console.forms import Form, read_form
from api.console.language import COOKIE, Language, known_code
from api.console.navigation import groups_for
from api.console.proof import is_proof_due
from api.console.rendering import render
from api.console.wording import ROLE_NAMES
from api.cookies import SAFE_METHODS, is_plain_loopback
from api.dependencies import Dependencies
from api.shared_reading import SharedReading
from core.model.entities import Tenant
from core.model.region import PARIS, region_of
from core.model.rights import Right
from core.runtime.http.errors import Problem
from registry.tenants import read_with_timezone

LOGIN_PAGE, FIRST_PAGE = "/connexion", "/supervision"
MESSAGE_COOKIE = "message"
MESSAGE_LASTS_S = 30
CHOICE_LASTS_S = 365 * 86_400
LONGEST_MESSAGE = 500
SEE_OTHER, UNAUTHENTICATED = 303, 401
EVENT_STREAM = "text/event-stream"


class SessionNeeded(Exception):
    """Nobody has logged in, or the session is over; what was typed goes on through the login."""

    def __init__(self, form: Form) -> None:
        super().__init__("session needed")
        self.form = form


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a browser."""

    request: Request
    language: Language
    form: Form = field(default_factory=Form)

    @property
    def dependencies(self) -> Dependencies:
        """What the application is made of."""
        return self.request.app.state.platform

    def gettext(self, french: str) -> str:
        """A text of the console in the visitor's language."""
        return self.language.gettext(french)

    def context(self) -> dict[str, Any]:
        """What every template may use."""
        return {
            "visit": self,
            "request": self.request,
            "language": self.language,
            "message": unquote(self.request.cookies.get(MESSAGE_COOKIE, ""))[:LONGEST_MESSAGE],
            "now": datetime.now(UTC),
            "help": help_of(self.request.url.path),
            "tiles": self.dependencies.access.tiles_url,
            "attribution": self.dependencies.access.tiles_attribution,
            "theme": self.request.cookies.get("theme", ""),
        }

    def page(self, template: str, status_code: int = 200, **content: Any) -> HTMLResponse:
        """A page, or a part of one."""
        rendered = render(template, self.language, self.context() | content)
        response = HTMLResponse(rendered, status_code)
        self.forget_message(response)
        return response

    def forget_message(self, response: Response) -> None:
        """It is shown once."""
        if MESSAGE_COOKIE in self.request.cookies:
            response.delete_cookie(MESSAGE_COOKIE, path="/")

    def form_page(self, template: str, problem: Problem | None, **content: Any) -> HTMLResponse:
        """A page with a form: what is wrong with what was typed, if anything is, and what was typed (`values`)."""
        return self.page(
            template,
            200 if problem is None else problem.status,
            problem=problem,
            errors=forms.errors_by_field(problem),
            **({"values": values_of(self.form)} | content),
        )

    def go(self, address: str, message: str = "") -> Response:
        """On to another page, which begins with a short message about what was done."""
        response = RedirectResponse(address, SEE_OTHER)
        if message:
            self.remember(response, MESSAGE_COOKIE, quote(message[:LONGEST_MESSAGE]), MESSAGE_LASTS_S)
        return response

    @property
    def address(self) -> str:
        """This page's own, with its filters."""
        query = self.request.url.query
        return f"{self.request.url.path}?{query}" if query else self.request.url.path

    def remember(self, answer: Response, name: str, value: str, lasts_s: int) -> None:
        """Keep a value in the browser for that long, where no script reads it."""
        plain = is_plain_loopback(self.request)
        answer.set_cookie(name, value, max_age=lasts_s, path="/", samesite="lax", httponly=True, secure=not plain)


def with_cookies_of(answer: Response, other: Response) -> Response:
    """The answer, with the cookies that a route of the API has set on its own."""
    answer.raw_headers.extend(header for header in other.raw_headers if header[0] == b"set-cookie")
    return answer


@dataclass(frozen=True, slots=True)
class PersonsVisit(Visit):
    """Somebody who has logged in."""

    caller: Caller = field(kw_only=True)
    tenant: Tenant = field(kw_only=True)
    kinds: tuple[str, ...] = field(kw_only=True)
    """Of the assets that are visible; none for a part of a page."""

    def context(self) -> dict[str, Any]:
        """What every template may use; also who looks, and for which tenant."""
        session = self.caller.person()
        return {
            **Visit.context(self),
            "person": session.row,
            "role": self.gettext(ROLE_NAMES[session.row.role]),
            "tenant": self.tenant,
            "navigation": groups_for(self.kinds),
            "rights": self.caller.principal.rights,
            "csrf": partial(forms.make_token, session.token),
            "proof_due": is_proof_due(self.caller),
        }


def is_part(request: Request) -> bool:
    """Whether a script asks for a part of a page, or for its stream: neither has a menu, and both come often."""
    return "hx-request" in request.headers or request.headers.get("accept", "").startswith(EVENT_STREAM)


def own_address(text: str) -> str:
    """An address of this console where to go on; anything that leads elsewhere is the first page."""
    parts = urlsplit(text)
    is_ours = text.startswith("/") and not text.startswith("//") and "\\" not in text and not parts.netloc
    return text if is_ours and text.isprintable() else FIRST_PAGE


def code_of(request: Request) -> str:
    """French unless the visitor has chosen another language."""
    return known_code(request.cookies.get(COOKIE))


async def anybody(request: Request) -> Visit:
    """The dependency of a page that everybody may open."""
    return Visit(request, Language(code_of(request), PARIS), await read_form(request))


class Demand:
    """The dependency of a page that demands a right; tests read from it which."""

    def __init__(self, right: Right) -> None:
        self.right: Right = right

    async def __call__(self, request: Request) -> AsyncGenerator[PersonsVisit]:
        """Who looks, and has the right; what a page shows is read in one transaction, until its view is done."""
        if request.method not in SAFE_METHODS:
            yield await self._visit(request, None)
            return
        platform: Dependencies = request.app.state.platform
        async with platform.shared_readings.open() as shared:
            yield await self._visit(request, shared)

    async def _visit(self, request: Request, shared: SharedReading | None) -> PersonsVisit:
        form = await read_form(request)

        def is_ours(request: Request, token: str) -> bool:
            return request.method in SAFE_METHODS or forms.is_ours(form.token, token)

        try:
            caller = await by_session(request, is_ours, shared)
        except Problem as problem:
            if problem.status == UNAUTHENTICATED:
                raise SessionNeeded(form) from None
            raise Problem(403, "cette page a été ouverte avant cette session : rechargez-la") from None
        caller.demand(self.right)
        async with caller.reading() as connection:
            tenant, timezone = await read_with_timezone(connection, caller.principal.tenant_id)
            # Every asset is looked at.
            kinds = () if is_part(request) else await list_kinds(connection)
        language = Language(code_of(request), region_of(tenant.department, timezone).zone)
        return PersonsVisit(request, language, form, caller=caller, tenant=tenant, kinds=tuple(kinds))


Anybody = Annotated[Visit, Depends(anybody)]
ReadersVisit = Annotated[PersonsVisit, Depends(Demand("read"), scope="function")]
# Of a page that begins before it is read (pages.begun_page): its transaction lasts until all of it was sent.
EarlyReadersVisit = Annotated[PersonsVisit, Depends(Demand("read"), scope="request")]
FieldAgentsVisit = Annotated[PersonsVisit, Depends(Demand("field"), scope="function")]
ManagersVisit = Annotated[PersonsVisit, Depends(Demand("manage"), scope="function")]
PublishersVisit = Annotated[PersonsVisit, Depends(Demand("open_data"), scope="function")]
LightingVisit = Annotated[PersonsVisit, Depends(Demand("lighting"), scope="function")]
ApproversVisit = Annotated[PersonsVisit, Depends(Demand("lighting_approve"), scope="function")]
OperatorsVisit = Annotated[PersonsVisit, Depends(Demand("operate"), scope="function")]
PeopleManagersVisit = Annotated[PersonsVisit, Depends(Demand("people"), scope="function")]
AuditorsVisit = Annotated[PersonsVisit, Depends(Demand("audit"), scope="function")]


def values_of(form: Form) -> Mapping[str, str]:
    """What was typed, to be shown again."""
    return dict(form.carried())
