"""What identifies a finding from one examination to the next: its kind, a code whose first word is its subject."""

from collections.abc import Iterable
from enum import StrEnum


class Subject(StrEnum):
    """What is looked at; `french` is how people call it."""

    ALARM = "alarm"
    ALERTS = "alerts"
    ARCHIVE = "archive"
    BACKUP = "backup"
    BROKER = "broker"
    BUS = "bus"
    CERTIFICATE = "certificate"
    CLOCK = "clock"
    COLD = "cold"
    CREDENTIALS = "credentials"
    DATABASE = "database"
    DATABASE_CLOCK = "database_clock"
    DISK = "disk"
    DRILL = "drill"
    EXAMINATION = "examination"
    FEED = "feed"
    GATEWAYS = "gateways"
    ISOLATION = "isolation"
    KEY = "key"
    LOGINS = "logins"
    MQTT_ACCOUNTS = "mqtt_accounts"
    PORT = "port"
    PRIVACY = "privacy"
    PROCESS = "process"
    QUARANTINE = "quarantine"
    RIGHTS = "rights"
    ROLLUPS = "rollups"
    SCHEMA = "schema"
    SERVICE = "service"
    SETTINGS = "settings"
    SHARDS = "shards"
    STACK = "stack"
    TIMESCALE = "timescale"
    TIME_ZONE = "time_zone"
    UDP_BUFFER = "udp_buffer"
    UNIT = "unit"
    UNITS = "units"

    @property
    def french(self) -> str:
        """As it stands before the colon."""
        return IN_FRENCH[self]


IN_FRENCH = {
    Subject.ALARM: "astreinte",
    Subject.ALERTS: "alertes",
    Subject.ARCHIVE: "archive",
    Subject.BACKUP: "sauvegarde",
    Subject.BROKER: "courtier MQTT",
    Subject.BUS: "bus",
    Subject.CERTIFICATE: "certificat",
    Subject.CLOCK: "horloge",
    Subject.COLD: "mesures anciennes",
    Subject.CREDENTIALS: "justificatifs",
    Subject.DATABASE: "base de données",
    Subject.DATABASE_CLOCK: "horloge de la base",
    Subject.DISK: "disque",
    Subject.DRILL: "essai de restauration",
    Subject.EXAMINATION: "examen",
    Subject.FEED: "fil des mesures",
    Subject.GATEWAYS: "passerelles",
    Subject.ISOLATION: "cloisonnement",
    Subject.KEY: "clé de chiffrement",
    Subject.LOGINS: "comptes de la base",
    Subject.MQTT_ACCOUNTS: "comptes MQTT",
    Subject.PORT: "port",
    Subject.PRIVACY: "données personnelles",
    Subject.PROCESS: "processus",
    Subject.QUARANTINE: "quarantaine",
    Subject.RIGHTS: "droits sur la base",
    Subject.ROLLUPS: "agrégats",
    Subject.SCHEMA: "schéma",
    Subject.SERVICE: "service",
    Subject.SETTINGS: "réglages",
    Subject.SHARDS: "parts",
    Subject.STACK: "pile",
    Subject.TIMESCALE: "TimescaleDB",
    Subject.TIME_ZONE: "fuseau horaire",
    Subject.UDP_BUFFER: "tampon UDP",
    Subject.UNIT: "service systemd",
    Subject.UNITS: "unités",
}


class Kind(StrEnum):
    """Every way in which something is not as it should be."""

    ALARM_NOBODY = "alarm.nobody"
    ALARM_WRONG = "alarm.wrong"
    ALERTS_UNREACHED = "alerts.unreached"
    ARCHIVE_LATE = "archive.late"
    ARCHIVE_NOT_YET = "archive.not_yet"
    ARCHIVE_SUSPENDED = "archive.suspended"
    BACKUP_AHEAD = "backup.ahead"
    BACKUP_NONE = "backup.none"
    BACKUP_OLD = "backup.old"
    BACKUP_PLAIN = "backup.plain"
    BROKER_AWAY = "broker.away"
    BROKER_OPEN = "broker.open"
    BUS_AWAY = "bus.away"
    BUS_FILLING = "bus.filling"
    BUS_KEEPS_NOTHING = "bus.keeps_nothing"
    BUS_OPEN = "bus.open"
    BUS_SHARED = "bus.shared"
    BUS_STREAM_MISSING = "bus.stream_missing"
    CERTIFICATE_ENDS = "certificate.ends"
    CERTIFICATE_UNREADABLE = "certificate.unreadable"
    CLOCK_UNSET = "clock.unset"
    COLD_FAILS = "cold.fails"
    CREDENTIALS_NONE = "credentials.none"
    CREDENTIALS_UNPROVED = "credentials.unproved"
    DATABASE_AWAY = "database.away"
    DATABASE_CLOCK_SKEWED = "database_clock.skewed"
    DATABASE_REFUSES = "database.refuses"
    DISK_AWAY = "disk.away"
    DISK_READ_ONLY = "disk.read_only"
    DISK_SCARCE = "disk.scarce"
    DRILL_FAILED = "drill.failed"
    DRILL_NEVER = "drill.never"
    DRILL_OLD = "drill.old"
    EXAMINATION_ENDED = "examination.ended"
    FEED_HELD = "feed.held"
    GATEWAYS_NEVER_HEARD = "gateways.never_heard"
    GATEWAYS_NONE = "gateways.none"
    GATEWAYS_SILENT = "gateways.silent"
    GATEWAYS_UNKNOWN = "gateways.unknown"
    ISOLATION_UNSEALED = "isolation.unsealed"
    ISOLATION_UNVOUCHED = "isolation.unvouched"
    KEY_CLOSED = "key.closed"
    KEY_MALFORMED = "key.malformed"
    LOGINS_OWNER_OPEN = "logins.owner_open"
    LOGINS_SHARED = "logins.shared"
    MQTT_ACCOUNTS_WAITING = "mqtt_accounts.waiting"
    PORT_TAKEN = "port.taken"
    PRIVACY_UNCONFIRMED = "privacy.unconfirmed"
    PROCESS_RESTARTED = "process.restarted"
    PROCESS_UNREADY = "process.unready"
    QUARANTINE_GROWS = "quarantine.grows"
    RIGHTS_MISSING = "rights.missing"
    ROLLUPS_LATE = "rollups.late"
    SCHEMA_MISMATCH = "schema.mismatch"
    SERVICE_UNOWNED = "service.unowned"
    SETTINGS_OPTIONS = "settings.options"
    SETTINGS_UNKNOWN = "settings.unknown"
    SETTINGS_WRONG = "settings.wrong"
    SHARDS_DIFFER = "shards.differ"
    STACK_INCOMPLETE = "stack.incomplete"
    STACK_STOPPED = "stack.stopped"
    STACK_UNREADABLE = "stack.unreadable"
    TIMESCALE_UNTRIED = "timescale.untried"
    TIMESCALE_UNUSABLE = "timescale.unusable"
    TIME_ZONE_UNKNOWN = "time_zone.unknown"
    UDP_BUFFER_SMALL = "udp_buffer.small"
    UNITS_MISMATCH = "units.mismatch"
    UNIT_FAILED = "unit.failed"
    UNIT_STOPPED = "unit.stopped"

    def of(self, which: str) -> str:
        """One of several that are bad in their own ways: of a stream, a cause."""
        return f"{self}.{which}"


