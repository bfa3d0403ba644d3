"""The feed of measurements: everything that has changed since a cursor, in an order that misses nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.auth import Reader
from api.extent import Commune
from api.feed_cursor import LONGEST, position_after
from api.fields import INT4_MOST, Answer, AssetKind, answer_of
from api.list_fields import Tag
from api.routes.datastreams import QuantityName
from core.runtime.http.errors import PROBLEM_RESPONSES
from registry.changed_measurements import OF_MEASUREMENTS, ChangedMeasurement, Kind, changed_measurements
from registry.cursors import feed_cursor
from registry.feed import WantedChanges, read_changes, read_state

MOST = 10_000

router = APIRouter(prefix="/v1", tags=["measurements"], responses=PROBLEM_RESPONSES)

After = Annotated[
    str | None,
    Query(
        max_length=LONGEST,
        description="`next` de la lecture précédente ; absent : rien que le curseur de maintenant ; `oldest` : "
        "depuis le plus ancien gardé (sept jours)",
    ),
]
DatastreamIds = Annotated[
    list[Annotated[int, Field(ge=1, le=INT4_MOST)]] | None,
    Query(max_length=2000, description="Identifiant du flux ; répétable ; absent : tous"),
]


class ChangedMeasurementAnswer(answer_of(ChangedMeasurement)):
    """Un instant d'un flux qui a changé, avec la valeur qui y fait foi quand on lit."""

    value: float | None = Field(description="Null : il n'y a plus de mesure de cet instant (`removed`)")
    flags: list[str] = Field(description="suspect, time_suspect, manual, redecoded, corrected")
    change: Kind = Field(
        description="`new` reçue ; `late` reçue plus de 15 minutes après son instant ; `manual` saisie ; "
        "`corrected` une autre valeur l'emporte ; `redecoded` relue par un autre décodeur ; `removed` il n'y en a "
        "plus ; `meter_change` un changement de compteur à cet instant : relisez les consommations"
    )
    recorded_at: datetime = Field(description="Quand le changement a été enregistré")


class FeedAnswer(Answer):
    """Ce qui a changé, dans l'ordre."""

    items: list[ChangedMeasurementAnswer]
    next: str = Field(
        description="À passer dans `after` ; à garder avec ce qui a été lu, dans la même transaction"
    )
    has_more: bool = Field(
        description="Il y en a d'autres tout de suite ; sinon, redemandez dans quelques secondes"
    )


def wanted_changes(
    origins: tuple[str, ...],
    datastream_id: Sequence[int] | None,
    kind: str | None,
    quantity: str | None,
    tag: str | None,
    commune: str | None,
) -> WantedChanges:
    """What a request asks for."""
    ids = None if datastream_id is None else tuple(datastream_id)
    return WantedChanges(origins, ids, quantity, kind, tag, commune)


@router.get(
    "/measurements",
    operation_id="listChangedMeasurements",
    summary="Suivre les mesures",
    response_model=FeedAnswer,
)
async def list_changed(
    caller: Reader,
    after: After = None,
    datastream_id: DatastreamIds = None,
    kind: AssetKind = None,
    quantity: QuantityName = None,
    tag: Tag = None,
    commune: Commune = None,
    limit: Annotated[int, Query(ge=1, le=MOST, description="Nombre d'éléments par lecture")] = 1000,
) -> Response:
    """Tout ce qui a changé depuis un curseur : reçu, en retard, saisi, corrigé, redécodé, retiré.

    Rien n'est manqué ni répété d'un curseur au suivant. Un curseur d'avant une restauration : 409 ; de plus de
    sept jours : 410.
    """
    wanted = wanted_changes(OF_MEASUREMENTS, datastream_id, kind, quantity, tag, commune)
    tenant_id = caller.principal.tenant_id
    async with caller.reading() as connection:
        state = await read_state(connection)
        position = position_after(after, tenant_id, state)
        if after is None:
            entries, is_all = [], True
        else:
            entries, position, is_all = await read_changes(connection, position, wanted, limit)
            streams = {entry.datastream_id for entry in entries if entry.datastream_id is not None}
            await caller.audit_personal(connection, streams=sorted(streams))
    content = {
        "items": list(changed_measurements(entries)),
        "next": feed_cursor(state.epoch, tenant_id, position),
        "has_more": not is_all,
    }
    return Response(msgspec.json.encode(content), media_type="application/json")
