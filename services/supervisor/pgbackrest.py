"""pgBackRest for a private PostgreSQL: its folder, its command lines, and the archive settings of the server.

The folder holds the configuration with the repository's passphrase, the key for SFTP and the authority's
certificate, and no path of this machine: a copy of it is enough to restore elsewhere.
"""

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from core.runtime.errors import program_reason
from services.supervisor.launch import Account, Launch, ServerMissing, system_path
from services.supervisor.postgres import server_account

PACKAGE = "pgbackrest"
STANZA = "territoire"
# pgBackRest's exit status is the number of its error: another of its processes holds the lock.
IS_LOCKED, LOCKED_WITHIN_S, LOOK_AGAIN_S = 50, 60.0, 0.5
CONFIGURATION, SFTP_KEY, AUTHORITY = "pgbackrest.conf", "sftp.key", "ca.crt"
# In a home that was restored, until somebody says that it takes the place of the other one.
SUSPENDED = "suspended"
# A segment that is not full leaves after so long; with what its way takes, less than a minute is lost.
ARCHIVE_TIMEOUT_S = 30
PUSHED_WITHIN_S = 60
ERRORS_SHOWN = 3


# The first that is found in all that it says; a write that is cut short is one that had no room.
FRENCH = (
    (
        "unable to find backup set with stop time less than",
        "l'archive ne remonte pas jusqu'à cet instant : sa première image est plus récente",
    ),
    (
        "FormatError|CryptoError",
        "l'archive ne se déchiffre pas : la phrase de pgbackrest.conf n'est pas la sienne",
    ),
    (
        "FileMissingError: unable to open missing file .*backup.info",
        "il n'y a pas d'archive là où dit pgbackrest.conf",
    ),
    ("no backup sets? (to|found)", "l'archive n'a pas encore d'image : ./territoire pitr backup"),
    ("unable to write '[^']*'$", "écriture incomplète : le disque est plein, ou son quota atteint"),
)


class PgBackRestFailed(Exception):
    """What it said of it."""


@dataclass(frozen=True, slots=True)
class PgBackRest:
    """The repository of the cluster in `data`, as `folder` describes it."""

    folder: Path
    data: Path

    @classmethod
    def beside(cls, data: Path) -> "PgBackRest":
        """That of the cluster in `data`, configured or not."""
        return cls(data.parent / "pgbackrest", data)

    @property
    def configuration(self) -> Path:
        """Its file."""
        return self.folder / CONFIGURATION

    @property
    def is_configured(self) -> bool:
        """Whether somebody has said where the repository is."""
        return self.configuration.exists()

    @property
    def is_suspended(self) -> bool:
        """Whether another installation may still write there."""
        return (self.folder / SUSPENDED).exists()

    def argv(self, command: str, *options: str) -> tuple[str, ...]:
        """A command line of it. What is secret is in the configuration."""
        program = shutil.which("pgbackrest", path=system_path()) or "/usr/bin/pgbackrest"
        known = [f"--config={self.configuration}", f"--stanza={STANZA}"]
        for file, option in ((SFTP_KEY, "repo1-sftp-private-key-file"), (AUTHORITY, "repo1-storage-ca-file")):
            known += [f"--{option}={self.folder / file}"] if (self.folder / file).exists() else []
        if command != "info":
            known += [f"--pg1-path={self.data}", f"--lock-path={self.folder / 'lock'}"]
        if command == "archive-push":
            # One process takes all that waits, over the same line: after a burst the log catches up at once.
            known += ["--archive-async", f"--spool-path={self.folder / 'spool'}"]
            # Where that process is killed nobody tells the one that waits for it: PostgreSQL asks anew.
            known += [f"--archive-timeout={PUSHED_WITHIN_S}"]
        return (program, *known, *options, command)

    def settings(self) -> dict[str, str]:
        """What makes PostgreSQL archive its log, from its next start on; nothing unless it is configured."""
        if not self.is_configured or self.is_suspended:
            return {}
        words = [shlex.quote(word.replace("%", "%%")) for word in self.argv("archive-push")]
        return {
            "archive_mode": "on",
            "archive_command": " ".join([*words, '"%p"']),
            "archive_timeout": str(ARCHIVE_TIMEOUT_S),
        }

    def write(self, files: Mapping[str, bytes]) -> None:
        """Replace these files of the folder. Only the account that the cluster runs as may read them."""
        account = owner_of(self.data)
        for folder in (self.folder, self.folder / "lock", self.folder / "spool"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _give(folder, account)
        for name, content in files.items():
            draft = self.folder / f"{name}.draft"
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as output:
                output.write(content)
            _give(draft, account)
            draft.replace(self.folder / name)

    def run(self, command: str, *options: str, url: str | None = None) -> str:
        """Run one pgBackRest command as the account that owns the cluster; returns what it prints.

        `url` is the running server's address, for commands that connect to it.

        Raises:
            PgBackRestFailed: what it said.
            ServerMissing: it is not installed.
        """
        argv, environment = self.argv(command, *options), {"PATH": system_path(), "LC_ALL": "C.UTF-8"}
        if not Path(argv[0]).exists():
            raise ServerMissing(f"pgBackRest est introuvable : installez le paquet {PACKAGE}")
        if url is not None:
            server = urlsplit(url)
            # It knows sockets only; where none is named, libpq takes the address from here.
            environment |= {"PGHOST": server.hostname or "", "PGPASSWORD": unquote(server.password or "")}
            of_server = (f"--pg1-port={server.port}", f"--pg1-user={unquote(server.username or '')}")
            argv = self.argv(command, *of_server, "--pg1-database=postgres", *options)
        launch = Launch(argv, env=environment, account=owner_of(self.data))
        # Both apart: what `info` says is read by a program. Under a wrong passphrase it shows octets.
        taken: dict[str, Any] = {
            **launch.arguments(subprocess.PIPE),
            "stderr": subprocess.PIPE,
            "errors": "replace",
        }
        since = time.monotonic()
        while True:
            done: subprocess.CompletedProcess[str] = subprocess.run(launch.argv, **taken, text=True, check=False)
            # The server archives its log beside us, each for as long as it takes to carry some segments away.
            if done.returncode != IS_LOCKED or time.monotonic() - since >= LOCKED_WITHIN_S:
                break
            time.sleep(LOOK_AGAIN_S)
        if done.returncode != 0:
            said = done.stdout + done.stderr
            lines = [line for line in said.splitlines() if line.strip()]
            errors = [line for line in lines if "ERROR" in line] or lines
            shown = "\n".join(errors[-ERRORS_SHOWN:]) or f"statut {done.returncode}"
            raise PgBackRestFailed(f"pgbackrest {command} : {known_reason(said) or program_reason(shown)}")
        return done.stdout


def known_reason(said: str) -> str | None:
    """Why it has failed, in French, where its words are known; a server's log has them too, of the archive's."""
    return next((french for words, french in FRENCH if re.search(words, said, re.MULTILINE)), None)


def owner_of(data: Path) -> Account | None:
    """Whom a cluster belongs to, or will, where we are root and may become them; None: it is ours."""
    if os.geteuid() != 0:
        return None
    return Account.named(data.owner()) if data.exists() else server_account()


def _give(path: Path, account: Account | None) -> None:
    if account is not None:
        os.chown(path, account.uid, account.gid)
