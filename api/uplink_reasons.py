"""Why an uplink could not be decoded, or gave no measurement, in French."""

from core.model.uplink_reasons import UplinkReason

_NOTHING = "Lue par {by}, mais aucune mesure : "
SENTENCES = {
    UplinkReason.UNKNOWN_CODEC: "Codec inconnu : « {codec} » (profil d'équipement {detail})",
    UplinkReason.UNREADABLE: "Trame illisible par {by} : {detail}",
    UplinkReason.CODEC_FAILED: "Erreur du décodeur {by} : {detail}",
    UplinkReason.CODEC_SUSPENDED: "En attente : le codec {by} est suspendu",
    UplinkReason.NO_WORKERS: "En attente : le moteur des codecs ne répond pas",
    UplinkReason.NO_MAPPING: _NOTHING + "le profil n'a pas de correspondance",
    UplinkReason.NO_RULE_APPLIES: _NOTHING + "aucune règle de la correspondance ne s'y applique",
    UplinkReason.TO_CONFIRM: _NOTHING + "ce que la correspondance y lit est à confirmer",
    UplinkReason.NO_USABLE_VALUE: _NOTHING + "aucune valeur n'est utilisable",
    UplinkReason.OTHER: "{detail}",
}


def uplink_sentence(reason: str | None, detail: str | None, codec: str | None, version: int | None) -> str | None:
    """The sentence of a stored reason; the reason itself where it is no code of ours."""
    if reason is None:
        return None
    try:
        sentence = SENTENCES[UplinkReason(reason)]
    except ValueError:
        return reason
    by = codec if version is None else f"{codec} v{version}"
    return sentence.format(codec=codec, by=by, detail=detail or "")
