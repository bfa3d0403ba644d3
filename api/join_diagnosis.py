"""Explains to a technician, in French, why a device's joins are rejected and what to do."""

from datetime import datetime
from typing import Self

from pydantic import Field

from api.fields import Answer
from lorawan.join_policy import DevNoncePolicy, policy_of
from lorawan.rejections import RejectReason
from registry.joins import JoinDiagnosis

# What happened, and what to do.
REJECTIONS: dict[str, tuple[str, str]] = {
    RejectReason.MIC: (
        "La clé du capteur (AppKey) n'est pas celle qui est enregistrée ici.",
        "Comparez l'AppKey avec celle du fabricant, puis enregistrez la bonne.",
    ),
    RejectReason.DISABLED: ("Le capteur est désactivé.", "Réactivez-le (PATCH, enabled: true)."),
    RejectReason.NOT_OTAA: (
        "Le capteur demande à rejoindre le réseau, mais il est enregistré en ABP ou sur un autre réseau.",
        "Enregistrez sa clé racine par une reprise (/v1/device-imports), ou réglez le capteur en ABP.",
    ),
    RejectReason.WRONG_KEK: (
        "La clé enregistrée ne s'ouvre pas avec la clé de chiffrement du service.",
        "Appelez l'exploitant de la plateforme : TERRITOIRE_KEK n'est pas celle de l'enregistrement.",
    ),
    RejectReason.DEV_NONCE_USED: (
        "Le capteur présente un numéro d'activation (DevNonce) qui a déjà servi : a-t-il été remis à zéro ?",
        "Effacez ses DevNonces (DELETE /v1/devices/{dev_eui}/dev-nonces), puis relancez son activation.",
    ),
    RejectReason.DEV_NONCE_NOT_INCREASING: (
        "Le capteur est en LoRaWAN 1.0.4 : son numéro d'activation (DevNonce) doit croître, et il a reculé.",
        "Effacez ses DevNonces (DELETE /v1/devices/{dev_eui}/dev-nonces), ou corrigez la version de son profil.",
    ),
    RejectReason.JOIN_NONCE_USED_UP: (
        "Le réseau a répondu autant de fois que cette clé le permet.",
        "Donnez une nouvelle AppKey au capteur.",
    ),
    RejectReason.DEVICE_FLOOD: (
        "Le capteur redemande sans cesse à rejoindre le réseau, sans entendre nos réponses.",
        "Vérifiez son antenne et sa distance aux passerelles ; il est à nouveau écouté au bout de dix minutes.",
    ),
}
UNKNOWN = ("Le réseau a refusé la demande.", "Transmettez cette raison à l'exploitant de la plateforme.")
NEVER_ASKED = "Aucune demande d'activation n'est arrivée : vérifiez que le capteur est allumé et à portée."
HEARD_SINCE = "Le capteur a émis depuis : il n'y a rien à faire."
NOT_HEARD_YET = "L'activation est acceptée ; on attend le premier message du capteur."


class JoinAnswer(Answer):
    """Où en est l'activation (OTAA) du capteur, et pourquoi elle est refusée."""

    joined_at: datetime | None = Field(description="Dernière activation acceptée")
    dev_nonces: int = Field(description="Nombre de DevNonces déjà utilisés")
    highest_dev_nonce: int | None = Field(description="Le plus grand DevNonce accepté")
    must_increase: bool = Field(
        description="Le DevNonce doit croître (LoRaWAN 1.0.4), sinon être seulement nouveau"
    )
    refused_at: datetime | None = Field(description="Dernier refus depuis la dernière activation acceptée")
    refused_dev_nonce: int | None
    refusals: int = Field(description="Refus de suite pour cette raison")
    reason: str | None = Field(examples=["dev_nonce_used"])
    explanation: str | None = Field(description="Ce qui s'est passé")
    advice: str | None = Field(description="Ce qu'il y a à faire")

    @classmethod
    def of(cls, found: JoinDiagnosis, dev_eui: str) -> Self:
        """In words."""
        explanation, advice = _words(found)
        return cls(
            joined_at=found.joined_at,
            dev_nonces=found.dev_nonces,
            highest_dev_nonce=found.highest_dev_nonce,
            must_increase=policy_of(found.mac_version) is DevNoncePolicy.INCREASING,
            refused_at=found.refused_at,
            refused_dev_nonce=found.dev_nonce,
            refusals=found.times or 0,
            reason=found.reason,
            explanation=explanation,
            advice=None if advice is None else advice.replace("{dev_eui}", dev_eui),
        )


def _words(found: JoinDiagnosis) -> tuple[str | None, str | None]:
    if found.reason is None or found.refused_at is None:
        if found.heard_at is not None:
            return None, None
        return None, NEVER_ASKED if found.joined_at is None else NOT_HEARD_YET
    explanation, advice = REJECTIONS.get(found.reason, UNKNOWN)
    if found.heard_at is not None and found.heard_at > found.refused_at:
        return explanation, HEARD_SINCE
    return explanation, advice
