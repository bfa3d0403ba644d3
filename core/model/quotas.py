"""How many objects a tenant may have: the kinds that are counted, and what is said when there is no room. Pure."""

from dataclasses import dataclass

CONSTRAINT = "quota"
NAMES = {
    "devices": "capteurs",
    "gateways": "passerelles",
    "assets": "actifs",
    "device_profiles": "profils",
    "codecs": "décodeurs",
    "redecodes": "décodages en attente",
    "alert_rules": "règles d'alerte",
    "teams": "équipes",
    "contacts": "contacts",
    "silences": "silences en cours",
    "webhook_endpoints": "adresses de webhook",
    "event_sources": "sources d'événements",
    "lns_sources": "sources d'autres LNS",
    "applications": "applications",
    "multicast_groups": "groupes multicast",
    "api_keys": "clés d'API en cours de validité",
    "key_recipients": "destinataires de clés",
    "grants": "partages en cours",
    "members": "personnes",
    "invitations": "invitations en attente",
    "photos": "photos d'actifs",
    "work_order_photos": "photos d'interventions",
    "photo_uploads": "photos en morceaux, pas encore entières",
    "imports": "imports en cours",
    "exports": "exports en cours",
    "measurement_webhooks": "webhooks de mesures",
    "export_schedules": "dépôts d'exports planifiés",
    "campaign_drafts": "campagnes à approuver",
}


@dataclass(frozen=True, slots=True)
class Exceeded:
    """One more than a tenant may have was asked for."""

    kind: str
    most: int
    used: int

    @classmethod
    def parse(cls, detail: str) -> "Exceeded":
        """From the detail of the database's error, `<kind> <most> <used>`."""
        kind, most, used = detail.split()
        return cls(kind, int(most), int(used))

    @property
    def french(self) -> str:
        """The quota, the count and who can change it."""
        return (
            f"quota « {self.kind} » atteint : {self.most} {NAMES.get(self.kind, self.kind)} au plus pour cette "
            f"collectivité, qui en a {self.used} ; l'exploitant du réseau peut l'élever"
        )
