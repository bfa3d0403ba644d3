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
from lorawan.rejections import RejectReason
from registry import rejections
from registry.entering import act_as_operator
from registry.rejections import Rejection

WORDS = {
    RejectReason.MIC: "Signature fausse : la clé du capteur n'est pas celle qui est enregistrée, ou l'adresse est "
    "aussi celle d'un capteur d'un autre réseau.",
    RejectReason.REPLAY: "Compteur déjà dépassé : trame rejouée, ou capteur ABP qui a redémarré son compteur.",
    RejectReason.SAME_F_CNT: "Deux trames différentes sous le même compteur : capteur qui a redémarré, ou clé "
    "copiée.",
    RejectReason.UNKNOWN_DEV_ADDR: "Adresse inconnue : capteur d'un autre réseau, ou capteur d'ici dont la "
    "session est fermée et qui doit se joindre à nouveau.",
    RejectReason.UNKNOWN_DEVICE: "Capteur qui demande à se joindre et qui n'est pas enregistré.",
    RejectReason.DISABLED: "Capteur désactivé.",
    RejectReason.NOT_OTAA: "Capteur qui demande à se joindre et qui est enregistré sans clé de jonction (AppKey).",
    RejectReason.WRONG_KEK: "La clé enregistrée est illisible : elle a été chiffrée sous une autre clé maîtresse.",
    RejectReason.DEV_NONCE_USED: "DevNonce déjà employé : oubliez les DevNonces du capteur s'il a été "
    "réinitialisé.",
    RejectReason.DEV_NONCE_NOT_INCREASING: "DevNonce qui n'augmente pas : oubliez les DevNonces du capteur "
    "s'il a été réinitialisé.",
    RejectReason.JOIN_NONCE_USED_UP: "Plus aucun JoinNonce : le capteur doit être enregistré sous une nouvelle "
    "clé.",
    RejectReason.DEVICE_FLOOD: "Trop de demandes de jonction en peu de temps : le capteur insiste, ou quelqu'un "
    "en son nom.",
    RejectReason.GATEWAY_FLOOD: "Trop de demandes de jonction en peu de temps par les mêmes passerelles.",
    RejectReason.MALFORMED: "Trame qui n'est pas du LoRaWAN.",
    RejectReason.IGNORED: "Trame qui n'est pas destinée à un serveur de réseau.",
    RejectReason.LATE: "Trame arrivée trop tard pour qu'une réponse soit entendue.",
}
UNEXPLAINED = "Refusé par le réseau."


def _explanation(reason: str) -> str:
    try:
        return WORDS[RejectReason(reason)]
    except ValueError:
        return UNEXPLAINED


router = APIRouter(prefix="/v1", tags=["devices"], responses=PROBLEM_RESPONSES)


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
    def of(cls, rejection: Rejection) -> Self:
        """In words."""
        is_join = len(rejection.subject) == EUI_LENGTH
        return cls(
            dev_eui=rejection.subject.hex() if is_join else None,
            dev_addr=None if is_join else rejection.subject.hex(),
            reason=rejection.reason,
            explanation=_explanation(rejection.reason),
            times=rejection.times,
            first_at=rejection.first_at,
            last_at=rejection.last_at,
            gateway_id=rejection.gateway_id.hex(),
        )


@router.get("/devices/{dev_eui}/refusals", summary="Lister les trames refusées d'un capteur")
async def list_device_refusals(dev_eui: EuiPath, caller: Reader, limit: Limit = 100) -> Page[RefusalAnswer]:
    """Pourquoi les trames d'un capteur de la collectivité ont été refusées en 30 jours, la dernière d'abord."""
    async with caller.reading() as connection:
        found = await rejections.list_device_rejections(connection, bytes.fromhex(dev_eui), limit)
    if found is None:
        raise not_found(f"capteur {dev_eui}")
    return Page(items=[RefusalAnswer.of(rejection) for rejection in found], next=None)


@router.get(
    "/refusals",
    operation_id="listStrangersRefusals",
    summary="Lister les trames refusées de capteurs inconnus",
    tags=["gateways"],
)
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
    async with caller.reading_alone() as connection:
        await act_as_operator(connection)
        found = await rejections.list_unknown_device_rejections(
            connection, None if subject is None else bytes.fromhex(subject), limit
        )
    return Page(items=[RefusalAnswer.of(rejection) for rejection in found], next=None)
