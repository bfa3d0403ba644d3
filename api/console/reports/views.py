"""Monthly reports: what was made and sent, as it would be now, who receives them, how they look."""

import base64
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import Response

from api.console.forms import checked, number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit
from api.console.where import read_places
from api.fields import Id
from api.months import first_of, last_month, named
from api.pages import Paging
from api.routes import report_settings as settings
from api.routes import reports as routes
from api.routes import teams
from api.routes.report_settings import ReportIdentityBody, ReportLogoBody, ReportRecipientBody
from api.routes.reports import ReportBody, WantedReport
from core.model.calendar_buckets import moved
from core.runtime.http.errors import Problem, invalid
from indicators.reports.charts import bar_chart
from indicators.reports.model import SERVICES, Service
from indicators.reports.words import SHORT_MONTHS, month_name

router = page_router()

PAGE = "/rapports"
PREVIEW = f"{PAGE}/apercu"
SHOWN = 100
MONTHS_SHOWN = 24
TO_SHOW = (409, 422)
SERVICE_NAMES: dict[Service, str] = {
    "all": marked("tous les services"),
    "waste": marked("déchets"),
    "buildings": marked("bâtiments"),
    "lighting": marked("éclairage"),
    "network": marked("réseau"),
    "cost": marked("coûts"),
}
LANGUAGES = {"fr": "français", "en": "English"}
CHART_WIDTH, CHART_HEIGHT = 650.0, 150.0


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """What was made, by month and commune, and who receives it."""
    return await _list(visit)


async def _list(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    asked = visit.request.query_params
    month = asked.get("mois", "")
    months = _months(visit)
    commune = asked.get("commune", "")[:200] or None
    chosen = month if month in months else None
    found = await routes.list_reports(visit.caller, Paging(SHOWN), chosen, commune, None, every_version=False)
    every: list[Any] = [*(await teams.list_teams(visit.caller)).items]
    identity = await settings.read_identity(visit.caller)
    return visit.form_page(
        "reports/list.html",
        problem,
        found=found.items,
        is_more=found.next is not None,
        wanted={"mois": chosen or "", "commune": commune or ""},
        months=months,
        communes=(await read_places(visit.caller)).communes,
        services=SERVICE_NAMES,
        recipients=(await settings.list_recipients(visit.caller)).items,
        teams={str(one.id): one.name for one in every},
        identity=identity,
        languages=LANGUAGES,
        preview=PREVIEW,
    )


def _months(visit: PersonsVisit) -> dict[str, str]:
    """The last months that are over, by how queries write them."""
    last = last_month(datetime.now(UTC), visit.language.zone)
    firsts = [moved(last, "month", -number) for number in range(MONTHS_SHOWN)]
    return {named(first): month_name(first, "en" if visit.language.code == "en" else "fr") for first in firsts}


@router.post(PAGE)
async def act(visit: ManagersVisit) -> Response:
    """Add or take out who receives reports, or say how they look."""
    try:
        message = await _outcome(visit)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _list(visit, problem)
    return visit.go(PAGE, message)


async def _outcome(visit: PersonsVisit) -> str:
    form, caller, _ = visit.form, visit.caller, visit.gettext
    match form.text("act"):
        case "add":
            given = {name: form.text(name) for name in ("team_id", "commune", "service") if form.text(name)}
            await settings.create_recipient(checked(ReportRecipientBody, given), caller)
            return _("Cette équipe recevra les rapports le 2 de chaque mois.")
        case "remove":
            number = number_of(form.text("recipient"))
            if number is None:
                raise Problem(422, _("Choisissez ce qu’il faut faire."))
            await settings.delete_recipient(number, caller)
            return _("Cette équipe ne les recevra plus ; ceux qui sont partis restent.")
        case "look":
            await settings.replace_identity(form.of(ReportIdentityBody, ("name", "language")), caller)
            await _take_logo(visit)
            return _("C’est enregistré, à partir du prochain rapport.")
        case "no_logo":
            await settings.delete_logo(caller)
            return _("Les rapports n’ont plus de logo.")
        case _other:
            raise Problem(422, _("Choisissez ce qu’il faut faire."))


async def _take_logo(visit: PersonsVisit) -> None:
    sent = visit.form.file("logo")
    if sent is None:
        return
    content = await sent.read(settings.LOGO_OCTETS_MOST + 1)
    try:
        body = ReportLogoBody.model_validate({"content": base64.b64encode(content)})
        await settings.replace_logo(body, visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        raise invalid("logo", "png", problem.detail) from None


@router.get(PREVIEW)
async def show_preview(visit: ReadersVisit) -> Response:
    """A report as it would be made now."""
    return await _preview(visit)


async def _preview(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    typed = visit.form.text if visit.form.text("commune") else visit.request.query_params.get
    commune = (typed("commune") or "")[:200]
    asked: Any = typed("service") or "all"
    months = _months(visit)
    month = typed("mois") or next(iter(months))
    service: Service = asked if asked in SERVICES else "all"
    if not commune:
        return visit.go(PAGE)
    try:
        content = await routes.preview_report(
            visit.caller, WantedReport(commune, month if month in months else None, service)
        )
    except Problem as refused:
        if refused.status not in TO_SHOW:
            raise
        return await _list(visit, refused)
    query = urlencode({"commune": content.commune, "month": content.month, "service": content.service})
    return visit.form_page(
        "reports/preview.html",
        problem,
        report=content,
        charts=_charts(content),
        heads=_heads(visit, content.month),
        query=query,
        home=PAGE,
        preview=PREVIEW,
    )


@router.post(PREVIEW)
async def make(visit: ManagersVisit) -> Response:
    """Keep a version of it."""
    form = visit.form
    given = {"commune": form.text("commune"), "month": form.text("mois"), "service": form.text("service")}
    try:
        made: Any = await routes.create_report(checked(ReportBody, given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _preview(visit, problem)
    return visit.go(f"{PAGE}/{made.id}", visit.gettext("La version est gardée, avec son PDF."))


@router.get(PAGE + "/{id}")
async def show_report(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """A version as it was made and sent, and what the others said."""
    shown = await routes.read_whole(id, visit.caller)
    return visit.page(
        "reports/report.html",
        report=shown,
        charts=_charts(shown),
        heads=_heads(visit, shown.month),
        versions=(await routes.list_versions(id, visit.caller)).items,
        home=PAGE,
        preview=PREVIEW,
    )


def _heads(visit: PersonsVisit, month: str) -> dict[str, str]:
    """What the columns of figures are called."""
    _ = visit.gettext
    return {
        "this": month_name(first_of(month), "en" if visit.language.code == "en" else "fr"),
        "last_month": _("Mois précédent"),
        "last_year": _("Un an avant"),
        "change": _("Sur un an"),
    }


def _charts(content: Any) -> dict[str, dict[str, Any]]:
    """Where the bars of each chart stand, and what stands under them."""
    return {
        chart.id: {
            "drawn": bar_chart(chart.values, CHART_WIDTH, CHART_HEIGHT),
            "labels": [SHORT_MONTHS[int(month[5:]) - 1][0] for month in chart.months],
        }
        for section in content.sections
        for chart in section.charts
    }
