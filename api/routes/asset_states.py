"""How a territory is at a glance: the state of each asset, and the figures of all."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import Field

from alerting.rules.model import Severity
from api import asset_list_store
from api import asset_state_store as store
from api.auth import Reader
from api.extent import Placed
from api.fields import Answer, AssetKind, Search, answer_of
from api.list_fields import SORT_TEXT, Model, Quarter, Tag
from api.pages import Cursor, Page, Paging, ask_of, cursor_of, next_of
from api.routes.gateways import ONLINE_WITHIN
from core.runtime.http.errors import PROBLEM_RESPONSES
from registry.assets import WantedAssets
from registry.places import ANYWHERE

router = APIRouter(prefix="/v1", tags=["assets"], responses=PROBLEM_RESPONSES)

State = Literal["critical", "major", "warning", "info", "command", "unknown", "silent", "ok"]
STATES_TEXT = (
    "`critical`, `major`, `warning`, `info` gravité de la pire alerte ouverte ; `command` ordre en cours ; "
    "`unknown` rien n'en est su : pas de capteur, ou jamais entendu ; `silent` plus rien depuis deux fois "
    "l'intervalle attendu ; `ok`"
)
StateQuery = Annotated[list[State] | None, Query(max_length=8, description=f"{STATES_TEXT} ; répétable")]
StateSort = Literal[
    "id", "-id", "name", "-name", "state", "-state", "last_seen_at", "-last_seen_at", "distance", "-distance"
]
# A map shows them all at once.
STATES_MOST = 10_000
# Long enough that a minute's figure is steady.
COUNTED_OVER = timedelta(minutes=5)


class AssetStateAnswer(answer_of(store.AssetState)):
    """Un actif, comment il va, et son dernier signe de vie."""

    state: State = Field(description=STATES_TEXT)
    last_seen_at: datetime | None = Field(description="Dernière mesure envoyée par un de ses capteurs")
    alerts: int = Field(description="Alertes ouvertes")


class AssetMap(Answer):
    """Une `FeatureCollection` de GeoJSON (RFC 7946) : `id`, et les propriétés `kind` et `state`."""

    type: Literal["FeatureCollection"]
    features: list[dict[str, Any]]


class StateCountAnswer(answer_of(store.StateCount, {"digest"})):
    """Combien d'actifs d'un type sont dans un état."""

    state: State = Field(description=STATES_TEXT)
    count: int


class Overview(Answer):
    """Ce que fait le territoire en ce moment."""

    at: datetime
    assets: list[StateCountAnswer]
    digest: str = Field(
        description="Change quand un actif apparaît, disparaît, ou change d'état, de place ou de nom",
        examples=["5f1c03b7a9e2d486"],
    )
    alerts: dict[Severity, int] = Field(description="Alertes ouvertes par gravité")
    unacknowledged: int = Field(description="Alertes que personne n'a prises en charge")
    gateways: int
    gateways_online: int
    commands: int = Field(description="Ordres d'éclairage en cours")
    uplinks_per_minute: float = Field(description="Trames montantes par minute, sur les cinq dernières")


@router.get(
    "/asset-states",
    operation_id="listAssetStates",
    summary="Lister l'état des actifs",
    response_model=Page[AssetStateAnswer],
)
async def list_states(
    caller: Reader,
    kind: AssetKind = None,
    q: Annotated[Search, Query(description="Cherche dans le nom et la rue")] = None,
    tag: Tag = None,
    quarter: Quarter = None,
    state: StateQuery = None,
    limit: Annotated[int, Query(ge=1, le=STATES_MOST, description="Nombre d'éléments par page")] = 1000,
    cursor: Cursor = None,
    sort: Annotated[StateSort, Query(description=f"{SORT_TEXT} ; `state` : le pire d'abord")] = "id",
    place: Placed = ANYWHERE,
) -> Response:
    """Comment va chaque actif visible, et son dernier signe de vie, par type, lieu ou état."""
    wanted = store.Wanted(kind, place.commune, q, place.box, None, tag, quarter, place.circle)
    states: list[str] | None = None if state is None else [*state]
    paging = Paging(limit, cursor)
    async with caller.reading() as connection:
        if sort == "id":
            found = await store.list_states(connection, wanted, states, paging.after, paging.most)
            following = next_of(found, limit)
        else:
            found, part = await store.find_states(connection, ask_of(paging, sort, store.SORTED), wanted, states)
            following = cursor_of(sort, part.following)
    # Written as they are: to make ten thousand answers of them, and check these, takes longer than to find them.
    content = {"items": found[:limit], "next": following}
    return Response(msgspec.json.encode(content), media_type="application/json")


@router.get(
    "/assets/map",
    operation_id="getAssetMap",
    summary="Lire la carte des actifs",
    response_model=AssetMap,
    responses={200: {"content": {"application/geo+json": {}}}},
)
async def read_map(
    caller: Reader,
    kind: AssetKind = None,
    q: Annotated[Search, Query(description="Cherche dans le nom, la rue et la référence")] = None,
    tag: Tag = None,
    quarter: Quarter = None,
    model: Model = None,
    state: StateQuery = None,
    place: Placed = ANYWHERE,
) -> Response:
    """Tous les actifs qui ont une position, en une fois : un point, un type et un état pour chacun (GeoJSON)."""
    wanted = WantedAssets(kind=kind, search=q, tag=tag, quarter=quarter, model=model, place=place)
    async with caller.reading() as connection:
        text = await asset_list_store.read_map(connection, wanted, state)
    return Response(text, media_type="application/geo+json")


@router.get("/overview", summary="Lire les chiffres du territoire")
async def read_overview(caller: Reader) -> Overview:
    """Actifs par état, alertes ouvertes, passerelles, trames par minute, ordres en cours : ce qui est visible."""
    async with caller.reading() as connection:
        counts = await store.count_states(connection)
        figures = await store.read_figures(connection, ONLINE_WITHIN, COUNTED_OVER)
    return Overview(
        at=figures.at,
        assets=[StateCountAnswer.model_validate(count) for count in counts],
        digest=_digest(counts),
        alerts={
            "critical": figures.critical,
            "major": figures.major,
            "warning": figures.warning,
            "info": figures.info,
        },
        unacknowledged=figures.unacknowledged,
        gateways=figures.gateways,
        gateways_online=figures.gateways_online,
        commands=figures.commands,
        uplinks_per_minute=round(figures.uplinks / (COUNTED_OVER.total_seconds() / 60), 1),
    )


def _digest(counts: Sequence[store.StateCount]) -> str:
    """Of all of them, whatever their order."""
    together = 0
    for count in counts:
        together ^= count.digest
    return f"{together & (1 << 64) - 1:016x}"
