"""Examines the machine itself: disk, clock, UDP buffers, certificates, backups."""

import ctypes
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.backup import newest_backup, newest_manifest
from cli.findings import BACKUP_OLD, SCARCE, Finding, critical, good, warning
from cli.state import read_disk
from core.runtime.errors import system_reason
from services.supervisor.ports import PortTaken
from services.supervisor.stack_options import StackOptions

FULL = 0.05
UDP_BUFFER = 4 << 20
EXPIRES_SOON = timedelta(days=30)
RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
TIMEX_OCTETS, TIME_ERROR = 256, 5  # adjtimex(2): larger than its structure, and "not synchronised".


def examine_machine(folder: Path | None) -> list[Finding]:
    """`folder` is the stack's home, on whose disk everything is; None: elsewhere."""
    found = [_clock(), _udp_buffer()]
    if folder is not None:
        found.append(examine_disk(folder))
    return found


def examine_disk(folder: Path) -> Finding:
    """Below a twentieth PostgreSQL is about to stop; on one that takes nothing it has."""
    disk = read_disk(folder)
    if disk.is_read_only:
        remedy = (
            "dmesg dit pourquoi ; vérifiez le disque (fsck), puis mount -o remount,rw : rien ne s'écrit d'ici là"
        )
        return critical("disque", f"en lecture seule ({folder})", remedy)
    free = f"{disk.free / 1e9:.0f} Go libres sur {disk.total / 1e9:.0f} ({folder})"
    remedy = (
        "libérez de la place ou agrandissez le disque ; TERRITOIRE_KEEP_MEASUREMENTS_MONTHS et "
        "TERRITOIRE_KEEP_UPLINKS_MONTHS disent combien de temps tout est gardé"
    )
    if disk.left < FULL:
        return critical("disque", f"presque plein : {free}", remedy)
    if disk.left < SCARCE:
        return warning("disque", free, remedy)
    return good("disque", free)


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
            found.append(critical("port", str(taken), remedy))
    return found


def _clock() -> Finding:
    # With modes 0, which the zeros say, it only reads; what it returns is the clock's state.
    timex = (ctypes.c_char * TIMEX_OCTETS)()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except AttributeError:  # Not glibc.
        state = -1
    if state < 0:
        return good("horloge", "le noyau ne dit pas si elle est à l'heure")
    if state == TIME_ERROR:
        return warning(
            "horloge",
            "rien ne la met à l'heure",
            "installez chrony ou activez systemd-timesyncd : un retard fausse les fenêtres radio et les alertes",
        )
    return good("horloge", "mise à l'heure par le réseau")


def _udp_buffer() -> Finding:
    try:
        allowed = int(RMEM_MAX.read_text("ascii"))
    except (OSError, ValueError):
        return good("tampon UDP", "illisible ici (conteneur ?)")
    if allowed < UDP_BUFFER:
        return warning(
            "tampon UDP",
            f"le noyau n'accorde que {allowed} octets : une rafale de passerelles serait perdue sans trace",
            f"sysctl -w net.core.rmem_max={UDP_BUFFER}, et la même ligne dans /etc/sysctl.d/territoire.conf",
        )
    return good("tampon UDP", f"{allowed} octets permis")


def examine_certificate(file: Path) -> Finding:
    """The first certificate of the file."""
    from cryptography import x509

    subject = f"certificat {file.name}"
    try:
        certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (OSError, ValueError) as wrong:
        why = system_reason(wrong) if isinstance(wrong, OSError) else "ce n'est pas un certificat"
        return critical(subject, f"ne se lit pas : {why}", "remplacez le fichier par un certificat PEM")
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    until = f"{certificate.not_valid_after_utc:%d/%m/%Y}"
    if left < timedelta():
        return critical(subject, f"expiré depuis le {until}", "renouvelez-le, puis redémarrez ce qui s'en sert")
    if left < EXPIRES_SOON:
        return warning(subject, f"expire le {until}, dans {left.days} jours", "renouvelez-le")
    return good(subject, f"valable jusqu'au {until}")


def examine_backups(folder: Path) -> Finding:
    """By the manifests that `territoire backup` writes."""
    newest = newest_backup(folder)
    remedy = f"./territoire backup {folder}, et voyez « systemctl status territoire-backup.timer »"
    if newest is None:
        return critical("sauvegarde", f"aucune dans {folder}", remedy)
    age = datetime.now(UTC) - newest
    if age > BACKUP_OLD:
        return critical("sauvegarde", f"la dernière a {age.total_seconds() / 3600:.0f} heures", remedy)
    last = newest_manifest(folder)
    if last is not None and last.goes_on_plain:
        return warning(
            "sauvegarde",
            "en clair, comme celles d'avant ; elles contiennent des données personnelles",
            "nommez une clé publique (TERRITOIRE_BACKUP_RECIPIENTS=age1…, docs/serveur.md), ou dites que c'est "
            "voulu (TERRITOIRE_BACKUP_PLAIN=true)",
        )
    return good("sauvegarde", f"la dernière date du {newest:%d/%m/%Y à %H:%M} UTC")
