"""When alerts are not notified: silences, maintenance windows; and the opening hours that rules go by."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from alerting import rule_store, silences
from alerting.rules.checks import InvalidRule
from api.auth import Change, Manager, Reader
from api.fields import Body, Id, IdQuery, IdRef, Instant, Name, Remark, Text, Word, answer_of, example
from api.pages import Page
from api.resources import Resource
from core.model.hours import MalformedHours
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem

router = APIRouter(prefix="/v1", tags=["silences"], responses=PROBLEM_RESPONSES)

Ended = Annotated[bool, Query(description="true : aussi ce qui est terminé")]
UNTIL_TEXT = "Fin, obligatoire"


class NewSilence(Body):
    """Personne n'est prévenu de ce qui répond à tout ce qui est dit, jusqu'à la fin."""

    model_config = example(
        {"reason": "fête de quartier", "ends_at": "2027-06-21T22:00:00Z", "commune": "Landerneau"}
    )

    reason: Remark
    ends_at: Instant = Field(description=UNTIL_TEXT)
    starts_at: Instant | None = Field(None, description="Début ; absent : maintenant")
    rule_id: IdRef | None = Field(None, description="Les alertes de cette règle")
    asset_id: IdRef | None = Field(None, description="Celles de cet actif et de ce qui en dépend")
    asset_kind: Word | None = Field(None, description="Celles des actifs de ce type")
    tag: Word | None = Field(None, description="Celles des actifs de cette étiquette")
    commune: Text | None = Field(None, description="Celles des actifs de cette commune")

    @model_validator(mode="after")
    def _matches_something(self) -> Self:
        if not any((self.rule_id, self.asset_id, self.asset_kind, self.tag, self.commune)):
            raise PydanticCustomError(
                "silence", "au moins un de rule_id, asset_id, asset_kind, tag, commune attendu"
            )
        return self


class SilenceAnswer(answer_of(silences.Silence, {"tenant_id"})):
    """Un silence."""


class NewWindow(Body):
    """Des travaux sur un actif et ce qui en dépend : personne n'est prévenu de leurs alertes."""

    model_config = example(
        {"asset_id": 42, "reason": "remplacement du disjoncteur", "ends_at": "2027-06-21T16:00:00Z"}
    )

    asset_id: IdRef
    reason: Remark
    ends_at: Instant = Field(description=UNTIL_TEXT)
    starts_at: Instant | None = Field(None, description="Début ; absent : maintenant")


class WindowAnswer(answer_of(silences.MaintenanceWindow, {"tenant_id"})):
    """Une fenêtre de maintenance."""


class CalendarBody(Body):
    """Les heures d'ouverture d'un lieu ; un calendrier du même nom est remplacé."""

    model_config = example(
        {
            "name": "écoles",
            "weekly": [
                [["07:30", "18:30"]],
                [["07:30", "18:30"]],
                [],
                [["07:30", "18:30"]],
                [["07:30", "18:30"]],
                [],
                [],
            ],
            "school_zone": "B",
        }
    )

    name: Name = Field(description="Un actif suit le calendrier que nomme son attribut `calendar`")
    weekly: list[list[list[str]]] = Field(description="Du lundi au dimanche, des couples HH:MM, heure locale")
    school_zone: Literal["A", "B", "C"] | None = Field(None, description="Fermé aux vacances scolaires de la zone")
    closed_on_holidays: bool = Field(True, description="Fermé les jours fériés")
    closures: list[tuple[date, date]] = Field(
        default_factory=list[tuple[date, date]],
        max_length=100,
        description="Autres fermetures : premier jour, premier jour de réouverture",
    )

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if any(first >= after for first, after in self.closures):
            raise PydanticCustomError("closures", "une fermeture finit après avoir commencé")
        return self


class CalendarAnswer(answer_of(rule_store.StoredCalendar, {"tenant_id"})):
    """Un calendrier."""


SILENCES = Resource("silence", "silence", silences.read_silence, SilenceAnswer.model_validate)
WINDOWS = Resource(
    "maintenance_window", "fenêtre de maintenance", silences.read_window, WindowAnswer.model_validate
)
CALENDARS = Resource("alert_calendar", "calendrier", rule_store.read_calendar, CalendarAnswer.model_validate)


def _check_end(starts_at: datetime | None, ends_at: datetime) -> None:
    if ends_at <= datetime.now(UTC):
        raise Problem(422, "la fin est dans le passé")
    if starts_at is not None and ends_at <= starts_at:
        raise Problem(422, "la fin est avant le début")


@router.get("/silences", summary="Lister les silences")
async def list_silences(caller: Reader, ended: Ended = False) -> Page[SilenceAnswer]:
    """Ceux qui durent ou viendront, le dernier à finir d'abord."""
    return await SILENCES.list(caller, silences.list_silences, ended=ended)


