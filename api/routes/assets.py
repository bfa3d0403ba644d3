"""Assets: what people care about, and the device that serves each now."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api import asset_list_store as store
from api.auth import Change, FieldAgent, Manager, Reader
from api.extent import Placed
from api.fields import (
    INT4_MOST,
    PRINTABLE,
    Archived,
    ArchivedBody,
    AssetKind,
    Attributes,
    Body,
    Eui,
    Id,
    IdQuery,
    IdRef,
    Insee,
    Latitude,
    Longitude,
    Name,
    PlacedPatch,
    Reference,
    Search,
    ShortText,
    Text,
    Word,
    answer_of,
    example,
)
from api.list_fields import BATTERY_TEXT, BEST_TEXT, SORT_TEXT, ExpectedInterval, Model, Quarter, Tag
from api.pages import Limit, Page, Paged, ask_of, cursor_of
from api.resources import Resource
from api.routes.asset_states import STATES_TEXT, State, StateQuery
from core.model.entities import Asset
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem, invalid, not_found
from core.runtime.postgres import Connection
from registry import assets, privacy
from registry.asset_attributes import InvalidAttributes, checked_attributes
from registry.assignments import (
    Served,
    Serving,
    UnknownAsset,
    UnknownDevEui,
    assign,
    end_assignment,
    list_served,
    read_serving,
)
from registry.places import ANYWHERE
from registry.privacy import Subject

router = APIRouter(prefix="/v1/assets", tags=["assets"], responses=PROBLEM_RESPONSES)

CONTAINER_EXAMPLE: dict[str, Any] = {"container": {"empty_distance_mm": 1700, "full_distance_mm": 300}}
ATTRIBUTES_TEXT = (
    "Ceux de son type, de `/v1/asset-kinds`, 32 ko au plus ; d'un autre type ils sont libres. `container` décrit "
    "la géométrie d'un conteneur : `empty_distance_mm` et "
    "`full_distance_mm`, ou `table` de couples [distance, pourcentage], et `dead_zone_mm`. `rated_power_w` est "
    "la puissance des lampes d'une armoire ou d'un circuit, en watts ; leurs horaires sont des programmes "
    "(`/v1/lighting-programs`). Un nom ou une valeur que le type n'a pas est refusé."
)
REFERENCE_TEXT = "Sa référence dans le logiciel de la collectivité, unique par type d'actif"
QUARTER_TEXT = "Quartier, tel que ses habitants l'appellent"
AssetSort = Literal[
    "id", "-id", "name", "-name", "kind", "-kind", "commune", "-commune", "last_seen_at", "-last_seen_at",
    "state", "-state", "distance", "-distance",
]  # fmt: skip
PERSONAL = 2
CONFIRM_FIRST = "confirmez d'abord sa classe : POST /v1/privacy/confirmations"
TAGS_TEXT = "Étiquettes : un partage peut porter sur tous les actifs d'une étiquette"
PRIVACY_TEXT = "0 public, 1 interne, 2 donnée personnelle"
NEW_CLASS_TEXT = (
    f"{PRIVACY_TEXT} ; absente : 2 pour un logement, ce qui en dépend et un compteur dont rien ne dit qu'il n'est "
    "pas celui d'un foyer, sinon 0. Un logement et ce qui en dépend sont de classe 2, quoi qu'on dise"
)


class NewAsset(Body):
    """Ce que la collectivité possède : un conteneur, une armoire, une salle, un compteur."""

    model_config = example(
        {
            "kind": "glass_container",
            "name": "Borne à verre 12",
            "commune": "Landerneau",
            "street": "4 place du Marché",
            "latitude": 48.4499,
            "longitude": -4.2516,
            "attributes": CONTAINER_EXAMPLE,
        }
    )

    kind: Word = Field(description="Type d'actif", examples=["glass_container"])
    name: Name = Field(examples=["Borne à verre 12"])
    commune: Text = Field("", examples=["Landerneau"])
    street: Text = Field("", examples=["4 place du Marché"])
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    attributes: Attributes = Field(default_factory=dict, examples=[CONTAINER_EXAMPLE], description=ATTRIBUTES_TEXT)
    privacy_class: int | None = Field(None, ge=0, le=2, description=NEW_CLASS_TEXT)
    tags: list[Word] = Field(
        default_factory=list[str], max_length=20, description=TAGS_TEXT, examples=[["ecoles"]]
    )
    external_reference: Reference | None = Field(None, description=REFERENCE_TEXT)
    insee: Insee | None = Field(None, description="Code INSEE de la commune")
    quarter: ShortText = Field("", description=QUARTER_TEXT)


class AssetPatch(PlacedPatch):
    """Ce qui change ; un champ absent reste tel quel, null le vide."""

    model_config = example({"street": "6 place du Marché"})
    EMPTIED: ClassVar[Mapping[str, Any]] = {
        "commune": "",
        "street": "",
        "latitude": None,
        "longitude": None,
        "attributes": {},
        "tags": [],
        "external_reference": None,
        "insee": None,
        "quarter": "",
    }

    kind: Word | None = None
    name: Name | None = None
    commune: Text | None = None
    street: Text | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    attributes: Attributes | None = Field(None, description=ATTRIBUTES_TEXT)
    privacy_class: int | None = Field(None, ge=0, le=2, description=PRIVACY_TEXT)
    tags: list[Word] | None = Field(None, max_length=20, description=TAGS_TEXT, examples=[["ecoles"]])
    external_reference: Reference | None = Field(None, description=REFERENCE_TEXT)
    insee: Insee | None = Field(None, description="Code INSEE de la commune")
    quarter: ShortText | None = Field(None, description=QUARTER_TEXT)


class ServingDevice(answer_of(Serving, {"device_id"})):
    """Un capteur qui sert l'actif en ce moment."""

    dev_eui: Eui


