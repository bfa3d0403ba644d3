"""Why something is in quarantine, in French: a few words for each code."""

from core.model.quarantine import QuarantineReason

CAUSES = {
    QuarantineReason.UNREADABLE_BATCH: "lot illisible sur le bus",
    QuarantineReason.UNREADABLE_MESSAGE: "message d'un autre système que nous ne savons pas lire",
    QuarantineReason.IMPOSSIBLE_FIELD: "champ impossible",
    QuarantineReason.UNKNOWN_DEVICE: "équipement retiré du référentiel",
    QuarantineReason.REFUSED_VALUE: "refusé par la base",
    QuarantineReason.DEFECT: "défaut du traitement",
    QuarantineReason.POISON: "écarté sans être lu : le service s'arrêtait en le traitant",
    QuarantineReason.OTHER: "autre cause",
}


def quarantine_cause(reason: str) -> str:
    """The cause of this code; the code itself where it is none of ours."""
    try:
        return CAUSES[QuarantineReason(reason)]
    except ValueError:
        return reason
