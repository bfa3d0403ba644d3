"""Reads what `territoire install` wrote on this machine: folders and settings."""

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

# What is written, and where under /.
UNITS = (
    "territoire.service",
    "territoire-backup.service",
    "territoire-backup.timer",
    "territoire-pitr.service",
    "territoire-pitr.timer",
    "territoire-drill.service",
    "territoire-drill.timer",
    "territoire-alarm.service",
    "territoire-alarm.timer",
    "territoire-failed@.service",
    "territoire-succeeded@.service",
)
PLACES = {
    **dict.fromkeys(UNITS, Path("etc/systemd/system")),
    "territoire.env": Path("etc/territoire"),
    "territoire.conf": Path("etc/sysctl.d"),
    "territoire": Path("etc/logrotate.d"),
}
ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Installed:
    """A server with systemd. `environment` is territoire.env, `settings`, as far as we may read it."""

    home: Path
    backups: Path | None
    environment: dict[str, str] = field(default_factory=dict[str, str])
    settings: Path = ROOT / PLACES["territoire.env"] / "territoire.env"

    @property
    def is_readable(self) -> bool:
        """Whether what is not in `environment` is not set."""
        return not self.settings.exists() or os.access(self.settings, os.R_OK)


def installed(root: Path = ROOT) -> Installed | None:
    """What the units under `root` say; None when there are none."""
    command = _command(root / PLACES["territoire.service"] / "territoire.service")
    if "--home" not in command:
        return None
    backup = _command(root / PLACES["territoire-backup.service"] / "territoire-backup.service")
    settings = root / PLACES["territoire.env"] / "territoire.env"
    return Installed(
        Path(command[command.index("--home") + 1]),
        Path(backup[-1]) if backup else None,
        _environment(settings),
        settings,
    )


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").splitlines()
    except OSError:
        return []


def _command(unit: Path) -> list[str]:
    command = next((line for line in _lines(unit) if line.startswith("ExecStart=")), "")
    return shlex.split(command.partition("=")[2])


def _environment(file: Path) -> dict[str, str]:
    """As systemd reads an EnvironmentFile: one assignment a line, quotes around the whole value left out."""
    found: dict[str, str] = {}
    for line in map(str.strip, _lines(file)):
        name, is_assigned, value = line.partition("=")
        if is_assigned and name and not line.startswith(("#", ";")):
            value = value.strip()
            is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            found[name.strip()] = value[1:-1] if is_quoted else value
    return found
