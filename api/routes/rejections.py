"""Why the network did not take a device's frames: of one's own devices, and, for the operator, of nobody's."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import NetworkOperator, Reader
from api.fields import Answer, DevAddrHex, Eui, EuiPath
from api.pages import Limit, Page
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from lorawan.identifiers import EUI_LENGTH
from registry import rejections
from registry.rejections import Refusal
from registry.tenants import act_as_operator

WORDS = {
    "mic": "Signature fausse : la clé du capteur n'est pas celle qui est enregistrée, ou l'adresse est aussi "
    "celle d'un capteur d'un autre réseau.",
    "replay": "Compteur déjà dépassé : trame rejouée, ou capteur ABP qui a redémarré son compteur.",
    "same_f_cnt": "Deux trames différentes sous le même compteur : capteur qui a redémarré, ou clé copiée.",
    "unknown_dev_addr": "Adresse inconnue : capteur d'un autre réseau, ou capteur d'ici dont la session est "
    "fermée et qui doit se joindre à nouveau.",
    "unknown_device": "Capteur qui demande à se joindre et qui n'est pas enregistré.",
    "disabled": "Capteur désactivé.",
    "not_otaa": "Capteur qui demande à se joindre et qui est enregistré sans clé de jonction (AppKey).",
    "wrong_kek": "La clé enregistrée est illisible : elle a été chiffrée sous une autre clé maîtresse.",
    "dev_nonce_used": "DevNonce déjà employé : oubliez les DevNonces du capteur s'il a été réinitialisé.",
    "dev_nonce_not_increasing": "DevNonce qui n'augmente pas : oubliez les DevNonces du capteur s'il a été "
    "réinitialisé.",
    "join_nonce_used_up": "Plus aucun JoinNonce : le capteur doit être enregistré sous une nouvelle clé.",
    "device_flood": "Trop de demandes de jonction en peu de temps : le capteur insiste, ou quelqu'un en son nom.",
}
UNEXPLAINED = "Refusé par le réseau."

router = APIRouter(prefix="/v1", tags=["Capteurs"], responses=PROBLEM_RESPONSES)


class RefusalAnswer(Answer):
    """Des trames refusées pour une même raison."""

    dev_eui: str | None = Field(description="D'une demande de jonction", examples=["70b3d57ed0001234"])
    dev_addr: str | None = Field(description="D'une trame de données", examples=["01ab23cd"])
    reason: str = Field(examples=["mic"])
    explanation: str
    times: int = Field(description="Combien de fois depuis `first_at`")
    first_at: datetime
    last_at: datetime
    gateway_id: str = Field(description="Une passerelle qui a entendu la dernière")

    @classmethod
    def of(cls, refusal: Refusal) -> Self:
        """In words."""
        is_join = len(refusal.subject) == EUI_LENGTH
        return cls(
            dev_eui=refusal.subject.hex() if is_join else None,
            dev_addr=None if is_join else refusal.subject.hex(),
            reason=refusal.reason,
            explanation=WORDS.get(refusal.reason, UNEXPLAINED),
            times=refusal.times,
            first_at=refusal.first_at,
            last_at=refusal.last_at,
            gateway_id=refusal.gateway_id.hex(),
        )


@router.get("/devices/{dev_eui}/refusals", summary="Lister les trames refusées d'un capteur")
async def list_device_refusals(dev_eui: EuiPath, caller: Reader, limit: Limit = 100) -> Page[RefusalAnswer]:
    """Pourquoi les trames d'un capteur de la collectivité ont été refusées en 30 jours, la dernière d'abord."""
    async with caller.reading() as connection:
        found = await rejections.list_device_refusals(connection, bytes.fromhex(dev_eui), limit)
    if found is None:
        raise not_found(f"capteur {dev_eui}")
    return Page(items=[RefusalAnswer.of(refusal) for refusal in found], next=None)


@router.get("/refusals", summary="Lister les trames refusées de capteurs inconnus", tags=["Passerelles"])
async def list_strangers_refusals(
    caller: NetworkOperator,
    dev_eui: Annotated[Eui | None, Query(description="Seulement ce DevEUI")] = None,
    dev_addr: Annotated[DevAddrHex | None, Query(description="Seulement ce DevAddr")] = None,
    limit: Limit = 100,
) -> Page[RefusalAnswer]:
    """Les trames refusées qui ne sont d'aucun capteur enregistré, la dernière d'abord (exploitant du réseau)."""
    if dev_eui is not None and dev_addr is not None:
        raise Problem(422, "donnez dev_eui ou dev_addr, pas les deux")
    subject = dev_eui or dev_addr
    async with caller.reading() as connection:
        await act_as_operator(connection)
        found = await rejections.list_strangers_refusals(
            connection, None if subject is None else bytes.fromhex(subject), limit
        )
    return Page(items=[RefusalAnswer.of(refusal) for refusal in found], next=None)
