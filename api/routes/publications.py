"""What a tenant shows to everybody, and what everybody reads of it."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Path, Request, Response
from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from api.auth import Caller, Change, Manager, Publisher
from api.fields import Answer, Body, Id, IdRef, Instant, Name, Patch, Slug, answer_of, example
from api.pages import Page
from api.public_pages import Published, cacheable, read_published
from api.resources import Resource
from api.routes.assets import ASSETS
from core.model.quantities import QUANTITIES
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, read_only
from registry import publications
from registry.publications import NeverPublished, Publication, SlugTaken, State, UnknownAsset, Withdrawn

router = APIRouter(prefix="/v1", tags=["publications"], responses=PROBLEM_RESPONSES)

LONGEST_DELAY_S = 366 * 86_400
HOSTS_MOST = 20
GONE = 410
STATE_TEXT = (
    "`published` tout le monde la lit ; `to_approve` de classe 1, attend l'approbation d'une personne ; `ended` "
    "sa date de fin est passée ; `withdrawn` retirée"
)
REASON_TEXT = (
    "`asked` par quelqu'un ; `class` une classe a monté ; `archived` l'actif l'est ; `transferred` il est passé "
    "à une autre collectivité"
)
CLASS_TEXT = (
    "La plus haute de ce qu'elle montre : 0, ou 1 qui s'approuve nommément ; rien de classe 2 n'est publié"
)
PERSONAL = "cet actif, ou une de ces grandeurs, est de classe 2 (donnée personnelle) : jamais publié"
TAKEN = "cette adresse est déjà prise"


def _known(quantity: str) -> str:
    if quantity not in QUANTITIES:
        raise PydanticCustomError("quantity", "grandeur inconnue : voir /v1/quantities")
    return quantity


QuantityWord = Annotated[str, StringConstraints(max_length=63), AfterValidator(_known)]
Quantities = Annotated[list[QuantityWord], Field(min_length=1, max_length=50, examples=[["temperature", "co2"]])]
Delay = Annotated[
    int,
    Field(
        ge=0,
        le=LONGEST_DELAY_S,
        description="Âge, en secondes, à partir duquel une mesure se montre",
        examples=[900],
    ),
]
Host = Annotated[
    str,
    StringConstraints(to_lower=True, pattern=r"^https://(\*\.)?[a-zA-Z0-9.-]{1,250}(:[0-9]{1,5})?$"),
    Field(examples=["https://www.ville.example"]),
]
BELOW_TEXT = "Avec ce qui en dépend : les salles d'un bâtiment. Ce qui y est de classe 2 n'est pas montré"
EMBED_TEXT = "Si les sites de `/v1/publication-hosts` peuvent l'afficher dans leurs pages"


class NewPublication(Body):
    """Ce que tout le monde pourra lire d'un actif, ou d'un bâtiment et de ce qui en dépend."""

    model_config = example({"asset_id": 42, "name": "École Pasteur", "quantities": ["temperature", "co2"]})

    asset_id: IdRef
    name: Name = Field(description="Le titre de la page", examples=["École Pasteur"])
    slug: Slug | None = Field(
        None,
        description="La fin de l'adresse, /public/{slug} ; absente : faite du nom",
        examples=["ecole-pasteur"],
    )
    quantities: Quantities
    includes_below: bool = Field(False, description=BELOW_TEXT)
    delay_seconds: Delay = 0
    may_embed: bool = Field(False, description=EMBED_TEXT)
    until: Instant | None = Field(None, description="Jusqu'à quand ; null : sans fin")


class PublicationPatch(Patch):
    """Ce qui change ; un champ absent reste tel quel. En classe 1, montrer plus ou plus tôt s'approuve."""

    model_config = example({"delay_seconds": 3600})
    EMPTIED: ClassVar[Mapping[str, Any]] = {"until": None}

    name: Name | None = None
    quantities: Quantities | None = None
    includes_below: bool | None = Field(None, description=BELOW_TEXT)
    delay_seconds: Delay | None = None
    may_embed: bool | None = Field(None, description=EMBED_TEXT)
    until: Instant | None = Field(None, description="Jusqu'à quand ; null : sans fin")


class PublicationAnswer(answer_of(Publication, {"tenant_id"})):
    """Une publication."""

    state: State = Field(description=STATE_TEXT)
    privacy_class: int = Field(description=CLASS_TEXT)
    withdrawn_reason: str | None = Field(description=REASON_TEXT)


class PublishableAnswer(answer_of(publications.Publishable)):
    """Une grandeur qui peut être publiée."""

    is_below: bool = Field(description="Mesurée de ce qui dépend de l'actif, et non de lui")


class Hosts(Body):
    """Les sites qui peuvent afficher les pages publiques de la collectivité dans les leurs."""

    model_config = example({"hosts": ["https://www.ville.example"]})

    hosts: list[Host] = Field(max_length=HOSTS_MOST)


class HostsAnswer(Answer):
    """Les sites qui peuvent afficher les pages publiques de la collectivité dans les leurs."""

    items: list[str]


