"""What changes, as it changes: server-sent events from the feed."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from api.auth import Reader
from api.change_stream import EVERYTHING, What, origins_of
from api.extent import Commune
from api.feed_cursor import LONGEST, position_after
from api.fields import AssetKind
from api.list_fields import Tag
from api.routes.datastreams import QuantityName
from api.routes.feed import DatastreamIds, wanted_changes
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from registry.feed import read_state

router = APIRouter(prefix="/v1", tags=["measurements"], responses=PROBLEM_RESPONSES)

TOO_MANY = "trop de flux sont ouverts (huit par clé) : fermez-en un, ou suivez par GET /v1/measurements"
TRY_AGAIN_S = 5


@router.get(
    "/stream",
    operation_id="streamChanges",
    summary="Suivre ce qui change en direct",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def stream_changes(
    request: Request,
    caller: Reader,
    what: Annotated[
        list[What] | None, Query(max_length=4, description="Ce qui est suivi ; répétable ; absent : tout")
    ] = None,
    datastream_id: DatastreamIds = None,
    kind: AssetKind = None,
    quantity: QuantityName = None,
    tag: Tag = None,
    commune: Commune = None,
    after: Annotated[
        str | None, Query(max_length=LONGEST, description="Curseur du fil ; absent : à partir de maintenant")
    ] = None,
    last_event_id: Annotated[str | None, Header(max_length=LONGEST, description="Prime sur `after`")] = None,
) -> Response:
    """Événements `values`, `alert`, `command` et `state` ; chacun porte en `id` le curseur du fil d'où reprendre.

    `beat` dit que le flux vit ; `dropped`, que le lecteur est trop lent ; `ended`, que sa clé n'a plus ce droit.
    """
    kinds = set(what or EVERYTHING)
    wanted = wanted_changes(origins_of(kinds), datastream_id, kind, quantity, tag, commune)
    async with caller.reading() as connection:
        state = await read_state(connection)
    position = position_after(last_event_id or after, caller.principal.tenant_id, state)
    opened = request.app.state.changes.open(caller, wanted, frozenset(kinds), state, position)
    if opened is None:
        raise Problem(429, TOO_MANY, headers={"Retry-After": str(TRY_AGAIN_S)})
    return opened