class ServedDevice(answer_of(Served, {"device_id"})):
    """Un capteur qui sert l'actif, ou l'a servi."""

    dev_eui: Eui
    position: str = Field(description="La place du capteur, quand plusieurs servent le même actif")
    until: datetime | None = Field(description="null : il le sert encore")


class AssetAnswer(answer_of(Asset)):
    """Un actif."""

    tenant_id: int = Field(description="La collectivité à qui il est")
    parent_id: int | None = Field(description="Ce dont il dépend : ses alertes sont expliquées par les siennes")
    external_reference: str | None = Field(description=REFERENCE_TEXT)
    insee: str | None = Field(description="Code INSEE de la commune")
    position_insee: str | None = Field(
        description="Code INSEE de la commune dont le contour contient sa position ; null : aucun contour"
    )
    commune_by_position: bool = Field(
        description="true : sa commune est celle de sa position ; false : elle a été saisie ou importée, et reste"
    )
    quarter: str = Field(description=QUARTER_TEXT)


ASSETS = Resource("asset", "actif", assets.read_asset, AssetAnswer.model_validate, lambda asset: asset.id)


class ListedAsset(AssetAnswer):
    """Un actif, comment il va, et le capteur qui le sert."""

    state: State = Field(description=STATES_TEXT)
    alerts: int = Field(description="Alertes ouvertes")
    last_seen_at: datetime | None = Field(description="Dernière mesure envoyée par un de ses capteurs")
    expected_interval_s: ExpectedInterval = Field(
        validation_alias="expected_interval", description="En secondes ; null : aucun capteur ne le sert"
    )
    dev_eui: Eui | None = Field(description="Le capteur qui le sert ; de plusieurs, celui de la première place")
    model: str | None = Field(description="Le modèle de ce capteur")
    battery_percent: float | None = Field(description=BATTERY_TEXT)
    best_gateway: Eui | None = Field(description=BEST_TEXT)
    best_rssi: float | None = Field(description="En dBm")
    best_snr: float | None = Field(description="En dB")


class AssetDetail(AssetAnswer):
    """Un actif et les capteurs qui le servent."""

    devices: list[ServingDevice]


class Parent(Body):
    """Ce dont l'actif dépend : une lampe de son armoire, un compteur d'un autre."""

    model_config = example({"parent_id": 12})

    parent_id: IdRef | None = Field(description="null : de rien")


class Position(Body):
    """Où l'actif se trouve, en WGS 84."""

    model_config = example({"latitude": 48.4499, "longitude": -4.2516})

    latitude: Latitude
    longitude: Longitude


class AssignedDevice(Body):
    """Le capteur qui sert l'actif à partir de maintenant."""

    model_config = example({"dev_eui": "70b3d57ed0001234"})

    dev_eui: Eui
    position: ShortText = Field("", description="La place du capteur, quand plusieurs servent le même actif")


async def _detail(connection: Connection, asset: Asset) -> AssetDetail:
    serving = await read_serving(connection, asset.id)
    return AssetDetail(
        **AssetAnswer.model_validate(asset).model_dump(),
        devices=[ServingDevice.model_validate(device) for device in serving],
    )


def checked_kind_attributes(
    kind: str, given: dict[str, Any], former: dict[str, Any] | None = None
) -> dict[str, Any]:
    """As they are kept; 422 for what this kind of asset does not have."""
    try:
        return checked_attributes(kind, given, former)
    except InvalidAttributes as wrong:
        errors = [
            FieldError(field=f"body.attributes.{name}", code="attribute", message=why)
            for name, why in wrong.wrong.items()
        ]
        raise Problem(422, str(wrong), errors=errors) from None


