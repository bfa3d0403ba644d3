"""Why a codec version is suspended, in French: a few words for each code."""

from core.model.suspensions import SuspensionReason

CAUSES = {
    SuspensionReason.OVERRAN: "cinq dépassements du temps de calcul ou de la mémoire en dix minutes",
    SuspensionReason.OTHER: "autre cause",
}


def suspension_cause(reason: str, detail: str | None = None) -> str:
    """The cause of this code, or the detail where it says more; the code itself where it is none of ours."""
    if reason == SuspensionReason.OTHER and detail:
        return detail
    try:
        cause = CAUSES[SuspensionReason(reason)]
    except ValueError:
        cause = reason
    return f"{cause} : {detail}" if detail else cause