@router.post("/silences", status_code=201, summary="Créer un silence")
async def create_silence(body: NewSilence, caller: Manager) -> SilenceAnswer:
    """Ne prévenir personne pour un temps ; ce qui dure encore à la fin est alors annoncé."""
    _check_end(body.starts_at, body.ends_at)
    return await SILENCES.create(
        caller,
        lambda change: silences.create_silence(change.connection, change.tenant_id, change.actor, dict(body)),
        "la règle ou l'actif n'est pas à votre collectivité",
    )


@router.get("/silences/{id}", summary="Lire un silence")
async def read_silence(id: Id, caller: Reader) -> SilenceAnswer:
    """Un silence."""
    return await SILENCES.read(caller, id)


@router.post("/silences/{id}/end", summary="Finir un silence")
async def end_silence(id: Id, caller: Manager) -> SilenceAnswer:
    """Le finir maintenant ; ce qu'il taisait et qui dure est annoncé."""
    return await SILENCES.change(caller, id, silences.end_silence, action="end")


@router.get(
    "/maintenance-windows", operation_id="listMaintenanceWindows", summary="Lister les fenêtres de maintenance"
)
async def list_windows(caller: Reader, ended: Ended = False, asset_id: IdQuery = None) -> Page[WindowAnswer]:
    """Celles qui durent ou viendront, la dernière à finir d'abord."""
    return await WINDOWS.list(caller, silences.list_windows, ended=ended, asset_id=asset_id)


@router.post(
    "/maintenance-windows",
    operation_id="createMaintenanceWindow",
    status_code=201,
    summary="Créer une fenêtre de maintenance",
)
async def create_window(body: NewWindow, caller: Manager) -> WindowAnswer:
    """Annoncer des travaux : les alertes de l'actif et de ce qui en dépend ne préviennent personne."""
    _check_end(body.starts_at, body.ends_at)
    return await WINDOWS.create(
        caller,
        lambda change: silences.create_window(change.connection, change.tenant_id, change.actor, dict(body)),
        "l'actif n'est pas à votre collectivité",
    )


@router.get(
    "/maintenance-windows/{id}", operation_id="getMaintenanceWindow", summary="Lire une fenêtre de maintenance"
)
async def read_window(id: Id, caller: Reader) -> WindowAnswer:
    """Une fenêtre de maintenance."""
    return await WINDOWS.read(caller, id)


@router.post(
    "/maintenance-windows/{id}/end",
    operation_id="endMaintenanceWindow",
    summary="Finir une fenêtre de maintenance",
)
async def end_window(id: Id, caller: Manager) -> WindowAnswer:
    """La finir maintenant ; ce qu'elle taisait et qui dure est annoncé."""
    return await WINDOWS.change(caller, id, silences.end_window, action="end")


@router.get("/alert-calendars", operation_id="listAlertCalendars", summary="Lister les calendriers")
async def list_calendars(caller: Reader) -> Page[CalendarAnswer]:
    """Les heures d'ouverture que suivent les règles."""
    return await CALENDARS.list(caller, rule_store.list_calendars)


@router.put("/alert-calendars", operation_id="saveAlertCalendar", summary="Écrire un calendrier")
async def save_calendar(body: CalendarBody, caller: Manager) -> CalendarAnswer:
    """Créer un calendrier, ou remplacer celui de ce nom ; actif partout en 5 secondes."""
    async with caller.changing() as change:
        former = await _calendar_named(change, body.name)
        try:
            saved = await rule_store.save_calendar(change.connection, change.tenant_id, **body.model_dump())
        except MalformedHours as malformed:
            raise Problem(422, str(malformed)) from None
        shown = CALENDARS.show(saved)
        await change.audit("save", "alert_calendar", saved.id, before=former, after=shown)
    return shown


async def _calendar_named(change: Change, name: str) -> CalendarAnswer | None:
    for one in await rule_store.list_calendars(change.connection):
        if one.name == name and one.tenant_id == change.tenant_id:
            return CALENDARS.show(one)
    return None


@router.get("/alert-calendars/{id}", operation_id="getAlertCalendar", summary="Lire un calendrier")
async def read_calendar(id: Id, caller: Reader) -> CalendarAnswer:
    """Un calendrier."""
    return await CALENDARS.read(caller, id)


@router.delete(
    "/alert-calendars/{id}", operation_id="deleteAlertCalendar", status_code=204, summary="Supprimer un calendrier"
)
async def delete_calendar(id: Id, caller: Manager) -> Response:
    """Supprimer un calendrier qu'aucune règle ne suit."""
    try:
        return await CALENDARS.delete(caller, id, rule_store.delete_calendar)
    except InvalidRule as followed:
        raise Problem(409, str(followed)) from None
