"""Partners' systems whose signed events open and end alerts: their registration, and the door for the events."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response, Security
from fastapi.security import APIKeyHeader
from pydantic import Field, StringConstraints

from alerting import partners
from alerting.rules.model import Severity
from api.auth import Manager, Reader
from api.before_after import before_and_after
from api.dependencies import Dependencies
from api.fields import PRINTABLE, Answer, Body, Id, IdRef, Instant, Name, answer_of, example
from api.origin import origin_of
from api.pages import Page
from api.resources import Resource
from api.rotation import RotationAnswer, RotationBody, rotate
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from registry.audit import write_audit
from registry.entering import tenant_transaction

router = APIRouter(prefix="/v1", tags=["partner-events"], responses=PROBLEM_RESPONSES)
EVENT_OCTETS_MOST = 20_000
SIGNATURE = APIKeyHeader(
    name="webhook-signature",
    scheme_name="standard_webhooks",
    description="Signature Standard Webhooks, avec webhook-id et webhook-timestamp",
    auto_error=False,
)


# Two of them and what is between are a subject: 200 characters at most.
Named = Annotated[str, StringConstraints(min_length=1, max_length=98, pattern=PRINTABLE)]


class NewEventSource(Body):
    """Un système partenaire : hypervision, contrôle d'accès, centrale."""

    model_config = example({"name": "Hypervision de la mairie"})

    name: Name
    team_id: IdRef | None = Field(None, description="Équipe prévenue ; null : toutes les adresses de webhook")
    purpose: Literal["alarms", "work_orders"] = Field(
        "alarms",
        description="`alarms` : ses alarmes, à `/v1/partner-events/{id}` ; `work_orders` : une GMAO, l'état des "
        "interventions, à `/v1/work-order-reports/{id}`. Son secret ne sert à rien d'autre",
    )


class EventSourcePatch(Body):
    """Refuser les événements d'une source, ou les reprendre."""

    model_config = example({"enabled": False})

    enabled: bool


class EventSourceAnswer(answer_of(partners.Source, {"tenant_id"})):
    """Une source, sans son secret."""

    previous_until: datetime | None = Field(description="Jusque-là, l'ancien secret est accepté aussi")


class CreatedEventSource(EventSourceAnswer):
    """Une source et son secret de signature, montré cette seule fois."""

    secret: str = Field(examples=["whsec_…"])


SOURCES = Resource("event_source", "source", partners.read_source, EventSourceAnswer.model_validate)


class AlarmData(Body):
    """Ce qui arrive, et où."""

    model_config = example({"alarm": "intrusion", "message": "porte forcée, local technique", "asset_id": 42})

    alarm: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")] = Field(
        description="Sorte d'alarme : chacune est une règle, réglable", examples=["intrusion"]
    )
    message: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=PRINTABLE)] = Field(
        "Alarme", examples=["porte forcée, local technique"]
    )
    severity: Severity = Field(
        "major", description="Gravité de la règle à sa première alarme ; ensuite, la règle décide"
    )
    asset_id: IdRef | None = Field(
        None, description="L'actif concerné ; une alerte par sorte d'alarme, par actif et par sujet"
    )


class PartnerEvent(Body):
    """Un événement : une alarme commence (`alarm.raised`) ou finit (`alarm.cleared`)."""

    model_config = example(
        {
            "type": "alarm.raised",
            "timestamp": "2026-11-25T18:00:00Z",
            "source": "centrale-2",
            "subject": "porte-3",
            "data": {"alarm": "intrusion", "message": "porte forcée, local technique", "severity": "critical"},
        }
    )

    type: Literal["alarm.raised", "alarm.cleared"]
    source: Named | None = Field(
        None, description="D'où, chez le partenaire (comme `source` de CloudEvents)", examples=["centrale-2"]
    )
    subject: Named | None = Field(
        None,
        description="Ce qui est en alarme, chez le partenaire (comme `subject` de CloudEvents) : chaque couple "
        "source et sujet a sa propre alerte, que la fin de même source et de même sujet termine",
        examples=["porte-3"],
    )
    timestamp: Instant | None = Field(None, description="Quand ; absent : maintenant")
    data: AlarmData


class TakenAnswer(Answer):
    """Ce qui en a été fait."""

    taken: bool = Field(description="false : cet identifiant avait déjà été reçu, rien n'a changé")


