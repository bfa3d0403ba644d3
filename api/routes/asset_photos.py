"""Photos of assets: taken where a device was placed, to be found again by who comes after."""

from fastapi import APIRouter, Response
from pydantic import Base64Bytes, Field

from api.auth import Change, FieldAgent, Reader
from api.fields import Body, Id, Label, answer_of, example
from api.jpeg import NoJpeg, stripped
from api.pages import Page
from api.resources import Resource
from api.routes.assets import ASSETS
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from registry.asset_photos import ASSET_PHOTOS, AssetPhoto

router = APIRouter(prefix="/v1", tags=["assets"], responses=PROBLEM_RESPONSES)

OCTETS_MOST = 2 << 20
# In Base64, with what is said of it.
BODY_MOST = OCTETS_MOST // 3 * 4 + (1 << 16)
OF_ONE_ASSET_MOST = 12
MEDIA_TYPE = "image/jpeg"
NO_JPEG = "ce n'est pas une photo JPEG entière"
TOO_LARGE = "une photo compte 2 Mo au plus : réduisez-la, ou laissez la page de pose la réduire"


class NewPhoto(Body):
    """Une photo, en JPEG."""

    model_config = example({"content": "/9j/4AAQSkZJRg==", "remark": "Capteur sous le couvercle"})

    content: Base64Bytes = Field(
        description="Le fichier JPEG en Base64, 2 Mo au plus (8 en morceaux : `/v1/photo-uploads`). Ce que "
        "l'appareil y note (lieu, date, modèle, vignette) est retiré avant que la photo soit gardée"
    )
    remark: Label = Field("", description="Ce qu'on y voit", examples=["Capteur sous le couvercle"])


class PhotoAnswer(answer_of(AssetPhoto, {"tenant_id"})):
    """Une photo, sans son image : `GET /v1/photos/{id}` la donne."""

    remark: str = Field(description="Ce qu'on y voit", examples=["Capteur sous le couvercle"])
    taken_by: str = Field(description="Qui l'a envoyée")
    octets: int = Field(description="Taille du fichier")


PHOTOS = Resource(
    "asset_photo", "photo", ASSET_PHOTOS.read, PhotoAnswer.model_validate, lambda photo: photo.asset_id
)


def picture_of(body: NewPhoto) -> bytes:
    """The file without what the camera notes beside the picture; raises 422 when it is too large, or no photo."""
    if len(body.content) > OCTETS_MOST:
        raise invalid("content", "too_long", TOO_LARGE)
    try:
        return stripped(body.content)
    except NoJpeg:
        raise invalid("content", "jpeg", NO_JPEG) from None


@router.post(
    "/assets/{id}/photos", operation_id="createAssetPhoto", status_code=201, summary="Ajouter une photo d'un actif"
)
async def create_photo(id: Id, body: NewPhoto, caller: FieldAgent) -> PhotoAnswer:
    """Ajouter une photo, douze au plus par actif. Seule la collectivité de l'actif la voit, partages compris."""
    content = picture_of(body)
    async with caller.changing() as change:
        return PHOTOS.show(await add_photo(change, id, body.remark, content))


async def add_photo(change: Change, asset_id: int, remark: str, content: bytes) -> AssetPhoto:
    """Keep what `picture_of` made of a photo of one's own asset; 409 when it has enough of them."""
    asset = await ASSETS.own(change, asset_id)
    if await ASSET_PHOTOS.count(change.connection, asset_id, OF_ONE_ASSET_MOST) >= OF_ONE_ASSET_MOST:
        raise Problem(409, f"cet actif a déjà {OF_ONE_ASSET_MOST} photos : retirez-en une")
    made = await ASSET_PHOTOS.create(change.connection, change.tenant_id, asset.id, remark, change.actor, content)
    await change.audit("add_photo", "asset", asset_id, after=PHOTOS.show(made))
    return made


@router.get("/assets/{id}/photos", operation_id="listAssetPhotos", summary="Lister les photos d'un actif")
async def list_photos(id: Id, caller: Reader) -> Page[PhotoAnswer]:
    """Les photos, la dernière d'abord ; aucune d'un actif qui est à une autre collectivité."""
    async with caller.reading() as connection:
        asset = await ASSETS.get(connection, id)
        photos = await ASSET_PHOTOS.list(connection, asset.id, OF_ONE_ASSET_MOST)
        await PHOTOS.audit_read(caller, connection, photos)
    return Page(items=[PHOTOS.show(photo) for photo in photos], next=None)


@router.get(
    "/photos/{id}",
    summary="Voir une photo",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def read_photo(id: Id, caller: Reader) -> Response:
    """L'image, en JPEG."""
    async with caller.reading() as connection:
        found = await ASSET_PHOTOS.read_content(connection, id)
        if found is None:
            raise PHOTOS.missing(id)
        asset_id, content = found
        await caller.audit_personal(connection, assets=[asset_id])
    return Response(content, media_type=MEDIA_TYPE)


@router.delete("/photos/{id}", status_code=204, summary="Retirer une photo")
async def delete_photo(id: Id, caller: FieldAgent) -> Response:
    """Retirer une photo, pour toujours."""
    async with caller.changing() as change:
        former = await PHOTOS.get(change.connection, id)
        await ASSET_PHOTOS.delete(change.connection, id)
        await change.audit("remove_photo", "asset", former.asset_id, before=PHOTOS.show(former))
    return Response(status_code=204)