class PublicDayAnswer(Answer):
    """Un jour local."""

    day: date
    value: float | None = Field(
        description="Moyenne ; d'un état, la part du temps ; d'un index, ce dont il a progressé ; null : inconnu"
    )


class PublicValueAnswer(Answer):
    """Ce qui est publié d'une grandeur."""

    asset: str
    kind: str
    quantity: str = Field(examples=["temperature"])
    label_fr: str
    label_en: str
    unit: str = Field(description="Code UCUM", examples=["Cel"])
    position: str
    channel: str
    value: float | None = Field(description="La dernière mesure ; null : on ne le sait pas, ou plus")
    time: datetime | None = Field(description="Son instant")
    unknown_since: datetime | None = Field(
        description="Sans valeur : l'instant de la dernière mesure ; null si rien n'a jamais été mesuré"
    )
    days: list[PublicDayAnswer] = Field(description="Les 30 derniers jours entiers")


class PublicAnswer(Answer):
    """Ce que tout le monde peut lire à une adresse."""

    slug: str
    name: str
    kind: str
    commune: str
    owner: str = Field(description="La collectivité qui publie")
    published_at: datetime
    until: datetime | None
    delay_seconds: int
    timezone: str = Field(description="Le calendrier de ses jours")
    values: list[PublicValueAnswer]


PUBLICATIONS = Resource(
    "publication", "publication", publications.read_publication, PublicationAnswer.model_validate
)


async def _judged(made: Callable[[], Awaitable[Publication | None]]) -> Publication | None:
    """What is made, or why not."""
    try:
        return await made()
    except NeverPublished:
        raise invalid("quantities", "class", PERSONAL) from None
    except UnknownAsset:
        raise invalid("asset_id", "unknown", "actif introuvable, archivé, ou à une autre collectivité") from None
    except SlugTaken:
        raise Problem(409, TAKEN) from None
    except Withdrawn:
        raise Problem(409, "cette publication est retirée : faites-en une autre, à la même adresse") from None


def _check_end(until: datetime | None) -> None:
    if until is not None and until <= datetime.now(UTC):
        raise invalid("until", "past", "la fin est dans le passé")


@router.get(
    "/assets/{id}/publishable",
    operation_id="listPublishableQuantities",
    summary="Lister ce qui peut être publié d'un actif",
)
async def list_publishable(id: Id, caller: Publisher) -> Page[PublishableAnswer]:
    """Les grandeurs d'un actif et de ce qui en dépend, sans ce qui est de classe 2."""
    async with caller.reading() as connection:
        asset = await ASSETS.get(connection, id)
        if asset.tenant_id != caller.principal.tenant_id:
            raise read_only(f"actif {id}")
        found = await publications.list_publishable(connection, id)
    return Page(items=[PublishableAnswer.model_validate(one) for one in found], next=None)


@router.get("/publications", summary="Lister les publications")
async def list_publications(caller: Publisher) -> Page[PublicationAnswer]:
    """Les publications de la collectivité, aussi celles qui ont été retirées, la dernière d'abord."""
    return await PUBLICATIONS.list(caller, publications.list_publications)


@router.post("/publications", status_code=201, summary="Publier un actif ou un bâtiment")
async def create_publication(body: NewPublication, caller: Publisher) -> PublicationAnswer:
    """Montrer des grandeurs à tout le monde, à /public/{slug} : aussitôt, ou en classe 1 une fois approuvé.

    Une classe qui monte, un actif archivé ou passé à une autre collectivité la retire aussitôt.
    """
    _check_end(body.until)

    def create(change: Change) -> Awaitable[Publication | None]:
        given = body.model_dump(exclude={"asset_id", "slug"})
        return _judged(
            lambda: publications.create_publication(
                change.connection, change.tenant_id, body.asset_id, body.slug, change.actor, given
            )
        )

    return await PUBLICATIONS.create(caller, create)


@router.get("/publications/{id}", summary="Lire une publication")
async def read_publication(id: Id, caller: Publisher) -> PublicationAnswer:
    """Une publication."""
    return await PUBLICATIONS.read(caller, id)


@router.patch("/publications/{id}", summary="Modifier une publication")
async def update_publication(id: Id, body: PublicationPatch, caller: Publisher) -> PublicationAnswer:
    """Modifier une publication ; son adresse et son actif restent."""
    _check_end(body.until)
    given = body.changed()
    return await PUBLICATIONS.change(
        caller,
        id,
        lambda connection, key: _judged(lambda: publications.update_publication(connection, key, given)),
    )


@router.post("/publications/{id}/approval", summary="Approuver une publication de classe 1")
async def approve_publication(id: Id, caller: Manager) -> PublicationAnswer:
    """L'approuver, sous son nom : il faut la session d'une personne, une clé d'API n'en a pas."""
    name = caller.person().row.person_name
    async with caller.changing() as change:
        former = await PUBLICATIONS.get(change.connection, id)
        made = await _judged(lambda: publications.approve_publication(change.connection, id, name))
        if made is None:
            raise Problem(409, f"déjà approuvée par {former.approved_by}")
        await change.audit(
            "approve", "publication", id, before=PUBLICATIONS.show(former), after=PUBLICATIONS.show(made)
        )
    return PUBLICATIONS.show(made)


