"""What the network decided of a frame, and what to do about it, in people's words."""

from typing import NamedTuple

from api.console.language import Language
from api.console.navigation import marked
from api.downlink_reasons import SENTENCES
from lorawan.rejections import RejectReason


class Words(NamedTuple):
    """What happened, and what to do; empty: nothing."""

    what: str
    advice: str = ""


OUTCOMES: dict[str, Words] = {
    "accepted": Words(marked("acceptée")),
    "restarted": Words(
        marked("acceptée, compteur reparti de zéro"),
        marked("Le capteur a redémarré ; rien à faire s’il est en ABP."),
    ),
    "late_copy": Words(marked("copie arrivée après les autres")),
    "retransmission": Words(
        marked("répétée par le capteur"),
        marked(
            "Le capteur n’a pas entendu notre réponse : s’il répète souvent, vérifiez son antenne et sa place."
        ),
    ),
    "repeated": Words(
        marked("jonction déjà acceptée, répondue à nouveau"),
        marked("Le capteur n’a pas entendu notre réponse : vérifiez son antenne et sa place."),
    ),
    "OK": Words(marked("émise")),
    RejectReason.MIC: Words(
        marked("signature fausse"),
        marked("La clé du capteur n’est pas celle qui est enregistrée : comparez-la avec celle du fabricant."),
    ),
    RejectReason.REPLAY: Words(
        marked("compteur déjà passé"),
        marked(
            "Un capteur ABP qui redémarre repart de zéro : faites-le se joindre (OTAA) si son modèle le permet."
        ),
    ),
    RejectReason.SAME_F_CNT: Words(
        marked("deux trames différentes sous le même compteur"),
        marked("Le capteur a redémarré, ou deux capteurs ont la même clé : cherchez le second."),
    ),
    RejectReason.UNKNOWN_DEV_ADDR: Words(
        marked("adresse inconnue ici"),
        marked(
            "Souvent un capteur d’un autre réseau. Si c’est le vôtre, appuyez sur son bouton pour qu’il se joigne."
        ),
    ),
    RejectReason.UNKNOWN_DEVICE: Words(
        marked("capteur qui n’est pas enregistré"),
        marked("Enregistrez-le avec son DevEUI, son JoinEUI et sa clé, puis appuyez sur son bouton."),
    ),
    RejectReason.DISABLED: Words(marked("capteur désactivé"), marked("Réactivez-le dans sa fiche.")),
    RejectReason.NOT_OTAA: Words(
        marked("demande à se joindre, mais n’a pas de clé de jonction ici"),
        marked("Enregistrez-le avec sa clé (AppKey), ou réglez le capteur en ABP."),
    ),
    RejectReason.WRONG_KEK: Words(
        marked("clé enregistrée illisible"),
        marked("Appelez l’exploitant de la plateforme : elle a été chiffrée sous une autre clé maîtresse."),
    ),
    RejectReason.DEV_NONCE_USED: Words(
        marked("numéro de jonction qui a déjà servi"),
        marked(
            "Il a été remis à zéro : oubliez ses numéros de jonction dans sa fiche, puis appuyez sur son bouton."
        ),
    ),
    RejectReason.DEV_NONCE_NOT_INCREASING: Words(
        marked("numéro de jonction qui recule"),
        marked(
            "Il a été remis à zéro : oubliez ses numéros de jonction dans sa fiche, puis appuyez sur son bouton."
        ),
    ),
    RejectReason.JOIN_NONCE_USED_UP: Words(
        marked("plus aucune jonction possible sous cette clé"), marked("Donnez une nouvelle clé au capteur.")
    ),
    RejectReason.DEVICE_FLOOD: Words(
        marked("demande trop souvent à se joindre"),
        marked(
            "Il n’entend pas nos réponses : vérifiez son antenne et sa place. Il est réécouté dans dix minutes."
        ),
    ),
    RejectReason.GATEWAY_FLOOD: Words(
        marked("trop de demandes de jonction par les mêmes passerelles"),
        marked("Un capteur insiste près d’elles, ou quelqu’un les trompe : regardez ce qu’elles entendent."),
    ),
    RejectReason.MALFORMED: Words(
        marked("ce n’est pas une trame LoRaWAN"),
        marked("Un autre système émet sur ces fréquences : rien à faire."),
    ),
    RejectReason.IGNORED: Words(
        marked("pas destinée au réseau"), marked("Une passerelle a entendu une descendante : rien à faire.")
    ),
    RejectReason.LATE: Words(
        marked("arrivée trop tard pour une réponse"),
        marked("La liaison de la passerelle est lente : regardez son aller-retour."),
    ),
}


def words_of(outcome: str, language: Language) -> Words:
    """Of an outcome or a reason, in the visitor's language; one that has no words is shown as it is."""
    known = OUTCOMES.get(outcome)
    if known is not None:
        return Words(language.gettext(known.what), language.gettext(known.advice) if known.advice else "")
    sentence = next((text for reason, text in SENTENCES.items() if reason == outcome), outcome)
    return Words(sentence)


def every_outcome(language: Language) -> dict[str, Words]:
    """For a script that shows frames as they come."""
    return {outcome: words_of(outcome, language) for outcome in (*OUTCOMES, *SENTENCES)}
