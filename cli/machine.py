"""Examines the machine itself: disks, clock, UDP buffers, certificates."""

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from cli.finding_kinds import Kind, Subject
from cli.findings import SCARCE, Finding, critical, days_left, good, warning
from cli.state import read_disk, standing
from core.runtime.errors import system_reason
from services.supervisor.home import Home
from services.supervisor.nats import STORE
from services.supervisor.ports import PortTaken
from services.supervisor.stack_options import BUS, StackOptions

FULL = 0.05
UDP_BUFFER = 4 << 20
EXPIRES_SOON = timedelta(days=30)
WHOLE = ""
# What has a disk of its own; the home's is « le disque ».
DISKS = {
    "database": "base de données",
    "log": "journal de la base",
    "bus": "bus",
    "backups": "sauvegardes",
}
RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
TIMEX_OCTETS, TIME_ERROR = 256, 5  # adjtimex(2): larger than its structure, and "not synchronised".


def examine_machine(home: Path | None, backups: Path | None) -> list[Finding]:
    """`home` is the stack's; None: elsewhere, or not known."""
    return [_clock(), _udp_buffer(), *_examine_disks(home, backups)]


def _examine_disks(home: Path | None, backups: Path | None) -> list[Finding]:
    """Each once, by the first that stands on it."""
    found: list[Finding] = []
    seen: set[int] = set()
    for what, folder in _places(home, backups):
        try:
            device = standing(folder).stat().st_dev
        except PermissionError:  # That this account may not look says nothing of the disk.
            continue
        except OSError:
            found.append(examine_disk(folder, what))
            continue
        if device not in seen:
            seen.add(device)
            found.append(examine_disk(folder, what))
    return found


def _places(home: Path | None, backups: Path | None) -> Iterator[tuple[str, Path]]:
    """What may have a disk of its own, and where it is."""
    if home is not None:
        yield WHOLE, home
        with suppress(KeyError):  # No account of PostgreSQL's: a container, whose database is in another.
            database = Home(home).postgres_data
            yield "database", database
            yield "log", database / "pg_wal"
        for bus in sorted(home.glob(f"{BUS}*")):
            yield "bus", bus / STORE
    if backups is not None:
        yield "backups", backups


def examine_disk(folder: Path, what: str = WHOLE) -> Finding:
    """Below a twentieth PostgreSQL is about to stop; on one that takes nothing it has."""
    who = {what: DISKS[what]} if what in DISKS else {}
    try:
        disk = read_disk(folder)
    except OSError as refused:
        reason = f"{folder} : {system_reason(refused)}"
        return critical(Kind.DISK_AWAY, reason, "dmesg dit pourquoi ; vérifiez-le", who)
    # The alarm's unit has only the home to write to: of the backups' disk it cannot tell.
    if disk.is_read_only and what != "backups":
        remedy = (
            "dmesg dit pourquoi ; vérifiez le disque (fsck), puis mount -o remount,rw : rien ne s'écrit d'ici là"
        )
        return critical(Kind.DISK_READ_ONLY, f"en lecture seule ({folder})", remedy, who)
    free = f"{disk.free / 1e9:.0f} Go libres sur {disk.total / 1e9:.0f} ({folder})"
    remedy = (
        "libérez de la place ou agrandissez le disque ; TERRITOIRE_KEEP_MEASUREMENTS_MONTHS et "
        "TERRITOIRE_KEEP_UPLINKS_MONTHS disent combien de temps tout est gardé"
    )
    if what == "backups":
        remedy = (
            "libérez de la place ou agrandissez le disque ; install --keep dit combien de sauvegardes sont gardées"
        )
    if disk.left < FULL:
        return critical(Kind.DISK_SCARCE, f"presque plein : {free}", remedy, who)
    if disk.left < SCARCE:
        return warning(Kind.DISK_SCARCE, free, remedy, who)
    return replace(good(Subject.DISK, free), names=tuple(who.values()), ids=tuple(who))


def examine_ports(options: StackOptions) -> list[Finding]:
    """Whether a stack that does not run would get the ports that its options ask for."""
    found: list[Finding] = []
    for kind, wanted in options.wanted.items():
        try:
            wanted.reserve()
        except PortTaken as taken:
            remedy = (
                f"« ss -lnptu » dit qui le tient : arrêtez-le, ou donnez un autre --{kind}-port dans "
                "TERRITOIRE_OPTIONS"
            )
            if taken.is_elsewhere:
                host = "udp" if kind == "station" else kind
                remedy = f"cette adresse n'est pas de cette machine : donnez-en une (--{host}-host)"
            found.append(critical(Kind.PORT_TAKEN.of(kind), str(taken), remedy))
    return found


def _clock() -> Finding:
    # With modes 0, which the zeros say, it only reads; what it returns is the clock's state.
    timex = (ctypes.c_char * TIMEX_OCTETS)()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except AttributeError:  # Not glibc.
        state = -1
    if state < 0:
        return good(Subject.CLOCK, "le noyau ne dit pas si elle est à l'heure")
    if state == TIME_ERROR:
        return warning(
            Kind.CLOCK_UNSET,
            "rien ne la met à l'heure",
            "installez chrony ou activez systemd-timesyncd : un retard fausse les fenêtres radio et les alertes",
        )
    return good(Subject.CLOCK, "mise à l'heure par le réseau")


def _udp_buffer() -> Finding:
    try:
        allowed = int(RMEM_MAX.read_text("ascii"))
    except (OSError, ValueError):
        return good(Subject.UDP_BUFFER, "illisible ici (conteneur ?)")
    if allowed < UDP_BUFFER:
        return warning(
            Kind.UDP_BUFFER_SMALL,
            f"le noyau n'accorde que {allowed} octets : une rafale de passerelles serait perdue sans trace",
            f"sysctl -w net.core.rmem_max={UDP_BUFFER}, et la même ligne dans /etc/sysctl.d/territoire.conf",
        )
    return good(Subject.UDP_BUFFER, f"{allowed} octets permis")


def examine_certificate(file: Path) -> Finding:
    """The first certificate of the file."""
    from cryptography import x509

    names = [str(file)]
    try:
        certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (OSError, ValueError) as wrong:
        remedy = "remplacez le fichier par un certificat PEM"
        why = system_reason(wrong) if isinstance(wrong, OSError) else "ce n'est pas un certificat PEM"
        return critical(Kind.CERTIFICATE_UNREADABLE, f"ne se lit pas : {why}", remedy, names)
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    until = f"{certificate.not_valid_after_utc:%d/%m/%Y}"
    if left < timedelta():
        remedy = "renouvelez-le, puis redémarrez ce qui s'en sert"
        return critical(Kind.CERTIFICATE_ENDS, f"expiré depuis le {until}", remedy, names)
    if left < EXPIRES_SOON:
        what = f"expire le {until}, dans {days_left(certificate.not_valid_after_utc, datetime.now(UTC))}"
        return warning(Kind.CERTIFICATE_ENDS, what, "renouvelez-le", names)
    return replace(good(Subject.CERTIFICATE, f"valable jusqu'au {until}"), names=tuple(names))