@router.post("/publications/{id}/withdrawal", summary="Retirer une publication")
async def withdraw_publication(id: Id, caller: Publisher) -> PublicationAnswer:
    """La retirer : 410 aussitôt, chez qui l'a gardée après une minute. L'adresse reste à la collectivité."""
    async with caller.changing() as change:
        former = await PUBLICATIONS.get(change.connection, id)
        made = await publications.withdraw_publication(change.connection, id, change.actor)
        if made is None:
            raise Problem(409, "déjà retirée")
        await change.audit(
            "withdraw", "publication", id, before=PUBLICATIONS.show(former), after=PUBLICATIONS.show(made)
        )
    return PUBLICATIONS.show(made)


async def read_preview(publication_id: int, caller: Caller) -> Published:
    """What a publication shows, or will show once it is approved."""
    async with caller.reading() as connection:
        row = await PUBLICATIONS.get(connection, publication_id)
        found = await read_published(connection, row.slug, row.id)
    if found is None:
        raise Problem(409, "cette publication est retirée : elle ne montre plus rien")
    return found


@router.get("/publications/{id}/preview", summary="Lire une publication comme tout le monde la lira")
async def preview_publication(id: Id, caller: Publisher) -> PublicAnswer:
    """Ce qu'elle montre, ou montrera une fois approuvée."""
    return public_answer(await read_preview(id, caller))


@router.get(
    "/publication-hosts",
    operation_id="listPublicationHosts",
    summary="Lister les sites qui peuvent afficher les pages publiques",
)
async def list_hosts(caller: Publisher) -> HostsAnswer:
    """Les sites dont les pages peuvent contenir celles de la collectivité (`frame-ancestors`)."""
    async with caller.reading() as connection:
        return HostsAnswer(items=await publications.list_hosts(connection))


@router.put(
    "/publication-hosts",
    operation_id="replacePublicationHosts",
    summary="Dire quels sites peuvent afficher les pages publiques",
)
async def replace_hosts(body: Hosts, caller: Manager) -> HostsAnswer:
    """Ces sites, et aucun autre : `https://www.ville.example`, `https://*.ville.example`."""
    async with caller.changing() as change:
        former = await publications.list_hosts(change.connection)
        await publications.set_hosts(change.connection, change.tenant_id, body.hosts)
        answer = HostsAnswer(items=await publications.list_hosts(change.connection))
        await change.audit(
            "update", "publication_host", change.tenant_id, before=HostsAnswer(items=former), after=answer
        )
    return answer


PublicSlug = Annotated[str, Path(max_length=200, description="La fin de l'adresse", examples=["ecole-pasteur"])]


@router.get(
    "/public/{slug}",
    operation_id="getPublicData",
    summary="Lire ce qui est publié à une adresse",
    response_model=PublicAnswer,
    responses={
        304: {"description": "Inchangé depuis cet ETag"},
        410: PROBLEM_RESPONSES[404] | {"description": "Retiré"},
    },
)
async def read_public(slug: PublicSlug, request: Request) -> Response:
    """Sans clé ni session : dernières valeurs et 30 jours, à garder une minute ; 410 quand c'est fini."""
    found = await read_published(request.app.state.platform.pool, slug)
    if found is None:
        raise Problem(404, "rien n'est publié à cette adresse")
    if found.page.ended_at is not None:
        raise Problem(GONE, f"cette publication a pris fin le {found.page.ended_at:%d/%m/%Y}")
    return cacheable(request, public_answer(found).model_dump_json().encode(), "application/json", {})


def public_answer(found: Published) -> PublicAnswer:
    """What is published, for programs."""
    page = found.page
    return PublicAnswer.model_validate(
        {
            "slug": page.slug,
            "name": page.name,
            "kind": page.kind,
            "commune": page.commune,
            "owner": page.owner,
            "published_at": page.published_at,
            "until": page.until,
            "delay_seconds": page.delay_seconds,
            "timezone": page.timezone,
            "values": [
                PublicValueAnswer(
                    asset=one.of.asset,
                    kind=one.of.kind,
                    quantity=one.of.quantity,
                    label_fr=known.label_fr if (known := QUANTITIES.get(one.of.quantity)) else one.of.quantity,
                    label_en=known.label_en if known else one.of.quantity,
                    unit=one.of.unit,
                    position=one.of.position,
                    channel=one.of.channel,
                    value=one.of.value,
                    time=one.of.measured_at if one.is_known else None,
                    unknown_since=None if one.is_known else one.of.measured_at,
                    days=[PublicDayAnswer.model_validate(day) for day in one.days],
                )
                for one in found.shown
            ],
        }
    )
