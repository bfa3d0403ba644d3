"""Accounts at the MQTT broker: of a gateway, for its own topics, and of a tenant's partners, for the tenant's."""

import re
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from api.auth import Manager, Reader
from api.fields import Body, EuiPath, Name, answer_of, example
from api.pages import Page
from api.routes.gateways import GATEWAYS
from core.runtime.http.errors import PROBLEM_RESPONSES, invalid, not_found
from core.runtime.postgres import Connection
from registry import mqtt_accounts
from registry.mqtt_accounts import Credentials, GatewayAccount, PartnerAccount

FILTERS_MOST = 20
# What brokers replace in access lists (%u, ${username}) is no topic of ours.
LEVEL = r"(?:[^+#/%$\x00-\x1f\x7f]+|\+)"
FILTER = re.compile(rf"{LEVEL}(?:/{LEVEL})*(?:/#)?|#")

router = APIRouter(prefix="/v1", responses=PROBLEM_RESPONSES)


def _topic_filter(text: str) -> str:
    if not FILTER.fullmatch(text):
        raise PydanticCustomError(
            "topic_filter", "filtre de topics attendu, sans / au début : application/+/device/+/event/up ou #"
        )
    return text


TopicFilters = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_topic_filter)]],
    Field(max_length=FILTERS_MOST),
]
AccountId = Annotated[
    str,
    Path(
        pattern="^[0-9a-fA-F]{16}$",
        description="Identifiant du compte : les 16 chiffres hexadécimaux de son nom, après `tgw_` ou `tpa_`",
        examples=["5f0c8d1b2a3e4f60"],
    ),
]


class NewMqttAccount(Body):
    """Un compte de plus ; le précédent vaut encore quelque temps."""

    model_config = example({"keep_former_hours": 24})

    keep_former_hours: int = Field(
        24,
        ge=0,
        le=720,
        description="Heures pendant lesquelles le compte précédent vaut aussi ; 0 : il ne vaut plus",
    )


class NewPartnerAccount(Body):
    """Un compte pour un partenaire de la collectivité."""

    model_config = example({"name": "Hyperviseur", "reads": ["application/#"]})

    name: Name = Field(description="À qui il est", examples=["Hyperviseur"])
    publishes: TopicFilters = Field(
        default_factory=list[str], description="Topics où il publie, sous le préfixe de la collectivité"
    )
    reads: TopicFilters = Field(
        default_factory=list[str], description="Topics qu'il lit, sous le préfixe de la collectivité"
    )


class CreatedMqttAccount(answer_of(Credentials)):
    """Le compte ; son mot de passe est montré cette seule fois."""

    id: str = Field(examples=["5f0c8d1b2a3e4f60"])
    username: str = Field(
        description="Nom au courtier. L'identifiant de client MQTT (`client_id`) doit être le même",
        examples=["tgw_5f0c8d1b2a3e4f60"],
    )
    password: str = Field(description="Mot de passe au courtier", examples=["…"])


APPLIED = "Depuis quand le courtier le connaît ; null : pas encore, c'est l'affaire de 5 secondes"
EXPIRES = "Fin du recouvrement, après une rotation ; null : sans fin"


class MqttAccountAnswer(answer_of(GatewayAccount)):
    """Un compte valable, sans son mot de passe."""

    id: str = Field(examples=["5f0c8d1b2a3e4f60"])
    username: str = Field(examples=["tgw_5f0c8d1b2a3e4f60"])
    expires_at: datetime | None = Field(description=EXPIRES)
    applied_at: datetime | None = Field(description=APPLIED)


class PartnerAccountAnswer(answer_of(PartnerAccount)):
    """Le compte valable d'un partenaire, sans son mot de passe."""

    id: str = Field(examples=["5f0c8d1b2a3e4f60"])
    username: str = Field(examples=["tpa_5f0c8d1b2a3e4f60"])
    prefix: str = Field(
        description="Devant chacun de ses topics : rien d'autre n'est à lui", examples=["territoire/partner/sdef/"]
    )
    expires_at: datetime | None = Field(description=EXPIRES)
    applied_at: datetime | None = Field(description=APPLIED)


def _shown(made: Credentials) -> CreatedMqttAccount:
    return CreatedMqttAccount.model_validate(asdict(made))


async def _gateway_accounts(connection: Connection, gateway: int) -> list[MqttAccountAnswer]:
    return [
        MqttAccountAnswer(**asdict(account), username=mqtt_accounts.username_of(account.id, is_partner=False))
        for account in await mqtt_accounts.list_gateway_accounts(connection, gateway)
    ]


async def _gateway_account(connection: Connection, gateway: int, account_id: str) -> MqttAccountAnswer | None:
    accounts = await _gateway_accounts(connection, gateway)
    return next((account for account in accounts if account.id == account_id), None)


def _show_partner(account: PartnerAccount) -> PartnerAccountAnswer:
    return PartnerAccountAnswer(**asdict(account), username=mqtt_accounts.username_of(account.id, is_partner=True))


async def _partner_account(connection: Connection, account_id: str) -> PartnerAccountAnswer | None:
    accounts = await mqtt_accounts.list_partner_accounts(connection)
    return next((_show_partner(account) for account in accounts if account.id == account_id), None)


