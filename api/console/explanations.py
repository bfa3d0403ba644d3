"""Which pages have an explanation, and which explanation belongs to an address."""

from api.console.navigation import marked

# By the first word of the address.
TITLES = {
    "supervision": marked("Supervision"),
    "carte": marked("Carte"),
    "equipements": marked("Équipements"),
    "capteurs": marked("Capteurs"),
    "pose": marked("Poser un capteur"),
    "passerelles": marked("Passerelles"),
    "couverture": marked("Couverture"),
    "sante": marked("Santé des capteurs"),
    "trames": marked("Trames en direct"),
    "alertes": marked("Alertes"),
    "interventions": marked("Interventions"),
    "regles": marked("Règles"),
    "silences": marked("Silences et maintenance"),
    "calendriers": marked("Calendriers d’ouverture"),
    "equipes": marked("Équipes"),
    "destinataires": marked("Destinataires"),
    "partenaires": marked("Systèmes partenaires"),
    "eclairage": marked("Éclairage"),
    "campagnes": marked("Campagnes"),
    "tout-allumer": marked("Tout allumer"),
    "programmes": marked("Programmes d’éclairage"),
    "dechets": marked("Déchets"),
    "salles": marked("Salles et air"),
    "compteurs": marked("Compteurs"),
    "batiments": marked("Bâtiments"),
    "atelier": marked("Atelier des décodeurs"),
    "publications": marked("Publications"),
    "imports": marked("Imports"),
    "exports": marked("Exports"),
    "webhooks": marked("Webhooks de mesures"),
    "acces-mqtt": marked("Accès MQTT"),
    "kits": marked("Kits"),
    "couts": marked("Coûts"),
    "rapports": marked("Rapports"),
    "personnes": marked("Personnes"),
    "cles": marked("Clés des applications"),
    "collectivites": marked("Collectivités"),
    "partage": marked("Partage"),
    "journal": marked("Journal"),
    "compte": marked("Mon compte"),
}


def help_of(path: str) -> str:
    """The explanation of the page at this address; empty for one that has none."""
    word = path.strip("/").partition("/")[0]
    return word if word in TITLES else ""
