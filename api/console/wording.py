"""Kinds of assets and states in people's words; a kind that somebody invented is shown as it was written."""

from alerting.wording import UNITS
from api.console.navigation import marked

KINDS = {
    "waste_container": marked("Conteneur à déchets"),
    "glass_container": marked("Borne à verre"),
    "paper_container": marked("Borne à papier"),
    "packaging_container": marked("Borne à emballages"),
    "textile_container": marked("Borne à textile"),
    "lighting_cabinet": marked("Armoire d’éclairage"),
    "lighting_circuit": marked("Circuit d’éclairage"),
    "light_point": marked("Point lumineux"),
    "room": marked("Salle"),
    "building": marked("Bâtiment"),
    "dwelling": marked("Logement"),
    "water_meter": marked("Compteur d’eau"),
    "sub_meter": marked("Sous-compteur"),
    "electricity_meter": marked("Compteur électrique"),
    "gas_meter": marked("Compteur de gaz"),
    "heat_meter": marked("Compteur de chaleur"),
    "parking_space": marked("Place de stationnement"),
    "weather_station": marked("Station météo"),
}
WEEKDAYS = (
    marked("lundi"),
    marked("mardi"),
    marked("mercredi"),
    marked("jeudi"),
    marked("vendredi"),
    marked("samedi"),
    marked("dimanche"),
)
# The worst first.
STATES = {
    "critical": marked("alerte critique"),
    "major": marked("alerte majeure"),
    "warning": marked("à surveiller"),
    "info": marked("information"),
    "command": marked("ordre en cours"),
    "silent": marked("silencieux"),
    "unknown": marked("état inconnu"),
    "ok": marked("sans souci"),
}


ROLE_NAMES = {
    "operator": marked("exploitant du réseau"),
    "service_manager": marked("responsable de service"),
    "field_agent": marked("agent de terrain"),
    "reader": marked("lecteur"),
    "open_data_officer": marked("responsable des données ouvertes"),
    "energy_adviser": marked("conseiller en énergie"),
    "auditor": marked("auditeur"),
}


def unit_name(unit: str) -> str:
    """A UCUM code as people write it."""
    return UNITS.get(unit, unit)


def kind_name(kind: str) -> str:
    """The kind's name in French."""
    return KINDS.get(kind, kind.replace("_", " "))