def subject_of(kind: str) -> str:
    """The code of what a kind is about: a Subject, but of another release's kinds."""
    return kind.partition(".")[0]


# What the database alone knows, and so nobody while it cannot be asked.
IN_THE_DATABASE = frozenset(
    {
        Subject.ALERTS,
        Subject.ARCHIVE,
        Subject.COLD,
        Subject.CREDENTIALS,
        Subject.DATABASE_CLOCK,
        Subject.DRILL,
        Subject.FEED,
        Subject.GATEWAYS,
        Subject.ISOLATION,
        Subject.KEY,
        Subject.LOGINS,
        Subject.MQTT_ACCOUNTS,
        Subject.PRIVACY,
        Subject.QUARANTINE,
        Subject.RIGHTS,
        Subject.ROLLUPS,
        Subject.SCHEMA,
        Subject.SERVICE,
        Subject.SHARDS,
        Subject.TIMESCALE,
        Subject.TIME_ZONE,
        Subject.UNITS,
    }
)
IN_THE_STACK = IN_THE_DATABASE | {Subject.PROCESS, Subject.DATABASE, Subject.BUS, Subject.BROKER}
# Which subjects an examination has not seen, by what it found instead.
HIDES: dict[str, frozenset[Subject]] = {
    Kind.STACK_INCOMPLETE: IN_THE_STACK,
    Kind.STACK_STOPPED: IN_THE_STACK,
    Kind.STACK_UNREADABLE: IN_THE_STACK,
    Kind.DATABASE_AWAY: IN_THE_DATABASE | {Subject.DATABASE},
    Kind.DATABASE_REFUSES: IN_THE_DATABASE | {Subject.DATABASE},
    Kind.SCHEMA_MISMATCH: IN_THE_DATABASE,
    Kind.UNITS_MISMATCH: IN_THE_DATABASE,
    Kind.TIMESCALE_UNUSABLE: IN_THE_DATABASE,
    Kind.DATABASE_CLOCK_SKEWED: IN_THE_DATABASE,
    Kind.TIME_ZONE_UNKNOWN: IN_THE_DATABASE,
    Kind.SHARDS_DIFFER: IN_THE_DATABASE,
    Kind.BUS_AWAY: frozenset({Subject.BUS}),
    Kind.BUS_KEEPS_NOTHING: frozenset({Subject.BUS}),
    Kind.BROKER_AWAY: frozenset({Subject.BROKER}),
    Kind.DISK_AWAY: frozenset({Subject.DISK, Subject.BACKUP}),
    Kind.EXAMINATION_ENDED.of(Subject.BACKUP): frozenset({Subject.BACKUP}),
    Kind.EXAMINATION_ENDED.of(Subject.PROCESS): frozenset({Subject.PROCESS}),
    Kind.EXAMINATION_ENDED.of(Subject.DATABASE): IN_THE_DATABASE | {Subject.DATABASE},
    Kind.EXAMINATION_ENDED.of(Subject.ARCHIVE): frozenset({Subject.ARCHIVE, Subject.DRILL}),
    Kind.EXAMINATION_ENDED.of(Subject.BUS): frozenset({Subject.BUS}),
    Kind.EXAMINATION_ENDED.of(Subject.BROKER): frozenset({Subject.BROKER}),
    Kind.EXAMINATION_ENDED: frozenset(Subject),
}


def hidden_by(kinds: Iterable[str]) -> frozenset[Subject]:
    """What was not looked at: that nothing is found of it does not say that it is good."""
    return frozenset[Subject]().union(*(HIDES.get(kind, frozenset[Subject]()) for kind in kinds))
