"""Sensors' health: what is wrong with which, and what one does about it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, get_args
from urllib.parse import urlencode

from fastapi import Depends, Query, Response

from alerting.health_store import SensorFilter
from alerting.rules.sensor_health import CAUSES_FR, CauseName
from api.console.forms import checked, number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.visits import ManagersVisit, ReadersVisit
from api.console.where import Text, Where, read_places
from api.pages import Paging
from api.routes import sensor_health as routes
from api.routes import silences

router = page_router()

PAGE = "/sante"
# Of a page: all of them may be well, and the page itself asks for the next ones.
JUDGED = 100
SILENCED_FOR = timedelta(days=7)
REASON = marked("capteur à remplacer")
# As the alerts' own texts; extracted from here for other languages.
NAMES = (
    marked("jamais entendu"), marked("muet"), marked("messages illisibles"), marked("mal configuré"),
    marked("perd des messages"), marked("signal faible"), marked("pile faible"), marked("valeur figée"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter(Where):
    """Which sensors, and where the page begins."""

    cause: Text = ""
    modele: Text = ""
    passerelle: Text = ""
    suite: Annotated[str, Query(max_length=20, pattern=r"^\d*$")] = ""

    def named(self) -> dict[str, str]:
        """What the address says."""
        named = {"cause": self.cause, "modele": self.modele, "passerelle": self.passerelle}
        return {name: value for name, value in named.items() if value} | Where.named(self)

    def following(self, cursor: str) -> str:
        """As the part of an address behind `?`: where the next page begins."""
        return urlencode(self.named() | {"suite": cursor})

    @property
    def known_cause(self) -> CauseName | None:
        """The cause, when it is one."""
        known: tuple[CauseName, ...] = get_args(CauseName)
        return next((one for one in known if one == self.cause), None)

    @property
    def known_gateway(self) -> str | None:
        """The gateway, when it may be one."""
        is_eui = len(self.passerelle) == 16 and all(one in "0123456789abcdef" for one in self.passerelle)  # noqa: PLR2004 - An EUI.
        return self.passerelle if is_eui else None


Filtered = Annotated[Filter, Depends()]


def _asked(wanted: Filter) -> tuple[SensorFilter, routes.Selection]:
    """The filters, as the list has them."""
    return (
        SensorFilter(model=wanted.modele or None, tag=wanted.tag, quarter=wanted.quarter, place=wanted.place()),
        routes.Selection(wanted.known_cause, wanted.known_gateway),
    )


@router.get(PAGE)
async def show(visit: ReadersVisit, wanted: Filtered) -> Response:
    """Sensors with something wrong, by cause, commune, model and gateway."""
    found = await routes.find_page(visit.caller, Paging(JUDGED, wanted.suite or None), *_asked(wanted), JUDGED)
    return visit.page(
        "health/list.html",
        sensors=found.items,
        following=found.next,
        wanted=wanted,
        causes={cause.value: name for cause, name in CAUSES_FR.items()},
        models=await routes.read_model_names(visit.caller),
        where=wanted,
        places=await read_places(visit.caller),
    )


@router.get(PAGE + "/modeles")
async def show_models(visit: ReadersVisit) -> Response:
    """How reliable each model is; the list of sensors shows it, too, when it has been drawn."""
    models: list[Any] = [*(await routes.list_models(visit.caller)).items]
    return visit.page("health/models.html", models=models)


@router.get(PAGE + "/export")
async def export(visit: ReadersVisit, wanted: Filtered) -> Response:
    """The whole list, for a spreadsheet."""
    return await routes.export(visit.caller, *_asked(wanted))


@router.post(PAGE + "/silence")
async def silence(visit: ManagersVisit) -> Response:
    """Notify nobody of an asset for a week: its sensor is known to be wrong."""
    until = datetime.now(UTC) + SILENCED_FOR
    given = {"asset_id": number_of(visit.form.text("actif")), "reason": visit.gettext(REASON), "ends_at": until}
    await silences.create_silence(checked(silences.NewSilence, given), visit.caller)
    said = visit.gettext("Plus personne n’est prévenu, jusqu’au %(instant)s.")
    return visit.go(PAGE, said % {"instant": visit.language.exact(until)})
