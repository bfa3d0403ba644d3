"""The audit: who did what, filtered, with before and after side by side; and the same as a file."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query, Response

from api.console.audit.wording import ACTIONS, ENTITIES, Difference, differences, remaining_details
from api.console.forms import midnight_of
from api.console.pages import page_router
from api.console.visits import AuditorsVisit, PersonsVisit
from api.fields import PRINTABLE
from api.pages import Page, Paging
from api.routes import audit as routes
from api.routes.audit import AuditAnswer
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/journal"
SHOWN, AT_ONCE, EXPORTED_MOST = 50, 1000, 10_000
Text = Annotated[str, Query(max_length=200, pattern=PRINTABLE)]
Day = Annotated[str, Query(max_length=10)]


@dataclass(frozen=True, slots=True)
class ShownLine:
    """One line in words."""

    line: Any
    who: str
    differences: list[Difference]
    notes: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for, as it was typed."""

    qui: Text = ""
    quoi: Text = ""
    sur: Text = ""
    lequel: Text = ""
    du: Day = ""
    au: Day = ""

    @property
    def query(self) -> str:
        """The filters that are set, as they stand in an address."""
        return urlencode({name: value for name, value in asdict(self).items() if value})


Filtered = Annotated[Filters, Depends()]


async def _read(
    visit: PersonsVisit, filters: Filters, paging: Paging, **asked: Any
) -> Page[AuditAnswer] | Response:
    return await routes.read_audit(
        visit.caller,
        paging,
        actor=filters.qui or None,
        action=filters.quoi or None,
        entity=filters.sur or None,
        entity_id=filters.lequel or None,
        since=midnight_of("du", filters.du, visit.language.zone),
        until=midnight_of("au", filters.au, visit.language.zone, ends=True),
        **asked,
    )


@router.get(PAGE)
async def show_list(
    visit: AuditorsVisit, filters: Filtered, suite: Annotated[str | None, Query(max_length=30)] = None
) -> Response:
    """The lines, the last first."""
    lines, following, problem = list[AuditAnswer](), None, None
    try:
        page = await _read(visit, filters, Paging(SHOWN, suite))
        assert isinstance(page, Page)  # noqa: S101 - JSON was asked for.
        lines, following = page.items, page.next
    except Problem as raised:
        problem = raised
    return visit.form_page(
        "audit/list.html",
        problem,
        lines=[_in_words(line, visit) for line in lines],
        following=f"{PAGE}?{filters.query}&suite={following}" if following else "",
        export=f"{PAGE}/export?{filters.query}",
        exported_most=EXPORTED_MOST,
        filters=filters,
        actions=ACTIONS,
        entities=ENTITIES,
    )


def _in_words(line: Any, visit: PersonsVisit) -> ShownLine:
    name = line.details.get("name")
    who = name if line.actor.startswith("personne ") and isinstance(name, str) else line.actor
    return ShownLine(
        line, who, differences(line.details, visit.language), remaining_details(line.details, visit.language)
    )


@router.get(PAGE + "/export")
async def export(visit: AuditorsVisit, filters: Filtered) -> Response:
    """The lines of the same filter as CSV."""
    parts, cursor = list[bytes](), None
    for _ in range(EXPORTED_MOST // AT_ONCE):
        part = await _read(visit, filters, Paging(AT_ONCE, cursor), form="csv")
        assert isinstance(part, Response)  # noqa: S101 - CSV was asked for.
        content = bytes(part.body)
        parts.append(content.partition(b"\r\n")[2] if parts else content)
        cursor = part.headers.get("next-cursor")
        if cursor is None:
            break
    headers = {"Content-Disposition": 'attachment; filename="journal.csv"'}
    return Response(b"".join(parts), media_type="text/csv; charset=utf-8", headers=headers)
