"""Photos of work orders: what was found and what was done."""

from fastapi import APIRouter, Response
from pydantic import Field

from alerting.work_order_photos import WORK_ORDER_PHOTOS, WorkOrderPhoto
from api.auth import Change, FieldAgent, Reader
from api.fields import Id, answer_of
from api.pages import Page
from api.resources import Resource
from api.routes.asset_photos import MEDIA_TYPE, NewPhoto, picture_of
from api.routes.work_orders import WORK_ORDERS, audit_read
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem

router = APIRouter(prefix="/v1", tags=["work-orders"], responses=PROBLEM_RESPONSES)

OF_ONE_ORDER_MOST = 12


class WorkOrderPhotoAnswer(answer_of(WorkOrderPhoto, {"tenant_id"})):
    """Une photo, sans son image : `GET /v1/work-order-photos/{id}` la donne."""

    remark: str = Field(description="Ce qu'on y voit", examples=["Disjoncteur remplacé"])
    taken_by: str = Field(description="Qui l'a envoyée")
    octets: int = Field(description="Taille du fichier")


PHOTOS = Resource("work_order_photo", "photo", WORK_ORDER_PHOTOS.read, WorkOrderPhotoAnswer.model_validate)


@router.post("/work-orders/{id}/photos", status_code=201, summary="Ajouter une photo d'une intervention")
async def create_work_order_photo(id: Id, body: NewPhoto, caller: FieldAgent) -> WorkOrderPhotoAnswer:
    """Ajouter une photo, douze au plus par intervention ; ce que l'appareil y note est retiré."""
    content = picture_of(body)
    async with caller.changing() as change:
        return PHOTOS.show(await add_work_order_photo(change, id, body.remark, content))


async def add_work_order_photo(change: Change, order_id: int, remark: str, content: bytes) -> WorkOrderPhoto:
    """Keep what `picture_of` made of a photo of one's own work order; 409 when it has enough of them."""
    order = await WORK_ORDERS.own(change, order_id)
    if await WORK_ORDER_PHOTOS.count(change.connection, order_id, OF_ONE_ORDER_MOST) >= OF_ONE_ORDER_MOST:
        raise Problem(409, f"cette intervention a déjà {OF_ONE_ORDER_MOST} photos : retirez-en une")
    made = await WORK_ORDER_PHOTOS.create(
        change.connection, change.tenant_id, order.id, remark, change.actor, content
    )
    await change.audit("add_photo", WORK_ORDERS.entity, order_id, after=PHOTOS.show(made))
    return made


@router.get("/work-orders/{id}/photos", summary="Lister les photos d'une intervention")
async def list_work_order_photos(id: Id, caller: Reader) -> Page[WorkOrderPhotoAnswer]:
    """Les photos, la dernière d'abord."""
    async with caller.reading() as connection:
        order = await WORK_ORDERS.get(connection, id)
        photos = await WORK_ORDER_PHOTOS.list(connection, order.id, OF_ONE_ORDER_MOST)
        await audit_read(caller, connection, [order])
    return Page(items=[PHOTOS.show(photo) for photo in photos], next=None)


@router.get(
    "/work-order-photos/{id}",
    summary="Voir une photo d'une intervention",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def read_work_order_photo(id: Id, caller: Reader) -> Response:
    """L'image, en JPEG."""
    async with caller.reading() as connection:
        found = await WORK_ORDER_PHOTOS.read_content(connection, id)
        if found is None:
            raise PHOTOS.missing(id)
        order_id, content = found
        await audit_read(caller, connection, [await WORK_ORDERS.get(connection, order_id)])
    return Response(content, media_type=MEDIA_TYPE)


@router.delete("/work-order-photos/{id}", status_code=204, summary="Retirer une photo d'une intervention")
async def delete_work_order_photo(id: Id, caller: FieldAgent) -> Response:
    """Retirer une photo, pour toujours."""
    async with caller.changing() as change:
        former = await PHOTOS.get(change.connection, id)
        await WORK_ORDER_PHOTOS.delete(change.connection, id)
        before = PHOTOS.show(former)
        await change.audit("remove_photo", WORK_ORDERS.entity, former.work_order_id, before=before)
    return Response(status_code=204)