async def _check_class(connection: Connection, former: Asset, wanted: int | None) -> None:
    """409 when class 2 would delete data and nobody has confirmed that; 422 for a dwelling that would be less."""
    if wanted is None or wanted == former.privacy_class:
        return
    if wanted < PERSONAL and not await privacy.may_be_less(connection, former.id):
        raise invalid("privacy_class", "dwelling", "un logement et ce qui en dépend sont de classe 2")
    if wanted == PERSONAL:
        loss = await privacy.count_loss(connection, Subject(asset_id=former.id))
        if loss.rows:
            raise Problem(
                409,
                f"{loss.rows} lignes seraient effacées, la plus ancienne de {loss.oldest:%m/%Y} : {CONFIRM_FIRST}",
            )


async def _serving(change: Change, asset_id: int) -> dict[str, Any]:
    """Which devices serve an asset, for the audit."""
    serving = await read_serving(change.connection, asset_id)
    return {"devices": [ServingDevice.model_validate(device).model_dump(mode="json") for device in serving]}


@router.post("", status_code=201, summary="Créer un actif")
async def create_asset(body: NewAsset, caller: Manager) -> AssetAnswer:
    """Créer un actif."""
    given = body.model_dump() | {"attributes": checked_kind_attributes(body.kind, body.attributes)}
    return await ASSETS.create(
        caller, lambda change: assets.create_asset(change.connection, change.tenant_id, given)
    )


@router.get("", summary="Lister les actifs")
async def list_assets(
    caller: Reader,
    paging: Paged,
    kind: AssetKind = None,
    q: Annotated[Search, Query(description="Cherche dans le nom, la rue et la référence")] = None,
    tag: Tag = None,
    tenant_id: Annotated[
        int | None,
        Query(ge=1, le=INT4_MOST, description="Collectivité propriétaire ; absente : toutes les visibles"),
    ] = None,
    archived: Archived = False,
    external_reference: Annotated[
        str | None, Query(max_length=100, pattern=PRINTABLE, description="Référence externe, exacte")
    ] = None,
    parent_id: IdQuery = None,
    quarter: Quarter = None,
    model: Model = None,
    state: StateQuery = None,
    sort: Annotated[AssetSort, Query(description=SORT_TEXT)] = "id",
    place: Placed = ANYWHERE,
) -> Page[ListedAsset]:
    """Les actifs visibles, les siens et ceux qui sont partagés, avec comment ils vont."""
    wanted = assets.WantedAssets(
        kind, q, tag, tenant_id, archived, external_reference, parent_id, quarter, model, place
    )
    ask = ask_of(paging, sort, store.LIST_WITH_STATES)
    async with caller.reading() as connection:
        part = await store.list_assets(connection, ask, wanted, state)
        found = await assets.read_in_order(connection, part.ids)
        conditions = await store.read_conditions(connection, part.ids)
        await ASSETS.audit_read(caller, connection, found)
    items = [
        ListedAsset.model_validate(asdict(one) | asdict(conditions[one.id]))
        for one in found
        if one.id in conditions
    ]
    return Page(items=items, next=cursor_of(sort, part.following))


@router.get("/{id}", summary="Lire un actif")
async def read_asset(id: Id, caller: Reader) -> AssetDetail:
    """Un actif et les capteurs qui le servent."""
    async with caller.reading() as connection:
        asset = await ASSETS.get(connection, id)
        await ASSETS.audit_read(caller, connection, [asset])
        return await _detail(connection, asset)


@router.patch("/{id}", summary="Modifier un actif")
async def update_asset(id: Id, body: AssetPatch, caller: Manager) -> AssetDetail:
    """Modifier un actif ; la modification est active partout en 5 secondes."""
    async with caller.changing() as change:
        former = await ASSETS.find(change.connection, id)
        given = body.changed()
        if former is not None and former.tenant_id == change.tenant_id:
            await _check_class(change.connection, former, body.privacy_class)
            if "attributes" in given:
                kind = body.kind or former.kind
                given["attributes"] = checked_kind_attributes(kind, given["attributes"], former.attributes)
        try:
            asset = await assets.update_asset(change.connection, id, given)
        except assets.ClassToConfirm:
            raise Problem(409, CONFIRM_FIRST) from None
        if asset is None or former is None:
            raise await ASSETS.rejection(change.connection, id)
        await change.audit("update", "asset", id, before=ASSETS.show(former), after=ASSETS.show(asset))
        return await _detail(change.connection, asset)


