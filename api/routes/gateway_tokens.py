"""Tokens by which a gateway proves who it is, in its `tc.key`."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field

from api.auth import Manager, Reader
from api.fields import Answer, Body, EuiPath, answer_of, example
from api.pages import Page
from api.routes.gateways import GATEWAYS
from core.runtime.http.errors import PROBLEM_RESPONSES, not_found
from registry import gateway_tokens
from registry.gateway_tokens import ShownToken

router = APIRouter(prefix="/v1/gateways", tags=["gateways"], responses=PROBLEM_RESPONSES)

TokenId = Annotated[
    str,
    Path(
        pattern="^[0-9a-fA-F]{16}$",
        description="Identifiant du jeton : les 16 chiffres hexadécimaux après `tgw_`",
        examples=["5f0c8d1b2a3e4f60"],
    ),
]


class NewToken(Body):
    """Un jeton de plus ; le précédent vaut encore quelque temps."""

    model_config = example({"keep_former_hours": 24})

    keep_former_hours: int = Field(
        24,
        ge=0,
        le=720,
        description="Heures pendant lesquelles le jeton précédent vaut aussi ; 0 : il ne vaut plus",
    )


class TokenAnswer(answer_of(ShownToken)):
    """Un jeton valable, sans son secret."""

    id: str = Field(examples=["5f0c8d1b2a3e4f60"])
    expires_at: datetime | None = Field(description="Fin du recouvrement, après une rotation ; null : sans fin")
    last_used_at: datetime | None = Field(description="Dernière connexion qui l'a présenté")


class CreatedToken(Answer):
    """Le jeton, montré cette seule fois."""

    token: str = Field(
        description="À mettre dans `tc.key` : `Authorization: <jeton>` et une fin de ligne",
        examples=["tgw_5f0c8d1b2a3e4f60_…"],
    )


@router.get("/{gateway_id}/tokens", operation_id="listGatewayTokens", summary="Lister les jetons d'une passerelle")
async def list_tokens(gateway_id: EuiPath, caller: Reader) -> Page[TokenAnswer]:
    """Les jetons valables, le dernier d'abord : deux au plus, pendant une rotation."""
    async with caller.reading() as connection:
        gateway = await GATEWAYS.get(connection, gateway_id)
        tokens = await gateway_tokens.list_tokens(connection, gateway.id)
    return Page(items=[TokenAnswer.model_validate(asdict(token)) for token in tokens], next=None)


@router.post(
    "/{gateway_id}/tokens",
    operation_id="createGatewayToken",
    status_code=201,
    summary="Faire un jeton pour une passerelle",
)
async def create_token(gateway_id: EuiPath, body: NewToken, caller: Manager) -> CreatedToken:
    """Faire un jeton, montré cette seule fois ; le précédent vaut encore le temps demandé. Valable en 5 s."""
    async with caller.changing() as change:
        gateway = await GATEWAYS.own(change, gateway_id)
        token = await gateway_tokens.create_token(
            change.connection, gateway.id, timedelta(hours=body.keep_former_hours)
        )
        noted = {"token": token.split("_")[1], "keep_former_hours": body.keep_former_hours}
        await change.audit("create", "gateway_token", gateway_id, after=noted)
    return CreatedToken(token=token)


@router.delete(
    "/{gateway_id}/tokens/{token_id}",
    operation_id="deleteGatewayToken",
    status_code=204,
    summary="Retirer un jeton",
)
async def delete_token(gateway_id: EuiPath, token_id: TokenId, caller: Manager) -> Response:
    """Retirer un jeton : la connexion qui l'a présenté est coupée dans les 5 secondes."""
    async with caller.changing() as change:
        gateway = await GATEWAYS.own(change, gateway_id)
        if not await gateway_tokens.delete_token(change.connection, gateway.id, token_id.lower()):
            raise not_found(f"jeton {token_id}")
        await change.audit("delete", "gateway_token", gateway_id, before={"token": token_id.lower()})
    return Response(status_code=204)
