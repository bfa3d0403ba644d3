"""Photos in parts, from a telephone on a bad network: what has arrived stays, and the rest is sent again."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Base64Bytes, Field

from api.auth import Change, FieldAgent, Reader
from api.fields import Body, Id, IdRef, Label, answer_of, example
from api.jpeg import NoJpeg, stripped
from api.resources import Resource
from api.routes.asset_photos import NO_JPEG, add_photo
from api.routes.assets import ASSETS
from api.routes.work_order_photos import add_work_order_photo
from api.routes.work_orders import WORK_ORDERS
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from registry import photo_uploads as store
from registry.photo_uploads import PhotoUpload

router = APIRouter(prefix="/v1/photo-uploads", tags=["assets"], responses=PROBLEM_RESPONSES)

# A photo as a telephone makes it; a part in Base64 is below what a request may have.
OCTETS_MOST, PART_MOST, PARTS_MOST = 8_000_000, 720_000, 1000


class NewPhotoUpload(Body):
    """Une photo, dont les morceaux suivent : d'un actif (d'un kit aussi), ou d'une intervention."""

    model_config = example({"asset_id": 42, "octets": 3145728, "remark": "Capteur sous le couvercle"})

    asset_id: IdRef | None = Field(None, description="L'actif qu'elle montre")
    work_order_id: IdRef | None = Field(None, description="L'intervention dont elle est")
    octets: int = Field(ge=4, le=OCTETS_MOST, description="Taille du fichier JPEG", examples=[3145728])
    remark: Label = Field("", description="Ce qu'on y voit", examples=["Capteur sous le couvercle"])


class NewPhotoPart(Body):
    """Un morceau du fichier."""

    model_config = example({"content": "/9j/4AAQSkZJRg=="})

    content: Base64Bytes = Field(
        description=f"Des octets du fichier, en Base64, {PART_MOST} au plus ; il se coupe n'importe où"
    )


class PhotoUploadAnswer(answer_of(PhotoUpload, {"tenant_id"})):
    """Une photo en morceaux et où elle en est ; oubliée un jour après son début."""

    octets: int = Field(description="Taille annoncée du fichier")
    photo_id: int | None = Field(
        description="La photo, une fois entière : `/v1/photos/{id}`, ou `/v1/work-order-photos/{id}` d'une "
        "intervention"
    )
    received: list[int] = Field([], description="Numéros des morceaux reçus ; vide une fois la photo entière")


UPLOADS = Resource("photo_upload", "photo en morceaux", store.read_upload, PhotoUploadAnswer.model_validate)
LOCKED = Resource("photo_upload", "photo en morceaux", store.lock_upload, PhotoUploadAnswer.model_validate)


def _shown(upload: PhotoUpload, received: Iterable[int]) -> PhotoUploadAnswer:
    return UPLOADS.show(upload).model_copy(update={"received": list(received)})


async def _is_of(change: Change, upload: NewPhotoUpload | PhotoUpload) -> None:
    """404 or 403 when what it shows is not the caller's own."""
    if upload.asset_id is not None:
        await ASSETS.own(change, upload.asset_id)
    if upload.work_order_id is not None:
        await WORK_ORDERS.own(change, upload.work_order_id)


@router.post("", operation_id="createPhotoUpload", status_code=201, summary="Commencer une photo en morceaux")
async def create(body: NewPhotoUpload, caller: FieldAgent) -> PhotoUploadAnswer:
    """Envoyez ensuite ses morceaux, puis `complete`. Ce qui tient dans une requête : `POST .../photos`."""
    if (body.asset_id is None) == (body.work_order_id is None):
        raise invalid("asset_id", "target", "donnez `asset_id` ou `work_order_id`, l'un des deux")
    async with caller.changing() as change:
        await _is_of(change, body)
        made = await store.begin_upload(change.connection, change.tenant_id, change.actor, **body.model_dump())
        shown = UPLOADS.show(made)
        await change.audit("create", UPLOADS.entity, made.id, after=shown)
    return shown


@router.get("/{id}", operation_id="getPhotoUpload", summary="Lire où en est une photo en morceaux")
async def read(id: Id, caller: Reader) -> PhotoUploadAnswer:
    """Les morceaux qui sont arrivés, après une coupure."""
    async with caller.reading() as connection:
        return _shown(await UPLOADS.get(connection, id), await store.list_received(connection, id))


@router.put("/{id}/parts/{number}", operation_id="putPhotoPart", summary="Envoyer un morceau d'une photo")
async def put_part(
    id: Id,
    number: Annotated[
        int, Path(ge=1, le=PARTS_MOST, description="1, 2, 3…, sans trou, dans n'importe quel ordre")
    ],
    body: NewPhotoPart,
    caller: FieldAgent,
) -> PhotoUploadAnswer:
    """Le même numéro remplace le morceau : dans le doute, renvoyez-le."""
    if not 0 < len(body.content) <= PART_MOST:
        raise invalid("content", "too_long", f"1 à {PART_MOST} octets par morceau")
    async with caller.changing() as change:
        upload = await LOCKED.own(change, id)
        if upload.photo_id is not None:
            raise Problem(409, "cette photo est déjà entière")
        await store.put_part(change.connection, id, number, body.content)
        received = await store.list_received(change.connection, id)
        so_far = sum(received.values())
        if so_far > upload.octets:
            raise invalid("content", "too_long", f"{so_far} octets avec ce morceau, {upload.octets} annoncés")
        shown = _shown(upload, received)
        part = {"number": number, "octets": len(body.content)}
        await change.audit("put_part", UPLOADS.entity, id, part, after=shown)
    return shown


@router.post("/{id}/complete", operation_id="completePhotoUpload", summary="Terminer une photo en morceaux")
async def complete(id: Id, caller: FieldAgent) -> PhotoUploadAnswer:
    """Ce que l'appareil y note est retiré, et la photo gardée. Ce qui n'est pas une photo est refusé et oublié."""
    async with caller.changing() as change:
        upload = await LOCKED.own(change, id)
        if upload.photo_id is not None:  # The answer was lost.
            return UPLOADS.show(upload)
        _check_whole(upload, await store.list_received(change.connection, id))
        try:
            content = stripped(await store.read_content(change.connection, id))
        except NoJpeg:
            content = None
            await store.drop_upload(change.connection, id)
            await change.audit("drop", UPLOADS.entity, id, before=UPLOADS.show(upload))
        else:
            upload = await _keep(change, upload, content)
    if content is None:
        raise Problem(422, f"{NO_JPEG} : rien n'en est gardé, envoyez-la de nouveau depuis son début")
    return UPLOADS.show(upload)


def _check_whole(upload: PhotoUpload, received: dict[int, int]) -> None:
    """409 while something is missing."""
    hole = next((number for number in range(1, len(received) + 1) if number not in received), None)
    if hole is not None:
        raise Problem(409, f"il manque le morceau {hole}")
    so_far = sum(received.values())
    if so_far != upload.octets:
        raise Problem(409, f"{so_far} octets reçus sur {upload.octets} : envoyez la suite")


async def _keep(change: Change, upload: PhotoUpload, content: bytes) -> PhotoUpload:
    if upload.asset_id is not None:
        photo_id = (await add_photo(change, upload.asset_id, upload.remark, content)).id
    else:
        assert upload.work_order_id is not None  # noqa: S101 - The table demands one of them.
        photo_id = (await add_work_order_photo(change, upload.work_order_id, upload.remark, content)).id
    finished = await store.finish_upload(change.connection, upload.id, photo_id)
    assert finished is not None  # noqa: S101 - This transaction has locked it.
    return finished