@router.get(
    "/gateways/{gateway_id}/mqtt-accounts",
    operation_id="listGatewayMqttAccounts",
    tags=["gateways"],
    summary="Lister les comptes MQTT d'une passerelle",
)
async def list_gateway_accounts(gateway_id: EuiPath, caller: Reader) -> Page[MqttAccountAnswer]:
    """Les comptes valables, le dernier d'abord : deux au plus, pendant une rotation."""
    async with caller.reading() as connection:
        gateway = await GATEWAYS.get(connection, gateway_id)
        items = await _gateway_accounts(connection, gateway.id)
    return Page(items=items, next=None)


@router.post(
    "/gateways/{gateway_id}/mqtt-accounts",
    operation_id="createGatewayMqttAccount",
    status_code=201,
    tags=["gateways"],
    summary="Faire un compte MQTT pour une passerelle",
)
async def create_gateway_account(gateway_id: EuiPath, body: NewMqttAccount, caller: Manager) -> CreatedMqttAccount:
    """Faire un compte, montré cette seule fois : il publie et lit les topics de cette passerelle, et rien d'autre.

    Le précédent vaut encore le temps demandé. Valable en 5 s.
    """
    async with caller.changing() as change:
        gateway = await GATEWAYS.own(change, gateway_id)
        made = await mqtt_accounts.create_gateway_account(
            change.connection, caller.platform.keys, gateway.id, timedelta(hours=body.keep_former_hours)
        )
        after = await _gateway_account(change.connection, gateway.id, made.id)
        await change.audit("create", "mqtt_account", gateway_id, body.model_dump(), after=after)
    return _shown(made)


@router.delete(
    "/gateways/{gateway_id}/mqtt-accounts/{account_id}",
    operation_id="deleteGatewayMqttAccount",
    status_code=204,
    tags=["gateways"],
    summary="Retirer un compte MQTT d'une passerelle",
)
async def delete_gateway_account(gateway_id: EuiPath, account_id: AccountId, caller: Manager) -> Response:
    """Retirer un compte : sa connexion au courtier est coupée dans les 5 secondes, et il n'entre plus."""
    async with caller.changing() as change:
        gateway = await GATEWAYS.own(change, gateway_id)
        before = await _gateway_account(change.connection, gateway.id, account_id.lower())
        if not await mqtt_accounts.delete_gateway_account(change.connection, gateway.id, account_id.lower()):
            raise not_found(f"compte {account_id}")
        await change.audit("delete", "mqtt_account", gateway_id, {"account": account_id.lower()}, before=before)
    return Response(status_code=204)


@router.get(
    "/mqtt-accounts",
    operation_id="listMqttAccounts",
    tags=["applications"],
    summary="Lister les comptes MQTT des partenaires",
)
async def list_partner_accounts(caller: Reader) -> Page[PartnerAccountAnswer]:
    """Les comptes valables des partenaires de la collectivité, et leurs topics."""
    async with caller.reading() as connection:
        accounts = await mqtt_accounts.list_partner_accounts(connection)
    return Page(items=[_show_partner(account) for account in accounts], next=None)


@router.post(
    "/mqtt-accounts",
    operation_id="createMqttAccount",
    status_code=201,
    tags=["applications"],
    summary="Faire un compte MQTT pour un partenaire",
)
async def create_partner_account(body: NewPartnerAccount, caller: Manager) -> CreatedMqttAccount:
    """Faire un compte, montré cette seule fois, sous le préfixe de la collectivité. Valable en 5 s."""
    if not body.publishes and not body.reads:
        raise invalid("reads", "missing", "ce compte ne lit et ne publie rien : nommez ses topics")
    async with caller.changing() as change:
        made = await mqtt_accounts.create_partner_account(
            change.connection, caller.platform.keys, change.tenant_id, body.name, body.publishes, body.reads
        )
        after = await _partner_account(change.connection, made.id)
        await change.audit("create", "mqtt_account", made.id, after=after)
    return _shown(made)


@router.post(
    "/mqtt-accounts/{account_id}/rotations",
    operation_id="rotateMqttAccount",
    status_code=201,
    tags=["applications"],
    summary="Remplacer le compte MQTT d'un partenaire",
)
async def rotate_partner_account(
    account_id: AccountId, body: NewMqttAccount, caller: Manager
) -> CreatedMqttAccount:
    """Faire un compte qui a les mêmes topics ; le précédent vaut encore le temps demandé."""
    async with caller.changing() as change:
        former = await mqtt_accounts.read_partner_account(change.connection, account_id.lower())
        if former is None:
            raise not_found(f"compte {account_id}")
        made = await mqtt_accounts.rotate_partner_account(
            change.connection,
            caller.platform.keys,
            change.tenant_id,
            former,
            timedelta(hours=body.keep_former_hours),
        )
        before, after = _show_partner(former), await _partner_account(change.connection, made.id)
        await change.audit("rotate", "mqtt_account", former.id, body.model_dump(), before=before, after=after)
    return _shown(made)


@router.delete(
    "/mqtt-accounts/{account_id}",
    operation_id="deleteMqttAccount",
    status_code=204,
    tags=["applications"],
    summary="Retirer le compte MQTT d'un partenaire",
)
async def delete_partner_account(account_id: AccountId, caller: Manager) -> Response:
    """Retirer un compte : sa connexion au courtier est coupée dans les 5 secondes, et il n'entre plus."""
    async with caller.changing() as change:
        before = await _partner_account(change.connection, account_id.lower())
        if not await mqtt_accounts.delete_partner_account(change.connection, account_id.lower()):
            raise not_found(f"compte {account_id}")
        await change.audit("delete", "mqtt_account", account_id.lower(), before=before)
    return Response(status_code=204)
