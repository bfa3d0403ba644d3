"""Lines of the audit in people's words: what was done, on what, what differs; an unknown word stays raw."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from api.console.language import Language
from api.console.navigation import marked
from api.console.wording import ROLE_NAMES

ACTIONS = {
    "create": marked("a créé"),
    "update": marked("a changé"),
    "delete": marked("a supprimé"),
    "end": marked("a mis fin à"),
    "login": marked("s’est connecté"),
    "logout": marked("s’est déconnecté"),
    "reject": marked("a été refusé, ou a refusé"),
    "accept": marked("a accepté"),
    "issue": marked("a émis"),
    "record": marked("a renseigné"),
    "cancel": marked("a annulé"),
    "withdraw": marked("a retiré"),
    "revoke": marked("a révoqué"),
    "invite": marked("a invité"),
    "remove": marked("a retiré"),
    "set_role": marked("a changé le rôle de"),
    "close": marked("a fermé"),
    "reopen": marked("a rouvert"),
    "retire": marked("a retiré"),
    "restore": marked("a repris"),
    "close_others": marked("a fermé les autres sessions"),
    "close_sessions": marked("a fermé les sessions de"),
    "reset_password": marked("a fait un lien vers un nouveau mot de passe pour"),
    "enable": marked("a rouvert le compte de"),
    "disable": marked("a fermé le compte de"),
    "change": marked("a changé"),
    "prepare": marked("a préparé"),
    "confirm": marked("a confirmé"),
    "prove": marked("a confirmé son identité"),
    "switch_tenant": marked("travaille pour une autre collectivité"),
    "link": marked("a lié"),
    "read": marked("a lu"),
    "list": marked("a cherché"),
    "export": marked("a exporté"),
    "export.drop": marked("a déposé le fichier de"),
    "export.drop_now": marked("a demandé un dépôt de"),
    "export.repeat": marked("a refait un dépôt de"),
    "erase": marked("a effacé"),
    "preview": marked("a demandé ce qui serait effacé de"),
    "acknowledge": marked("a pris en charge"),
    "assign": marked("a confié"),
    "comment": marked("a commenté"),
    "resolve": marked("a terminé"),
    "assign_device": marked("a posé un capteur sur"),
    "end_device": marked("a déposé le capteur de"),
    "publish": marked("a publié"),
    "release": marked("a mis en service"),
    "decide": marked("a décidé de"),
    "contested": marked("voit contester"),
    "receive": marked("a reçu"),
    "replay": marked("a renvoyé des messages de"),
    "discard": marked("a jeté des messages de"),
    "test": marked("a essayé"),
    "import": marked("a importé"),
    "rotate": marked("a renouvelé"),
    "save": marked("a enregistré"),
    "order": marked("a demandé à une passerelle"),
    "allow_export": marked("a permis de sortir les clés des capteurs à"),
    "refuse_export": marked("ne permet plus de sortir les clés des capteurs à"),
    "set_member_of": marked("a changé le syndicat de"),
}
ENTITIES = {
    "alert": marked("alerte"),
    "alert_rule": marked("règle d’alerte"),
    "alert_calendar": marked("calendrier"),
    "api_key": marked("clé d’application"),
    "application": marked("application"),
    "asset": marked("équipement"),
    "codec": marked("décodeur"),
    "codec_version": marked("version de décodeur"),
    "consent": marked("consentement"),
    "contact": marked("contact"),
    "data_subject": marked("données d’un foyer ou d’une personne"),
    "cost_contributor": marked("contributeur aux coûts"),
    "cost_entry": marked("écriture des coûts"),
    "cost_item": marked("poste de coût"),
    "cost_statement": marked("décompte"),
    "datastream": marked("suite de mesures"),
    "device": marked("capteur"),
    "device_profile": marked("profil de capteur"),
    "downlink": marked("message vers un capteur"),
    "erasure": marked("effacement"),
    "eui_claim": marked("identifiant contesté"),
    "event_source": marked("source d’événements"),
    "gateway": marked("passerelle"),
    "gateway_token": marked("jeton de passerelle"),
    "grant": marked("partage"),
    "identity": marked("identité du fournisseur"),
    "invitation": marked("invitation"),
    "energy_baseline": marked("référence d’énergie"),
    "kit_template": marked("modèle de kit"),
    "kit_commissioning": marked("mise en service d’un kit"),
    "key_recipient": marked("destinataire de clés"),
    "lighting_command": marked("ordre d’éclairage"),
    "lns_source": marked("source d’un autre réseau"),
    "login": marked("connexion ou droit"),
    "maintenance_window": marked("maintenance"),
    "meter_change": marked("changement de compteur"),
    "mqtt_account": marked("compte MQTT"),
    "multicast_group": marked("groupe de capteurs"),
    "multicast_message": marked("message à un groupe"),
    "password": marked("mot de passe"),
    "person": marked("compte d’une personne"),
    "processing": marked("finalité d’un traitement"),
    "publication": marked("publication"),
    "quota": marked("quotas"),
    "redecode": marked("nouveau décodage"),
    "session": marked("session"),
    "silence": marked("silence"),
    "station_order": marked("demande à une station"),
    "team": marked("équipe"),
    "tenant": marked("collectivité"),
    "totp": marked("second facteur"),
    "transfer": marked("transfert"),
    "waste_round": marked("tournée"),
    "weighing": marked("bon de pesée"),
    "webhook_endpoint": marked("adresse de webhook"),
    "work_order": marked("intervention"),
}
FIELDS = {
    "addresses": marked("réseaux"),
    "archived": marked("archivé"),
    "asset_id": marked("équipement"),
    "asset_kind": marked("type d’équipement"),
    "asset_kinds": marked("types d’équipements"),
    "assignee": marked("confiée à"),
    "attributes": marked("attributs"),
    "commune": marked("commune"),
    "confirmed": marked("confirmé"),
    "created_at": marked("créé"),
    "department": marked("département"),
    "description": marked("description"),
    "device_profile_id": marked("profil"),
    "email": marked("adresse de courrier"),
    "enabled": marked("en service"),
    "expires_at": marked("fin de validité"),
    "extra_rights": marked("droits en plus"),
    "kind": marked("type"),
    "latitude": marked("latitude"),
    "longitude": marked("longitude"),
    "name": marked("nom"),
    "open": marked("ouvertes"),
    "privacy_class": marked("classe de données"),
    "proved_at": marked("identité confirmée"),
    "requests_per_minute": marked("demandes par minute"),
    "revoked_at": marked("révoqué"),
    "role": marked("rôle"),
    "roles": marked("droits"),
    "severity": marked("gravité"),
    "state": marked("état"),
    "street": marked("rue"),
    "tags": marked("étiquettes"),
    "tenant": marked("collectivité"),
    "threshold": marked("seuil"),
    "valid_from": marked("début"),
    "valid_to": marked("fin"),
    "webhook_allow_list": marked("adresses internes"),
    "workflow": marked("traitement"),
}
# Shown in columns of their own.
APART = frozenset({"before", "after", "address", "person", "name", "api_key", "of_tenant", "on_behalf_of", "why"})
YES, NO = marked("oui"), marked("non")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field, before and after."""

    name: str
    before: str
    after: str


