"""Sources of uplinks that are not our gateways: other people's LNS, NB-IoT, LTE-M and 4G systems."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import Field, SecretStr, StringConstraints

from alerting.store import RejectedUrl, check_url
from api.auth import Manager, Reader
from api.brokers import require_broker
from api.fields import Body, Eui, Id, MqttText, Name, Patch, answer_of, example, revealed
from api.pages import Limit, Page
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from registry import lns_sources
from registry.lns_sources import SourceCarriesDevices

AS_KEY_DIGITS = 32
# Without HTTP: ThingPark and Wanesy push by HTTP only.
HTTP_ONLY = ("thingpark", "wanesy")
# All events: what became of downlinks is among them.
DEFAULT_TOPICS = {
    "chirpstack": "application/+/device/+/event/+",
    "the_things_stack": "v3/+/devices/#",
}
# Whose HTTP API takes downlinks, and what `downlink_user` is there; None: nobody has to be named.
DOWNLINK_USERS = {
    "the_things_stack": None,
    "thingpark": "AS_ID de l'application",
    "live_objects": None,
    "wanesy": "compte de l'API",
}
# Its API has one address for everybody.
WITHOUT_ADDRESS = "live_objects"

router = APIRouter(prefix="/v1/lns-sources", tags=["lns-sources"], responses=PROBLEM_RESPONSES)

ApiText = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Kind = Literal["chirpstack", "the_things_stack", "thingpark", "live_objects", "wanesy", "generic"]


class NewSource(Body):
    """Une source : un LNS, ou une plate-forme d'objets NB-IoT, LTE-M ou 4G."""

    model_config = example({"kind": "wanesy", "name": "Wanesy de la Métropole"})

    kind: Kind = Field(
        description="`chirpstack` (v4), `the_things_stack` (v3), `thingpark`, `live_objects`, `wanesy`, ou "
        "`generic` : notre propre JSON, pour tout le reste",
        examples=["wanesy"],
    )
    name: Name = Field(examples=["Wanesy de la Métropole"])
    mqtt_url: ApiText | None = Field(
        None,
        description="Adresse de leur courtier, `mqtts://hôte:port`, sans identifiants ; absente : HTTP",
        examples=["mqtts://eu1.cloud.thethings.network:8883"],
    )
    mqtt_topic: MqttText | None = Field(
        None, description="Filtre de topic ; `fifo/<nom>` pour Live Objects", examples=["v3/+/devices/+/up"]
    )
    mqtt_user: ApiText | None = Field(None, description="Compte chez leur courtier", examples=["bennes@metropole"])
    downlink_url: ApiText | None = Field(
        None,
        description="Adresse de base de leur API, pour parler aux capteurs : The Things Stack en HTTP, ThingPark, "
        "Live Objects, Wanesy. En MQTT leur courtier suffit",
        examples=["https://eu1.cloud.thethings.network"],
    )
    downlink_user: ApiText | None = Field(
        None, description="Compte de l'API de Wanesy, AS_ID de ThingPark", examples=["TWA_100006246.167.AS"]
    )
    secret: SecretStr | None = Field(
        None,
        min_length=1,
        max_length=1000,
        json_schema_extra={"writeOnly": True, "examples": ["NNSXS.…"]},
        description="Mot de passe MQTT, clé ou mot de passe de leur API, ou clé d'authentification (AS key) de "
        "ThingPark ; scellé au repos ; l'API ne le montre pas, notre service s'en sert",
    )


class SourcePatch(Patch):
    """Suspendre une source, la reprendre, ou dire qu'elle fait foi ; un champ absent reste tel quel."""

    model_config = example({"enabled": False})

    enabled: bool | None = Field(None, description="false suspend, true reprend")
    authoritative: bool | None = Field(
        None,
        description="true : une autre valeur qu'elle donne d'un instant déjà mesuré l'emporte, sauf sur un relevé "
        "manuel. Rôle `operate`",
    )


class SourceAnswer(answer_of(lns_sources.SourceRow, {"tenant_id"})):
    """Une source et ce qu'elle apporte, sans ses secrets."""

    kind: str = Field(examples=["wanesy"])
    transport: str = Field(examples=["http"])
    path: str | None = Field(description="En HTTP : où envoyer, sur le port de réception", examples=["/lns/17"])
    accepted: int = Field(description="Uplinks mis à l'abri")
    ignored: int = Field(description="Messages compris qui ne sont pas des uplinks")
    refused: int = Field(description="Messages illisibles, ou d'un capteur inconnu ou désactivé")
    last_error: str | None = Field(examples=["capteur 70b3d57ed0001234 inconnu de cette collectivité"])


class CreatedSource(SourceAnswer):
    """Une source et, en HTTP, son jeton, montré cette seule fois."""

    token: str | None = Field(
        description="À présenter par `Authorization: Bearer`, ou comme mot de passe en Basic",
        examples=["lns_17_…"],
    )


class UnknownDeviceAnswer(answer_of(lns_sources.UnknownDevice)):
    """Un capteur dont une source parle sans qu'il soit enregistré."""

    dev_eui: Eui


SOURCES = Resource("lns_source", "source", lns_sources.read_source, SourceAnswer.model_validate)


