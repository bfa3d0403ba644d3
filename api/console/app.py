"""The console in the application: every page's routes, its files, and addresses that do not exist."""

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from api.console import files
from api.console.account import views as account
from api.console.alerts import views as alerts
from api.console.audit import views as audit
from api.console.buildings import air as building_air
from api.console.buildings import papers as building_papers
from api.console.buildings import savings as building_savings
from api.console.buildings import views as buildings
from api.console.buildings import water as building_water
from api.console.calendars import views as calendars
from api.console.campaigns import views as campaigns
from api.console.costs import views as costs
from api.console.coverage import views as coverage
from api.console.endpoints import views as endpoints
from api.console.equipment import devices
from api.console.equipment import messages as device_messages
from api.console.equipment import views as equipment
from api.console.exports import schedules as export_schedules
from api.console.exports import views as exports
from api.console.frames import views as frames
from api.console.gateways import form as gateway_form
from api.console.gateways import views as gateways
from api.console.health import views as health
from api.console.help import views as help_pages
from api.console.imports import views as imports
from api.console.interventions import views as interventions
from api.console.keys import views as keys
from api.console.kits import form as kit_form
from api.console.kits import views as kits
from api.console.lighting import clocks as lighting_clocks
from api.console.lighting import history as lighting_history
from api.console.lighting import legal_hours as lighting_legal_hours
from api.console.lighting import views as lighting
from api.console.live import views as live
from api.console.login import views as login
from api.console.mqtt_accesses import views as mqtt_accesses
from api.console.pages import error_page, guarded, page_router, wants_page
from api.console.partners import views as partners
from api.console.people import views as people
from api.console.pose import views as pose
from api.console.programs import bounds
from api.console.programs import views as programs
from api.console.public_page import views as public_page
from api.console.publications import views as publications
from api.console.reports import views as reports
from api.console.rules import views as rules
from api.console.sharing import views as sharing
from api.console.silences import views as silences
from api.console.supervision import views as supervision
from api.console.teams import views as teams
from api.console.tenants import views as tenants
from api.console.territory import views as territory
from api.console.trades import views as trades
from api.console.visits import FIRST_PAGE
from api.console.waste import driving, rounds, white_zones
from api.console.waste import tonnage as waste_tonnage
from api.console.waste import views as waste
from api.console.webhooks import views as webhooks
from api.console.workshop import bench as codec_bench
from api.console.workshop import profile as profile_decoding
from api.console.workshop import views as workshop
from core.runtime.http import errors

PAGES = (
    login.router,
    live.router,
    supervision.router,
    territory.router,
    equipment.router,
    devices.router,
    device_messages.router,
    pose.router,
    gateway_form.router,
    gateways.router,
    building_papers.router,  # Before the pages of one building, of which `formulaires` is none.
    buildings.router,
    building_savings.router,
    building_air.router,
    building_water.router,
    coverage.router,
    health.router,
    frames.router,
    alerts.router,
    interventions.router,
    people.router,
    keys.router,
    tenants.router,
    sharing.router,
    audit.router,
    help_pages.router,
    rules.router,
    silences.router,
    teams.router,
    endpoints.router,
    partners.router,
    calendars.router,
    trades.router,
    waste.router,
    waste_tonnage.router,
    white_zones.router,
    rounds.router,
    driving.router,
    lighting_legal_hours.router,
    lighting_clocks.router,  # Before pages of one cabinet, of which `horloges` is none.
    lighting_history.router,
    lighting.router,
    campaigns.router,
    bounds.router,
    programs.router,
    workshop.router,
    codec_bench.router,
    profile_decoding.router,
    account.router,
    export_schedules.router,
    exports.router,
    webhooks.router,
    mqtt_accesses.router,
    imports.router,
    kit_form.router,  # Before the pages of one kit, of which `nouveau` is none.
    kits.router,
    costs.router,
    reports.router,
    publications.router,
    public_page.router,
)

API = "/v1/"

front = page_router()


@front.get("/")
async def first_page() -> Response:
    """The console opens with what a supervision room looks at."""
    return RedirectResponse(FIRST_PAGE, 303)


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Registered for this class.
    if not wants_page(request):
        return await errors.answer_http_error(request, error)
    return guarded(request, error_page(request, error.status_code))


class _Pages(APIRouter):
    """Every page, among which no route of the API is looked for: nor a page among those, when it stands first."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether there is a page at this address."""
        return (Match.NONE, {}) if scope["path"].startswith(API) else super().matches(scope)


def serve_console(app: FastAPI) -> None:
    """Add every page to the application, before the routes of the API."""
    pages = _Pages()
    for page in (front, *PAGES, files.router):
        pages.include_router(page)
    app.include_router(pages)
    app.add_exception_handler(HTTPException, _unknown)