def field_name(name: str, language: Language) -> str:
    """The field in people's words."""
    return language.gettext(FIELDS[name]) if name in FIELDS else name.replace("_", " ")


def value_in_words(value: Any, language: Language) -> str:
    """A value as people write it: yes, a number, an instant, a list."""
    match value:
        case None | "" | [] | {}:
            return "—"
        case bool():
            return language.gettext(YES if value else NO)
        case float():
            return language.number(value, 6)
        case str():
            return _text_in_words(value, language)
        case list() | dict():
            return _several_in_words(cast(list[Any] | dict[str, Any], value), language)
        case _:
            return str(value)


def _several_in_words(several: list[Any] | dict[str, Any], language: Language) -> str:
    if isinstance(several, list):
        return ", ".join(value_in_words(one, language) for one in several)
    pairs = several.items()
    return " ; ".join(f"{field_name(name, language)} : {value_in_words(one, language)}" for name, one in pairs)


def _text_in_words(text: str, language: Language) -> str:
    if text in ROLE_NAMES:
        return language.gettext(ROLE_NAMES[text])
    if len(text) >= len("2026-11-27T12:00") and text[4:5] == "-" and text[10:11] == "T":
        try:
            return language.exact(datetime.fromisoformat(text))
        except ValueError:
            return text
    return text


def differences(details: Mapping[str, Any], language: Language) -> list[Difference]:
    """What the line says of each field: as it was, and as it is."""
    before, after = _side(details, "before"), _side(details, "after")
    return [
        Difference(
            field_name(name, language),
            value_in_words(before.get(name), language),
            value_in_words(after.get(name), language),
        )
        for name in before | after
    ]


def _side(details: Mapping[str, Any], name: str) -> dict[str, Any]:
    side = details.get(name)
    return cast(dict[str, Any], side) if isinstance(side, dict) else {}


def remaining_details(details: Mapping[str, Any], language: Language) -> list[tuple[str, str]]:
    """What else the line says, by field."""
    kept = {name: value for name, value in details.items() if name not in APART}
    return [(field_name(name, language), value_in_words(value, language)) for name, value in kept.items()]