@router.put("/{id}/archived", operation_id="archiveAsset", summary="Archiver un actif, ou l'en ressortir")
async def archive(id: Id, body: ArchivedBody, caller: Manager) -> AssetAnswer:
    """Archiver un actif : hors des listes, des alertes et des données manquantes ; son historique reste lisible.

    Ses alertes ouvertes se terminent. Pour l'effacer avec tout ce qui le concerne : `/v1/data-subjects`.
    """
    async with caller.changing() as change:
        former = await ASSETS.own(change, id)
        asset = await assets.archive_asset(change.connection, id, archived=body.archived)
        if asset is None:
            raise ASSETS.missing(id)
        action = "archive" if body.archived else "unarchive"
        await change.audit(action, "asset", id, before=ASSETS.show(former), after=ASSETS.show(asset))
    return AssetAnswer.model_validate(asset)


@router.put("/{id}/parent", operation_id="setAssetParent", summary="Dire de quoi dépend un actif")
async def set_parent(id: Id, body: Parent, caller: Manager) -> AssetAnswer:
    """Rattacher un actif : tant qu'une panne de ce dont il dépend est annoncée, les siennes ne le sont pas."""
    async with caller.changing() as change:
        former = await ASSETS.find(change.connection, id)
        try:
            asset = await assets.set_parent(change.connection, id, body.parent_id)
        except assets.ClassToConfirm:
            raise Problem(409, CONFIRM_FIRST) from None
        if asset is None or former is None:
            await ASSETS.own(change, id)
            raise Problem(422, "l'actif dont il dépendrait n'existe pas, ou dépend déjà de lui")
        await change.audit("update", "asset", id, before=ASSETS.show(former), after=ASSETS.show(asset))
    return AssetAnswer.model_validate(asset)


@router.put("/{id}/position", summary="Dire où se trouve un actif")
async def place_asset(id: Id, body: Position, caller: FieldAgent) -> AssetDetail:
    """Dire où se trouve un actif, comme on le voit sur place."""
    async with caller.changing() as change:
        former = await ASSETS.own(change, id)
        asset = await assets.update_asset(change.connection, id, body.model_dump())
        if asset is None:
            raise ASSETS.missing(id)
        await change.audit("place", "asset", id, before=ASSETS.show(former), after=ASSETS.show(asset))
        return await _detail(change.connection, asset)


@router.put("/{id}/device", operation_id="assignAssetDevice", summary="Poser ou remplacer le capteur d'un actif")
async def assign_device(id: Id, body: AssignedDevice, caller: FieldAgent) -> AssetDetail:
    """Poser ou remplacer le capteur. L'ancien s'arrête ici, l'historique de l'actif continue."""
    async with caller.changing() as change:
        former = await _serving(change, id)
        try:
            changed = await assign(change.connection, id, bytes.fromhex(body.dev_eui), body.position)
        except UnknownAsset:
            raise await ASSETS.rejection(change.connection, id) from None
        except UnknownDevEui:
            raise not_found(f"capteur {body.dev_eui}") from None
        if changed:
            serving = await _serving(change, id)
            await change.audit("assign_device", "asset", id, body.model_dump(), before=former, after=serving)
        return await _detail(change.connection, await ASSETS.get(change.connection, id))


@router.get(
    "/{id}/devices", operation_id="listAssetDevices", summary="Lister les capteurs d'un actif, présents et passés"
)
async def list_devices(id: Id, caller: Reader, limit: Limit = 50) -> Page[ServedDevice]:
    """Les capteurs qui servent l'actif et ceux qui l'ont servi, le dernier posé d'abord."""
    async with caller.reading() as connection:
        asset = await ASSETS.get(connection, id)
        await ASSETS.audit_read(caller, connection, [asset])
        served = await list_served(connection, id, limit)
    return Page(items=[ServedDevice.model_validate(one) for one in served], next=None)


@router.delete(
    "/{id}/device", operation_id="endAssetDevice", status_code=204, summary="Retirer le capteur d'un actif"
)
async def end_device(
    id: Id,
    caller: FieldAgent,
    position: Annotated[
        str | None, Query(max_length=63, description="La place du capteur ; absente : toutes")
    ] = None,
) -> Response:
    """Retirer le capteur de l'actif ; l'historique reste."""
    async with caller.changing() as change:
        former = await _serving(change, id)
        try:
            ended = await end_assignment(change.connection, id, position)
        except UnknownAsset:
            raise await ASSETS.rejection(change.connection, id) from None
        if not ended:
            raise not_found(f"capteur de l'actif {id}")
        serving = await _serving(change, id)
        await change.audit("end_device", "asset", id, {"position": position}, before=former, after=serving)
    return Response(status_code=204)
