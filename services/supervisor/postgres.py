"""A private PostgreSQL with TimescaleDB: its own cluster, on the loopback address only."""

import asyncio
import hashlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from core.runtime.errors import program_reason
from services.supervisor.launch import Account, Launch, ServerMissing, system_path
from services.supervisor.ports import LOOPBACK

SUPERUSER = "territoire_admin"
DATABASE = "territoire"
ANSWERS_WITHIN_S = 5.0
PACKAGES = "postgresql-17 et postgresql-17-timescaledb"
# What the servers and the tests need at once: six services with pools of four, pgqueuer, an operator.
SETTINGS: Mapping[str, str] = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "10min",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "password_encryption": "scram-sha-256",
    # The Apache edition has no background job of ours; its scheduler would hold template databases open.
    "timescaledb.max_background_workers": "0",
    "timescaledb.telemetry_level": "off",
}
LIBPQ_TLS = {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"}
# The statement has a password: no log is to show it, whatever fails.
ALONE: Mapping[str, str] = {
    "exit_on_error": "on",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "password_encryption": "scram-sha-256",
}
# What a killed stack left may still be about to end, and has the folder until then.
ALONE_ATTEMPTS, ALONE_AGAIN_S = 6, 0.2
UNSAFE_AND_FAST: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class ClusterFailed(Exception):
    """The cluster could not be prepared. The message carries what PostgreSQL said."""


def binaries() -> Path:
    """The folder of the highest PostgreSQL that has TimescaleDB.

    Raises:
        ServerMissing: no installed PostgreSQL has it.
    """
    found = [
        (int(matched[1]), extension.parent.parent / "bin")
        for extension in Path("/usr/lib/postgresql").glob("*/lib/timescaledb.so")
        if (matched := re.fullmatch(r"(\d+)", extension.parent.parent.name))
    ]
    usable = [(major, folder) for major, folder in found if (folder / "initdb").exists()]
    if not usable:
        raise ServerMissing(f"PostgreSQL avec TimescaleDB est introuvable : installez {PACKAGES}")
    return max(usable)[1]


def database_of(url: str) -> str:
    """The database that an address names, as the server calls it; empty where it names none."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    return unquote(parts.path.removeprefix("/")) or options.get("dbname") or options.get("database", "")


def libpq_environment(url: str) -> dict[str, str]:
    """The address in variables: a password on a command line is seen by everybody on the machine."""
    parts = urlsplit(url)
    variables = {
        "PGHOST": parts.hostname,
        "PGPORT": parts.port or 5432,
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": database_of(url),
        **{LIBPQ_TLS[name]: value for name, value in parse_qsl(parts.query) if name in LIBPQ_TLS},
    }
    return {"PATH": system_path(), "LC_ALL": "C.UTF-8", **{name: str(value) for name, value in variables.items()}}


def server_account() -> Account | None:
    """PostgreSQL does not run as root: then it runs as Debian's `postgres`."""
    return Account.named("postgres") if os.geteuid() == 0 else None


def may_enter(folder: Path, account: Account) -> bool:
    """Whether `account` may walk down to `folder`, through every parent that exists."""
    for step in (folder, *folder.parents):
        if not step.exists():
            continue
        status = step.stat()
        if status.st_uid == account.uid:
            allowed = status.st_mode & 0o100
        elif status.st_gid == account.gid:
            allowed = status.st_mode & 0o010
        else:
            allowed = status.st_mode & 0o001
        if not allowed:
            return False
    return True


@dataclass(frozen=True, slots=True)
class PrivatePostgres:
    """One cluster in `data`, whose superuser has `password`."""

    data: Path
    port: int
    password: str
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    durable: bool = True

    def prepare(self) -> None:
        """Create the cluster unless it is there; takes half a second. Its superuser's password is `password` then.

        Raises:
            ClusterFailed: initdb failed, or `data` belongs to something else.
            ServerMissing: PostgreSQL or TimescaleDB is not installed.
        """
        if (self.data / "PG_VERSION").exists():
            self._require_same_major()
            if not self._is_password_set():
                self.set_password()
            return
        account = server_account()
        self.data.mkdir(parents=True, exist_ok=True)
        # Read by initdb before it drops nothing: it runs as the server's account.
        password_file = self.data.parent / f"{self.data.name}.pwfile"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password, "ascii")
        if account is not None:
            os.chown(self.data, account.uid, account.gid)
            os.chown(password_file, account.uid, account.gid)
        self.data.chmod(0o700)
        try:
            self._initdb(account, password_file)
        finally:
            password_file.unlink()
        self._record_password()

    def set_password(self) -> None:
        """Give the superuser `password`, whichever it had: the files are ours. Nothing else may run on them.

        Raises:
            ClusterFailed: the server's own words.
        """
        settings = {**ALONE, **({} if self.durable else UNSAFE_AND_FAST)}
        argv = [str(binaries() / "postgres"), "--single", "-D", str(self.data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        launch = Launch(
            (*argv, "postgres"), env={"PATH": system_path(), "LC_ALL": "C.UTF-8"}, account=server_account()
        )
        arguments = launch.arguments(subprocess.PIPE)
        del arguments["stdin"]  # By which the statement comes: everybody sees command lines.
        quoted = self.password.replace("'", "''")
        statement = f"ALTER ROLE {SUPERUSER} PASSWORD '{quoted}'\n"
        said = ""
        for attempt in range(ALONE_ATTEMPTS):
            if attempt:
                time.sleep(ALONE_AGAIN_S * 2 ** (attempt - 1))
            done = subprocess.run(launch.argv, **arguments, input=statement, text=True, check=False)
            if done.returncode == 0:
                self._record_password()
                return
            said = done.stdout.strip()
        raise ClusterFailed(f"mot de passe de {SUPERUSER} ({self.data}) : {program_reason(said)}")

    @property
    def _password_record(self) -> Path:
        """Beside the cluster: what is restored into `data` has the password of its time."""
        return self.data.parent / f"{self.data.name}.superuser"

    @property
    def _password_digest(self) -> str:
        return hashlib.sha256(self.password.encode()).hexdigest()

    def _is_password_set(self) -> bool:
        record = self._password_record
        return record.exists() and record.read_text("ascii") == self._password_digest

    def _record_password(self) -> None:
        draft = self._password_record.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(self._password_digest, "ascii")
        draft.replace(self._password_record)

    def _initdb(self, account: Account | None, password_file: Path) -> None:
        argv = [str(binaries() / "initdb"), "-D", str(self.data), "-U", SUPERUSER, "-A", "scram-sha-256"]
        argv += ["--pwfile", str(password_file), "--encoding=UTF8", "--locale=C.UTF-8"]
        argv += [] if self.durable else ["--no-sync"]
        launch = Launch(tuple(argv), env={"PATH": system_path(), "LC_ALL": "C.UTF-8"}, account=account)
        arguments = launch.arguments(subprocess.PIPE)
        done = subprocess.run(launch.argv, **arguments, text=True, check=False)
        if done.returncode != 0:
            raise ClusterFailed(f"initdb ({self.data}) : {program_reason(done.stdout)}")

    def _require_same_major(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text("ascii").strip()
        installed = binaries().parent.name
        if made_by != installed:
            raise ClusterFailed(
                f"{self.data} a été créé par PostgreSQL {made_by}, la version installée est {installed}, "
                "qui ne lit pas ses fichiers (docs/serveur.md, « Changer de version de PostgreSQL »)"
            )

    def launch(self) -> Launch:
        """The server in the foreground; SIGINT is its fast shutdown (SIGTERM would wait for clients)."""
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            # A socket's path is limited to 107 characters and a checkout's is not: TCP only.
            "unix_socket_directories": "",
            "shared_preload_libraries": "timescaledb",
            **SETTINGS,
            **({} if self.durable else UNSAFE_AND_FAST),
            **self.settings,
        }
        argv = [str(binaries() / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return Launch(
            tuple(argv),
            env={"PATH": system_path(), "LC_ALL": "C.UTF-8"},
            account=server_account(),
            stop_signal=signal.SIGINT,
        )

    def url(self, database: str = DATABASE, user: str = SUPERUSER, password: str | None = None) -> str:
        """An address for asyncpg, credentials included."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@{LOOPBACK}:{self.port}/{database}"

    async def answers(self) -> bool:
        """Whether the server on the port lets people in, be it by another password than ours."""
        from core.runtime.postgres import DATABASE_AWAY, InvalidPasswordError, PostgresError, connect

        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                connection = await connect(self.url("postgres"), "territoire-supervisor")
                await connection.close()
        except InvalidPasswordError:
            return True
        except (PostgresError, *DATABASE_AWAY):
            return False
        return True

    async def ready(self) -> bool:
        """Whether the server that answers on the port takes commands and runs on our folder."""
        return await self._ask("SELECT current_setting('data_directory')") == str(self.data)

    async def create_database(self, name: str = DATABASE) -> None:
        """Create the database unless it is there.

        Raises:
            ClusterFailed: the server refuses.
        """
        if await self._ask(f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == "1":
            return
        if await self._ask(f'CREATE DATABASE "{name}"', within_s=None) is None:
            raise ClusterFailed(f"PostgreSQL refuse de créer la base {name}")

    async def _ask(self, statement: str, within_s: float | None = ANSWERS_WITHIN_S) -> str | None:
        """What psql prints; None when the server does not answer in time, or refuses.

        A driver would take ten megabytes of the supervisor's for as long as it lives.
        """
        argv = (str(binaries() / "psql"), "-XAtwc", statement)
        environment = {**libpq_environment(self.url("postgres")), "PGAPPNAME": "territoire-supervisor"}
        process = await asyncio.create_subprocess_exec(
            *argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(within_s):
                printed, _ = await process.communicate()
        except TimeoutError:
            return None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return printed.decode().strip() if process.returncode == 0 else None
