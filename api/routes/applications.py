"""Applications of partners, which get devices' events and send commands as with ChirpStack v4, over MQTT."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import AfterValidator, Field, SecretStr

from api.auth import Change, Manager, Reader
from api.brokers import checked_topic_prefix, require_broker
from api.fields import Answer, Body, Eui, Id, MqttText, Name, answer_of, example, revealed
from api.pages import Cursor, Limit, Page, bad_cursor, page_of
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, invalid
from lorawan.identifiers import EUI_LENGTH
from registry import applications

DEVICES_MOST = 10_000

router = APIRouter(prefix="/v1/applications", tags=["applications"], responses=PROBLEM_RESPONSES)

DevEuis = Annotated[list[Eui], Field(max_length=DEVICES_MOST)]


class NewApplication(Body):
    """L'application d'un partenaire, qui attend ce que ChirpStack v4 publie."""

    model_config = example(
        {"name": "Hyperviseur", "mqtt_url": "mqtts://mqtt.partenaire.fr:8883", "mqtt_user": "sdef"}
    )

    name: Name = Field(examples=["Hyperviseur"])
    mqtt_url: MqttText = Field(
        description="Adresse de leur courtier (MQTT 5), `mqtts://hôte:port`, sans identifiants",
        examples=["mqtts://mqtt.partenaire.fr:8883"],
    )
    mqtt_user: MqttText | None = Field(None, description="Compte chez leur courtier", examples=["sdef"])
    secret: SecretStr | None = Field(
        None,
        min_length=1,
        max_length=1000,
        json_schema_extra={"writeOnly": True, "examples": ["…"]},
        description="Mot de passe de ce compte ; scellé au repos, l'API ne le montre pas ; notre service l'ouvre "
        "pour se connecter",
    )
    application_id: UUID | None = Field(
        None,
        description="Identifiant dans les topics `application/{id}/…` ; celui de votre ChirpStack pour que rien "
        "ne change chez le partenaire ; absent : tiré au sort",
    )
    topic_prefix: Annotated[str, AfterValidator(checked_topic_prefix)] = Field(
        "",
        max_length=200,
        description="Devant `application/{id}/…`, / final compris ; à notre courtier celui de la collectivité, "
        "`prefix` de ses comptes MQTT",
        examples=["territoire/partner/sdef/"],
    )
    dev_euis: DevEuis | None = Field(
        None, description="Les capteurs concernés ; absent : tous ceux de la collectivité, présents et à venir"
    )
    takes_commands: bool = Field(
        True,
        description="false : les messages `command/down` ne sont pas écoutés, le compte peut publier seulement",
    )


class ApplicationPatch(Body):
    """Suspendre une application, ou la reprendre."""

    model_config = example({"enabled": False})

    enabled: bool = Field(description="false suspend, true reprend ; ce qui arrive entre-temps n'est pas publié")


class ApplicationDevices(Body):
    """Les capteurs dont l'application entend parler."""

    model_config = example({"dev_euis": ["70b3d57ed0001234"]})

    dev_euis: DevEuis | None = Field(description="null : tous ceux de la collectivité")


class ApplicationAnswer(answer_of(applications.ApplicationRow, {"tenant_id"})):
    """Une application et ce qu'elle a reçu, sans son mot de passe."""

    application_id: UUID = Field(description="Dans les topics")
    all_devices: bool = Field(description="false : seulement ceux de sa liste")
    published: int = Field(description="Événements que leur courtier a acquittés")
    waiting: int = Field(description="Événements en attente")
    dropped: int = Field(description="Événements abandonnés : trop en attente, ou capteur parti")
    commands: int = Field(description="Commandes devenues des messages pour un capteur")
    last_error: str | None = Field(examples=["courtier MQTT injoignable : connexion refusée"])


class ApplicationDevice(Answer):
    """Un capteur de la liste."""

    dev_eui: Eui


APPLICATIONS = Resource(
    "application", "application", applications.read_application, ApplicationAnswer.model_validate
)


async def _set_devices(change: Change, application: int, dev_euis: Sequence[str] | None) -> None:
    """Raises 422 when one of them is not the tenant's own."""
    wanted = None if dev_euis is None else sorted({bytes.fromhex(dev_eui) for dev_eui in dev_euis})
    found = await applications.set_devices(change.connection, application, wanted)
    if wanted is not None and found < len(wanted):
        raise invalid("dev_euis", "unknown", f"{len(wanted) - found} capteurs inconnus de cette collectivité")


