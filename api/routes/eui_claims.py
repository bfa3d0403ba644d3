"""An EUI that is registered elsewhere: contested by who has the gateway or device, decided by the operator."""

from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import Field

from api.auth import Change, Manager, NetworkOperator, ProvenOperator, Reader
from api.fields import Body, Eui, Id, Remark, answer_of, example
from api.pages import Page, Paged, page_of
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from registry import entering, eui_claims
from registry.enrolment import read_enrolled
from registry.eui_claims import Claim, PendingClaim
from registry.gateways import read_gateway

router = APIRouter(prefix="/v1/eui-claims", tags=["eui-claims"], responses=PROBLEM_RESPONSES)

EXPLANATIONS = {
    ("contester", "open"): "l'opérateur va décider",
    ("contester", "kept"): "l'opérateur laisse cet EUI où il est enregistré",
    ("contester", "moved"): "l'opérateur vous attribue cet EUI : enregistrez-le",
    ("contester", "withdrawn"): "vous avez retiré cette contestation",
    ("holder", "open"): "un EUI que vous avez enregistré est contesté : l'opérateur va décider",
    ("holder", "kept"): "l'opérateur vous laisse cet EUI",
    ("holder", "moved"): "l'opérateur vous a retiré cet EUI ; ce qui a été mesuré chez vous y reste",
    ("holder", "withdrawn"): "cet EUI n'est plus contesté",
}

KIND_TEXT = "`gateway` une passerelle, `device` un capteur"
STATE_TEXT = (
    "`open` l'opérateur va décider, `kept` l'EUI reste où il est enregistré, `moved` il est attribué à qui l'a "
    "contesté, `withdrawn` la contestation est retirée"
)


class NewClaim(Body):
    """Un EUI que l'on ne peut pas enregistrer parce qu'il l'est ailleurs, et que l'on a pourtant en main."""

    model_config = example(
        {
            "kind": "gateway",
            "eui": "0080e115000a9b72",
            "reason": "Notre passerelle, photo au dossier 12",
        }
    )

    kind: eui_claims.Kind = Field(description=KIND_TEXT)
    eui: Eui
    reason: Remark = Field(
        description="Ce qui montre que le matériel est le vôtre ; l'opérateur seul le lit",
        examples=["Notre passerelle, photo au dossier 12"],
    )


class ClaimAnswer(answer_of(Claim, {"tenant_id"})):
    """Une contestation, comme la voit l'un de ses deux côtés ; qui est l'autre n'est pas dit."""

    kind: str = Field(description=KIND_TEXT, examples=["gateway"])
    eui: Eui
    side: Literal["contester", "holder"] = Field(
        description="`contester` : elle l'a demandée ; `holder` : elle porte sur un EUI qu'elle a enregistré"
    )
    state: Literal["open", "kept", "moved", "withdrawn"] = Field(description=STATE_TEXT)
    explanation: str = Field(description="La même chose en français", examples=["l'opérateur va décider"])
    reason: str | None = Field(description="Ce qu'a écrit qui conteste ; absent pour l'autre côté")


class PendingClaimAnswer(answer_of(PendingClaim)):
    """Une contestation qui attend la décision de l'opérateur."""

    kind: str = Field(description=KIND_TEXT, examples=["gateway"])
    eui: Eui


class NewDecision(Body):
    """Où va l'EUI."""

    model_config = example({"decision": "move", "reason": "Étiquette vérifiée sur place"})

    decision: Literal["keep", "move"] = Field(
        description="`keep` il reste où il est enregistré ; `move` il est retiré à qui l'a enregistré, et réservé "
        "à qui le conteste"
    )
    reason: Remark = Field(description="Motif, pour le journal de l'opérateur", examples=["Étiquette vérifiée"])


class DecisionAnswer(PendingClaimAnswer):
    """Une contestation, décidée."""

    decision: Literal["keep", "move"]


def _show(claim: Claim) -> ClaimAnswer:
    explanation = EXPLANATIONS[claim.side, claim.state]
    return ClaimAnswer.model_validate(asdict(claim) | {"explanation": explanation})


CLAIMS = Resource("eui_claim", "contestation", eui_claims.read_claim, _show)


async def _check_not_own(change: Change, kind: eui_claims.Kind, eui: bytes) -> None:
    found = await (read_gateway if kind == "gateway" else read_enrolled)(change.connection, eui)
    if found is not None and found.tenant_id == change.tenant_id:
        raise Problem(409, "cet EUI est enregistré chez vous")


