"""The event stream of the console's pages: one a browser, shared by its tabs."""

from typing import Annotated

from fastapi import Query, Response

from api.console.live.broadcast import Broadcast
from api.console.pages import page_router
from api.console.visits import ReadersVisit
from core.runtime.http.errors import Problem

router = page_router()

ADDRESS = "/direct"
NO_CONTENT = 204
# Of the page that asks: its session may have gone on to another.
TenantId = Annotated[int, Query(ge=1, le=2**31 - 1)]


@router.get(ADDRESS)
async def follow(visit: ReadersVisit, collectivite: TenantId) -> Response:
    """What changes by itself, as it changes; nothing (204) for a page of a tenant that the session has left."""
    broadcast: Broadcast = visit.request.app.state.broadcast
    if collectivite != visit.tenant.id:
        return Response(status_code=NO_CONTENT)
    stream = broadcast.open(visit)
    if stream is None:
        raise Problem(503, "trop de pages sont suivies en direct sur ce serveur : les chiffres sont à demander")
    return stream