@router.post(
    "/event-sources", operation_id="createEventSource", status_code=201, summary="Ajouter un système partenaire"
)
async def create_source(body: NewEventSource, caller: Manager) -> CreatedEventSource:
    """Ajouter un système partenaire. Ses événements ne remplacent jamais un système de sécurité homologué."""
    async with caller.changing() as change:
        made = await partners.create_source(
            change.connection, caller.platform.keys, change.tenant_id, body.name, body.team_id, body.purpose
        )
        if made is None:
            raise invalid("team_id", "unknown", f"équipe {body.team_id} introuvable")
        source, secret = made
        shown = EventSourceAnswer.model_validate(source)
        await change.audit("create", "event_source", source.id, after=shown)
    return CreatedEventSource(**shown.model_dump(), secret=secret)


@router.get("/event-sources", operation_id="listEventSources", summary="Lister les systèmes partenaires")
async def list_sources(caller: Reader) -> Page[EventSourceAnswer]:
    """Les systèmes partenaires de la collectivité."""
    return await SOURCES.list(caller, partners.list_sources)


@router.get("/event-sources/{id}", operation_id="getEventSource", summary="Lire un système partenaire")
async def read_source(id: Id, caller: Reader) -> EventSourceAnswer:
    """Un système partenaire, et quand il a parlé pour la dernière fois."""
    return await SOURCES.read(caller, id)


@router.patch(
    "/event-sources/{id}",
    operation_id="updateEventSource",
    summary="Refuser ou reprendre les événements d'un partenaire",
)
async def update_source(id: Id, body: EventSourcePatch, caller: Manager) -> EventSourceAnswer:
    """Refuser les événements d'un système partenaire, ou les reprendre."""
    return await SOURCES.switch(caller, id, partners.set_enabled, enabled=body.enabled)


@router.delete(
    "/event-sources/{id}",
    operation_id="deleteEventSource",
    status_code=204,
    summary="Retirer un système partenaire",
)
async def delete_source(id: Id, caller: Manager) -> Response:
    """Retirer un système partenaire. Ses règles et ses alertes restent."""
    return await SOURCES.delete(caller, id, partners.delete_source)


@router.post(
    "/event-sources/{id}/secret",
    operation_id="rotateEventSourceSecret",
    summary="Changer le secret d'un système partenaire",
)
async def rotate_secret(id: Id, body: RotationBody, caller: Manager) -> RotationAnswer:
    """Changer le secret : jusqu'à l'heure dite, un événement signé avec l'ancien est accepté aussi."""
    return await rotate(SOURCES, caller, id, body, partners.rotate_secret)


@router.post(
    "/partner-events/{id}",
    operation_id="receivePartnerEvent",
    status_code=202,
    summary="Recevoir un événement signé d'un partenaire",
    dependencies=[Security(SIGNATURE)],
)
async def take_event(id: Id, event: PartnerEvent, request: Request) -> TakenAnswer:
    """Recevoir un événement signé (Standard Webhooks). Renvoyé sous le même webhook-id, il compte une fois.

    Jamais pour la sécurité des personnes : un système homologué reste nécessaire.
    """
    platform: Dependencies = request.app.state.platform
    sender = await sender_of(id, request)
    data, now = event.data, datetime.now(UTC)
    alarm = partners.Alarm(
        data.alarm,
        event.type == "alarm.cleared",
        data.message,
        data.severity,
        data.asset_id,
        _subject(event),
        min(event.timestamp or now, now),
    )
    try:
        async with tenant_transaction(platform.pool, sender.proof) as connection:
            taken = await partners.apply_event(connection, sender, request.headers["webhook-id"], alarm)
            if taken:
                address = origin_of(request, platform.access.proxies)
                recorded = before_and_after(None, event) | {"event_source": id, "address": address}
                actor = f"système partenaire {id}"
                await write_audit(connection, sender.tenant_id, actor, "take", "partner_event", id, recorded)
    except partners.RejectedEvent as refused:
        raise Problem(422, str(refused)) from None
    await platform.nudge_registry()
    return TakenAnswer(taken=taken)


async def sender_of(source_id: int, request: Request) -> partners.Sender:
    """Whose signature the request bears; raises 413 for one that is too long, 401 for one without."""
    platform: Dependencies = request.app.state.platform
    octets = await request.body()  # As they came: the signature is over these.
    if len(octets) > EVENT_OCTETS_MOST:
        raise Problem(413, "20 ko au plus")
    try:
        return await partners.verify(platform.pool, platform.keys, source_id, request.headers, octets)
    except partners.NotSigned:
        raise Problem(401, "signature absente, fausse ou de plus de cinq minutes") from None


def _subject(event: PartnerEvent) -> str | None:
    named = [name for name in (event.source, event.subject) if name is not None]
    return " › ".join(named) if named else None
