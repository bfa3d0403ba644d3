"""Why a downlink waits, or how it ended, in French: one sentence for each code."""

from core.model.downlinks import DownlinkReason, reason_of

SENTENCES = {
    DownlinkReason.TOO_LATE: "trop tard pour les fenêtres de réception du capteur",
    DownlinkReason.TOO_EARLY: "la passerelle a jugé la demande trop en avance",
    DownlinkReason.COLLISION_PACKET: "la passerelle émettait un autre message",
    DownlinkReason.COLLISION_BEACON: "la passerelle émettait sa balise",
    DownlinkReason.TX_FREQ: "la passerelle n'émet pas sur cette fréquence",
    DownlinkReason.TX_POWER: "la passerelle n'émet pas à cette puissance",
    DownlinkReason.GPS_UNLOCKED: "la passerelle a perdu l'heure GPS",
    DownlinkReason.NO_ACK: "la passerelle n'a pas confirmé l'émission",
    DownlinkReason.DUTY_CYCLE_OVERFLOW: "plus de temps d'émission",
    DownlinkReason.GATEWAY_UNREACHABLE: "passerelle hors ligne",
    DownlinkReason.GATEWAY_NO_ANSWER: "la passerelle n'a pas répondu",
    DownlinkReason.PAYLOAD_TOO_LARGE: "message trop long pour le débit radio du capteur",
    DownlinkReason.SESSION_CLOSED: "le capteur s'est réactivé entre-temps",
    DownlinkReason.DATABASE_AWAY: "la base de données était indisponible",
    DownlinkReason.INTERNAL_ERROR: "le message n'a pas pu être construit",
    DownlinkReason.RESTARTED: "le service a redémarré",
    DownlinkReason.DEVICE_NO_ACK: "le capteur n'a pas accusé réception",
    DownlinkReason.DEVICE_SILENT: "le capteur est resté silencieux",
    DownlinkReason.NOT_AFTER: "délai dépassé",
    DownlinkReason.NO_MEMBER_HEARD: "aucun membre du groupe n'a encore été entendu",
    DownlinkReason.WRONG_KEK: "les clés du groupe sont scellées par une autre clé maîtresse",
    DownlinkReason.NO_GATEWAY: "aucune passerelle n'a émis",
    DownlinkReason.SOME_GATEWAYS: "des passerelles n'ont pas émis",
    DownlinkReason.SUPERSEDED: "remplacé par une commande plus récente",
    DownlinkReason.WITHDRAWN: "retiré de la file par une personne",
    DownlinkReason.LNS_QUEUED: "dans la file de l'autre LNS",
    DownlinkReason.LNS_QUEUED_UNTIL_UPLINK: (
        "dans la file de l'autre LNS, qui l'enverra après le prochain message du capteur"
    ),
    DownlinkReason.LNS_DEVICE_UNHEARD: "en attente d'un premier message du capteur par cette source",
    DownlinkReason.LNS_UNREACHABLE: "l'autre LNS est injoignable",
    DownlinkReason.LNS_NOT_LISTENING: "l'autre LNS n'écoute pas son courtier",
    DownlinkReason.LNS_PUBLISH_REFUSED: (
        "le courtier de l'autre LNS refuse de publier : droits du compte à vérifier"
    ),
    DownlinkReason.LNS_ADDRESS_REFUSED: "l'adresse de l'autre LNS n'est pas permise",
    DownlinkReason.LNS_ANSWERED: "l'autre LNS ne l'a pas pris",
    DownlinkReason.LNS_REPORTED: "l'autre LNS ne l'a pas émis",
    DownlinkReason.LNS_EXPIRED: "périmé dans la file de l'autre LNS",
    DownlinkReason.LNS_NO_REPORT: "l'autre LNS n'a pas dit ce qu'il en a fait",
    DownlinkReason.F_CNT_EXHAUSTED: "compteur descendant dépassé",
    DownlinkReason.SOURCE_TAKES_NO_DOWNLINKS: "cette source ne transmet pas de messages aux capteurs",
    DownlinkReason.SOURCE_NEEDS_MQTT: ("ChirpStack ne prend les messages que par MQTT : cette source est en HTTP"),
    DownlinkReason.SOURCE_INCOMPLETE: "la source n'a pas l'adresse ou la clé de l'API de l'autre LNS",
    DownlinkReason.SOURCE_REMOVED: "la source a été retirée",
    DownlinkReason.OTHER: "autre raison",
}


def sentence(reason: str | None, detail: str | None = None) -> str:
    """What a technician reads; `reason` is the code as it is stored."""
    if reason is None:
        return "raison inconnue"
    code, word = reason_of(reason)
    said = detail or word
    if said and code is DownlinkReason.OTHER:
        return said
    return f"{SENTENCES[code]} : {said}" if said else SENTENCES[code]
