"""`territoire install`: units for systemd on a Debian server without Kubernetes."""

import compileall
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli.installed import PLACES, ROOT, UNITS
from cli.running import fail
from registry.ledger_file import LEDGER_NAME
from services.supervisor.launch import Account, system_path
from services.supervisor.postgres import may_enter
from services.supervisor.stack import checkout

# What the operator writes in there stays.
THEIRS = {"territoire.env"}
ARCHIVE = "pitr"
# Units and logrotate's file need no quotes around it, in whatever way each of their lines would have them.
PLAIN = re.compile(r"[\w/.,:+~=-]+")
# ProtectHome hides them from the service.
HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"))
PACKAGES = (
    "lorawan",
    "decoders",
    "core",
    "registry",
    "gateways",
    "network",
    "integrations",
    "ingest",
    "alerting",
    "lighting",
    "indicators",
    "api",
    "services",
    "cli",
)


def install(
    user: Annotated[str, typer.Option(help="Compte système des services ; créé s'il manque.")] = "territoire",
    home: Annotated[Path, typer.Option(help="Dossier des données.")] = Path("/var/lib/territoire"),
    backups: Annotated[Path, typer.Option(help="Dossier des sauvegardes ; un autre disque vaut mieux.")] = Path(
        "/var/backups/territoire"
    ),
    keep: Annotated[int, typer.Option(min=1, help="Combien de sauvegardes sont gardées.")] = 14,
    root: Annotated[
        Path | None,
        typer.Option(help="Écrire sous ce dossier au lieu de /, sans compte ni systemctl."),
    ] = None,
) -> None:
    """Écrit les unités systemd de cette installation, ou les met à jour. Ne démarre rien."""
    place = checkout()
    home, backups = (Path(os.path.abspath(folder)) for folder in (home, backups))  # noqa: PTH100 - Nor any `..`.
    filled = {
        "CHECKOUT": str(place),
        "PYTHON": sys.executable,
        "USER": user,
        "HOME": str(home),
        "BACKUPS": str(backups),
        "KEPT": str(keep),
    }
    _require_plain_words(filled)
    if root is None:
        _require_server(place, user, home, backups)
    _require_units_that_systemd_takes(filled)
    if root is None:
        _make_folders(user, home, backups)
        # The service cannot write beside its own code: what Python compiles is kept from here on.
        compileall.compile_dir(str(place), maxlevels=0, quiet=1)
        for package in PACKAGES:
            compileall.compile_dir(str(place / package), quiet=1)
    written = write_files(root or ROOT, filled)
    for file in written:
        typer.echo(f"  {file}")
    if root is not None:
        return
    subprocess.run(["sysctl", "--quiet", "--load", "/etc/sysctl.d/territoire.conf"], check=False)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    typer.echo("Réglages : /etc/territoire/territoire.env")
    typer.echo(
        "Démarrez : systemctl enable --now territoire.service territoire-backup.timer territoire-alarm.timer"
    )
    typer.echo("Journal : journalctl -u territoire ; état : ./territoire status --home " + str(home))


def _require_plain_words(filled: Mapping[str, str]) -> None:
    """End the command at what systemd and logrotate would read as two words, a specifier or a variable."""
    for word in filled.values():
        if not PLAIN.fullmatch(word):
            raise fail(
                f"« {word} » : rien n'est écrit ; systemd et logrotate n'y lisent que des lettres, des chiffres "
                "et / . , : + ~ = _ -, sans espace",
                2,
            )


def _require_units_that_systemd_takes(filled: dict[str, str]) -> None:
    """Those of before stay where it takes none of these."""
    with tempfile.TemporaryDirectory() as folder:
        complaint = verify([file for file in write_files(Path(folder), filled) if file.name in UNITS])
    if complaint:
        raise fail(f"rien n'est écrit : systemd refuse ces unités :\n{complaint}")


def write_files(root: Path, filled: dict[str, str]) -> list[Path]:
    """The files, replaced, but for what the operator wrote; returns those that were written."""
    source = checkout() / "deploy" / "systemd"
    written: list[Path] = []
    for name, place in PLACES.items():
        folder = root / place
        folder.mkdir(parents=True, exist_ok=True)
        if name in THEIRS and (folder / name).exists():
            continue
        text = (source / name).read_text("utf-8")
        for key, value in filled.items():
            text = text.replace(f"@{key}@", value)
        (folder / name).write_text(text, "utf-8")
        # Passwords of mail servers and brokers are written there.
        (folder / name).chmod(0o600 if name in THEIRS else 0o644)
        written.append(folder / name)
    return written


def verify(units: Sequence[Path]) -> str:
    """What `systemd-analyze verify` reports about these units; empty where it is not installed."""
    analyze = shutil.which("systemd-analyze", path=system_path())
    if analyze is None:
        return ""
    done = subprocess.run(
        [analyze, "verify", "--man=no", *units],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    ours = [line for line in done.stdout.splitlines() if "territoire" in line]
    return "\n".join(ours) if done.returncode or ours else ""


def _require_server(place: Path, user: str, *folders: Path) -> None:
    if os.geteuid() != 0:
        raise fail("il faut être root (sudo ./territoire install), ou --root pour lire les unités d'abord", 2)
    if not Path("/run/systemd/system").is_dir():
        raise fail(
            "systemd ne tourne pas ici : « ./territoire up » suffit, ou un conteneur (deploy/compose.yaml)", 2
        )
    for seen in (place, Path(sys.executable), *folders):
        if is_hidden(seen):
            raise fail(
                f"le service ne verrait pas {seen.resolve()} : rien de lui sous /home ni /root. Programme sous "
                "/opt/territoire, effacez-y .venv, puis : sudo /usr/bin/python3 ./territoire install",
                2,
            )
    try:
        pwd.getpwnam(user)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", user], check=True
        )
    if not may_enter(place, Account.named(user)):
        raise fail(f"le compte {user} ne peut pas lire {place} : placez le programme sous /opt/territoire", 2)


def is_hidden(folder: Path) -> bool:
    """Whether the unit's ProtectHome hides this folder from the service."""
    return any(folder.resolve().is_relative_to(hidden) for hidden in HIDDEN)


def _make_folders(user: str, home: Path, backups: Path) -> None:
    account = Account.named(user)
    for folder, mode in ((home, 0o711), (backups, 0o700)):
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, account.uid, account.gid)
        folder.chmod(mode)
    # Where the database archives its log, if it is told to do so on this disk.
    archive = backups / ARCHIVE
    archive.mkdir(mode=0o700, exist_ok=True)
    os.chown(archive, account.uid, account.gid)
    # The one file there that the services may write.
    ledger = backups / LEDGER_NAME
    ledger.touch(mode=0o600)
    os.chown(ledger, account.uid, account.gid)