@router.post("", operation_id="createEuiClaim", status_code=201, summary="Contester un EUI enregistré ailleurs")
async def contest(body: NewClaim, caller: Manager) -> ClaimAnswer:
    """Demander à l'opérateur un EUI que l'on a en main et qui est enregistré ailleurs (409 à l'enregistrement).

    L'opérateur décide. Qui l'a enregistré voit qu'il est contesté, sans savoir par qui.
    """
    eui = bytes.fromhex(body.eui)
    async with caller.changing() as change:
        await _check_not_own(change, body.kind, eui)
        claim = await eui_claims.contest_eui(change.connection, body.kind, eui, body.reason, change.actor)
        if claim is None:
            raise Problem(409, "cet EUI n'est pas enregistré ailleurs : enregistrez-le")
        shown = _show(claim)
        await change.audit("create", "eui_claim", claim.id, after=shown)
    return shown


@router.get("", operation_id="listEuiClaims", summary="Lister les contestations d'EUI")
async def list_claims(caller: Reader, paging: Paged) -> Page[ClaimAnswer]:
    """Les contestations de la collectivité, et celles qui portent sur ce qu'elle a enregistré."""
    return await CLAIMS.page(caller, paging, eui_claims.list_claims, after=paging.after, most=paging.most)


@router.get("/pending", operation_id="listPendingEuiClaims", summary="Lister les contestations à décider")
async def list_pending(caller: NetworkOperator, paging: Paged) -> Page[PendingClaimAnswer]:
    """Pour l'opérateur : ce qui attend sa décision, avec les deux côtés."""
    async with caller.reading_alone() as connection:
        await entering.act_as_operator(connection)
        found = await eui_claims.list_pending_claims(connection, after=paging.after, most=paging.most)
    return page_of(found, paging.limit, PendingClaimAnswer.model_validate)


@router.get("/{id}", operation_id="getEuiClaim", summary="Lire une contestation d'EUI")
async def read_claim(id: Id, caller: Reader) -> ClaimAnswer:
    """Une contestation et où elle en est."""
    return await CLAIMS.read(caller, id)


@router.delete("/{id}", operation_id="withdrawEuiClaim", status_code=204, summary="Retirer une contestation d'EUI")
async def withdraw(id: Id, caller: Manager) -> Response:
    """Retirer une contestation de la collectivité, tant que l'opérateur n'a pas décidé."""
    async with caller.changing() as change:
        former = CLAIMS.show(await CLAIMS.get(change.connection, id))
        if not await eui_claims.withdraw_claim(change.connection, id):
            raise Problem(409, "ce n'est pas une contestation de cette collectivité qui attende une décision")
        await change.audit("withdraw", "eui_claim", id, before=former)
    return Response(status_code=204)


@router.post("/{id}/decision", operation_id="decideEuiClaim", summary="Décider d'un EUI contesté")
async def decide(id: Id, body: NewDecision, caller: ProvenOperator) -> DecisionAnswer:
    """Pour l'opérateur : laisser l'EUI où il est, ou l'attribuer à qui le conteste.

    Attribué, il est retiré à qui l'avait enregistré : une passerelle est retirée, un capteur garde son historique
    sous un autre EUI, désactivé et sans ses clés. Qui le conteste l'enregistre alors comme le sien. Refusé (409)
    tant qu'un ordre d'éclairage ou un message est en cours vers ce capteur.
    """
    async with caller.changing() as change:
        await entering.act_as_operator(change.connection)
        pending = await eui_claims.list_pending_claims(change.connection, after=id - 1, most=1)
        if not pending or pending[0].id != id:
            raise not_found(f"contestation {id} à décider")
        try:
            await eui_claims.decide_claim(change.connection, id, moves=body.decision == "move")
        except eui_claims.DeviceCommanded:
            raise Problem(409, "un ordre ou un message est en cours vers ce capteur : attendez sa fin") from None
        former = PendingClaimAnswer.model_validate(pending[0])
        shown = DecisionAnswer.model_validate(asdict(pending[0]) | {"decision": body.decision})
        # Before and after say only what differs: beside them which EUI it is, and between whom.
        about = former.model_dump(mode="json") | {"motive": body.reason}
        await change.audit("decide", "eui_claim", id, about, before=former, after=shown)
    return shown
