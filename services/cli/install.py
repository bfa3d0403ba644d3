"""`territoire install`: units for systemd on a Debian server without Kubernetes."""

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.cli.running import fail
from services.supervisor.launch import Account
from services.supervisor.postgres import may_enter
from services.supervisor.stack import checkout

UNITS = ("territoire.service", "territoire-backup.service", "territoire-backup.timer")
ENVIRONMENT = "territoire.env"
UNIT_FOLDER, ENVIRONMENT_FOLDER = Path("etc/systemd/system"), Path("etc/territoire")


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
    filled = {
        "CHECKOUT": str(place),
        "PYTHON": sys.executable,
        "USER": user,
        "HOME": str(home),
        "BACKUPS": str(backups),
        "KEPT": str(keep),
    }
    if root is None:
        _require_server(place, user)
        _make_folders(user, home, backups)
    written = write_units(root or Path("/"), filled)
    for file in written:
        typer.echo(f"  {file}")
    if root is not None:
        return
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    typer.echo("Démarrez : systemctl enable --now territoire.service territoire-backup.timer")
    typer.echo("Journal : journalctl -u territoire ; état : ./territoire status --home " + str(home))


def write_units(root: Path, filled: dict[str, str]) -> list[Path]:
    """The units, replaced; the environment, once: what the operator wrote there stays."""
    source = checkout() / "deploy" / "systemd"
    written: list[Path] = []
    for name in (*UNITS, ENVIRONMENT):
        folder = root / (ENVIRONMENT_FOLDER if name == ENVIRONMENT else UNIT_FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        if name == ENVIRONMENT and (folder / name).exists():
            continue
        text = (source / name).read_text("utf-8")
        for key, value in filled.items():
            text = text.replace(f"@{key}@", value)
        (folder / name).write_text(text, "utf-8")
        written.append(folder / name)
    return written


def _require_server(place: Path, user: str) -> None:
    if os.geteuid() != 0:
        raise fail("il faut être root (sudo ./territoire install), ou --root pour lire les unités d'abord", 2)
    if not Path("/run/systemd/system").is_dir():
        raise fail(
            "systemd ne tourne pas ici : « ./territoire up » suffit, ou un conteneur (deploy/compose.yaml)", 2
        )
    try:
        pwd.getpwnam(user)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", user], check=True
        )
    if not may_enter(place, Account.named(user)):
        raise fail(f"le compte {user} ne peut pas lire {place} : placez le programme sous /opt/territoire", 2)


def _make_folders(user: str, home: Path, backups: Path) -> None:
    account = Account.named(user)
    for folder, mode in ((home, 0o711), (backups, 0o700)):
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, account.uid, account.gid)
        folder.chmod(mode)