@router.post("", status_code=201, summary="Ajouter l'application d'un partenaire")
async def create_application(body: NewApplication, caller: Manager) -> ApplicationAnswer:
    """Publier chez un partenaire ce que ChirpStack v4 publierait, et prendre ses `command/down`.

    C'est une connexion sortante depuis le réseau de l'exploitant : elle demande aussi le rôle `operate`.
    """
    caller.demand("operate")
    require_broker(body.mqtt_url)
    application = body.model_dump(exclude={"secret", "dev_euis"}) | {"all_devices": body.dev_euis is None}
    async with caller.changing() as change:
        key = await applications.create_application(
            change.connection, caller.platform.keys, change.tenant_id, revealed(body.secret), application
        )
        await _set_devices(change, key, body.dev_euis)
        shown = ApplicationAnswer.model_validate(await APPLICATIONS.get(change.connection, key))
        await change.audit("create", "application", key, {"dev_euis": body.dev_euis}, after=shown)
        return shown


@router.get("", summary="Lister les applications des partenaires")
async def list_applications(caller: Reader) -> Page[ApplicationAnswer]:
    """Les applications de la collectivité, leurs compteurs et leur dernière erreur."""
    return await APPLICATIONS.list(caller, applications.list_applications)


@router.get("/{id}", summary="Lire l'application d'un partenaire")
async def read_application(id: Id, caller: Reader) -> ApplicationAnswer:
    """Une application, ses compteurs et sa dernière erreur."""
    return await APPLICATIONS.read(caller, id)


@router.patch("/{id}", summary="Suspendre ou reprendre l'application d'un partenaire")
async def update_application(id: Id, body: ApplicationPatch, caller: Manager) -> ApplicationAnswer:
    """Suspendre ou reprendre une application, en moins de 5 secondes."""
    return await APPLICATIONS.switch(caller, id, applications.set_application_enabled, enabled=body.enabled)


@router.delete("/{id}", status_code=204, summary="Retirer l'application d'un partenaire")
async def delete_application(id: Id, caller: Manager) -> Response:
    """Retirer une application : rien ne lui est plus publié, et ce qui attendait ne l'est pas non plus."""
    return await APPLICATIONS.delete(caller, id, applications.delete_application)


@router.put(
    "/{id}/devices", operation_id="setApplicationDevices", summary="Choisir les capteurs d'une application"
)
async def set_devices(id: Id, body: ApplicationDevices, caller: Manager) -> ApplicationAnswer:
    """Remplacer la liste des capteurs dont l'application entend parler et auxquels elle peut parler."""
    async with caller.changing() as change:
        former = await APPLICATIONS.get(change.connection, id)
        before = None if former.all_devices else await applications.list_devices(change.connection, id)
        await _set_devices(change, id, body.dev_euis)
        listed = None if before is None else [dev_eui.hex() for dev_eui in before]
        await change.audit("update", "application", id, before={"dev_euis": listed}, after=body)
        return ApplicationAnswer.model_validate(await APPLICATIONS.get(change.connection, id))


@router.get(
    "/{id}/devices", operation_id="listApplicationDevices", summary="Lister les capteurs d'une application"
)
async def list_devices(
    id: Id,
    caller: Reader,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[ApplicationDevice]:
    """Les capteurs de sa liste, par DevEUI ; aucun quand elle entend parler de tous."""
    after = _read_cursor(cursor)
    async with caller.reading() as connection:
        await APPLICATIONS.get(connection, id)
        rows = await applications.list_devices(connection, id, after=after, most=limit + 1)
    return page_of(
        rows, limit, lambda dev_eui: ApplicationDevice(dev_eui=dev_eui.hex()), lambda dev_eui: dev_eui.hex()
    )


def _read_cursor(cursor: str | None) -> bytes:
    try:
        after = bytes.fromhex(cursor or "")
    except ValueError:
        raise bad_cursor() from None
    if cursor is not None and len(after) != EUI_LENGTH:
        raise bad_cursor()
    return after