def _topic(body: NewSource) -> str | None:
    """The topic to read, when it is by MQTT; raises 422 for what does not fit the kind."""
    if body.mqtt_url is None:
        if body.mqtt_topic or body.mqtt_user:
            raise invalid("mqtt_url", "missing", "adresse du courtier attendue avec mqtt_topic et mqtt_user")
        if body.secret is not None and body.kind not in DOWNLINK_USERS:
            raise invalid("secret", "unexpected", "en HTTP cette source n'a pas de clé ; le jeton est créé ici")
        if body.secret is not None and body.kind == "thingpark" and not _is_as_key(body.secret.get_secret_value()):
            raise invalid("secret", "hex", f"AS key : {AS_KEY_DIGITS} chiffres hexadécimaux attendus")
        return None
    if body.kind in HTTP_ONLY:
        raise invalid("mqtt_url", "unexpected", f"{body.kind} envoie par HTTP seulement")
    require_broker(body.mqtt_url)
    topic = body.mqtt_topic or DEFAULT_TOPICS.get(body.kind)
    if topic is None:
        raise invalid("mqtt_topic", "missing", "topic attendu, par exemple fifo/<nom> pour Live Objects")
    return topic


def _check_downlinks(body: NewSource) -> None:
    """422 for an HTTP API to hand downlinks over to that does not fit the kind."""
    has_broker = body.mqtt_url is not None and body.kind != WITHOUT_ADDRESS
    if body.downlink_url is None:
        if body.downlink_user is not None:
            raise invalid("downlink_url", "missing", "adresse de l'API attendue avec downlink_user")
        if body.secret is not None and not has_broker and body.kind not in ("thingpark", WITHOUT_ADDRESS):
            raise invalid("downlink_url", "missing", "adresse de l'API attendue avec sa clé")
        return
    if body.kind not in DOWNLINK_USERS or has_broker:
        raise invalid(
            "downlink_url", "unexpected", "cette source parle aux capteurs par son courtier, ou pas du tout"
        )
    try:
        check_url(body.downlink_url)
    except RejectedUrl as refused:
        raise invalid("downlink_url", "url", str(refused)) from None
    user = DOWNLINK_USERS[body.kind]
    if (user is None) != (body.downlink_user is None):
        wrong = "aucun compte à nommer ici" if user is None else f"{user} attendu"
        raise invalid("downlink_user", "unexpected" if user is None else "missing", wrong)
    if body.secret is None:
        raise invalid("secret", "missing", "clé ou mot de passe de l'API attendu avec son adresse")


def _is_as_key(text: str) -> bool:
    return len(text) == AS_KEY_DIGITS and all(digit in "0123456789abcdefABCDEF" for digit in text)


@router.post("", operation_id="createLnsSource", status_code=201, summary="Ajouter une source d'uplinks")
async def create_source(body: NewSource, caller: Manager) -> CreatedSource:
    """Ajouter un LNS ou une plate-forme dont les uplinks rejoignent les capteurs de la collectivité.

    En HTTP le jeton n'est montré que dans cette réponse. Une source MQTT est une connexion sortante depuis le
    réseau de l'exploitant : elle demande aussi le rôle `operate`.
    """
    topic = _topic(body)
    _check_downlinks(body)
    if topic is not None:
        caller.demand("operate")
    noted = body.model_dump(exclude={"secret"})
    async with caller.changing() as change:
        source_id, token = await lns_sources.create_source(
            change.connection,
            caller.platform.keys,
            change.tenant_id,
            revealed(body.secret),
            noted | {"mqtt_topic": topic},
        )
        shown = SourceAnswer.model_validate(await SOURCES.get(change.connection, source_id))
        await change.audit("create", "lns_source", source_id, after=shown)
    return CreatedSource(**shown.model_dump(), token=token)


@router.get("", operation_id="listLnsSources", summary="Lister les sources d'uplinks")
async def list_sources(caller: Reader) -> Page[SourceAnswer]:
    """Les sources de la collectivité, leurs compteurs et leur dernière erreur."""
    return await SOURCES.list(caller, lns_sources.list_sources)


@router.get("/{id}", operation_id="getLnsSource", summary="Lire une source d'uplinks")
async def read_source(id: Id, caller: Reader) -> SourceAnswer:
    """Une source, ses compteurs et sa dernière erreur."""
    return await SOURCES.read(caller, id)


@router.patch(
    "/{id}",
    operation_id="updateLnsSource",
    summary="Suspendre ou reprendre une source d'uplinks, ou dire qu'elle fait foi",
)
async def update_source(id: Id, body: SourcePatch, caller: Manager) -> SourceAnswer:
    """Suspendre ou reprendre une source, partout en moins de 5 secondes ; ou dire qu'elle fait foi."""
    given = body.model_dump(exclude_none=True)
    if body.authoritative is not None:
        caller.demand("operate")
    if not given:
        raise Problem(422, "rien à changer : enabled ou authoritative attendu")
    return await SOURCES.change(caller, id, partial(lns_sources.update_source, **given))


@router.delete("/{id}", operation_id="deleteLnsSource", status_code=204, summary="Retirer une source d'uplinks")
async def delete_source(id: Id, caller: Manager) -> Response:
    """Retirer une source et révoquer son jeton, partout en moins de 5 secondes. Ce qu'elle a apporté reste."""
    try:
        return await SOURCES.delete(caller, id, lns_sources.delete_source)
    except SourceCarriesDevices as carries:
        raise Problem(
            409, f"{carries.devices} capteurs reçoivent leurs messages par cette source : changez-les d'abord"
        ) from None


@router.get(
    "/{id}/unknown-devices",
    operation_id="listLnsUnknownDevices",
    summary="Lister les capteurs inconnus d'une source",
)
async def list_unknown_devices(id: Id, caller: Reader, limit: Limit = 100) -> Page[UnknownDeviceAnswer]:
    """Les capteurs dont cette source parle et qui ne sont pas enregistrés, le dernier entendu d'abord."""
    async with caller.reading() as connection:
        await SOURCES.get(connection, id)
        rows = await lns_sources.list_unknown_devices(connection, id, most=limit)
    return Page(items=[UnknownDeviceAnswer.model_validate(row) for row in rows], next=None)
