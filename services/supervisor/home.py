"""The folder of a one-machine stack: secrets, logs, lock and run.json."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from core.runtime.errors import system_reason
from core.runtime.files import sync_folder
from services.supervisor.credentials import Secrets
from services.supervisor.postgres import may_enter, server_account
from services.supervisor.run_info import FILE_NAME, HELD, RunInfo

SHARED_FOLDER = Path("/var/tmp")  # noqa: S108  (PostgreSQL's account must be able to walk there; see _owned)
LOG_SIZE_KEPT = 10_000_000
DEMO_MARK = "demo.home"
INCOMPLETE = "incomplete"
LOCK = "lock"


class UnusableHome(Exception):
    """The folder cannot be used. The message says why and what to do."""


def _hashed(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def default_home(checkout: Path) -> Path:
    """`$TERRITOIRE_HOME`; else, for root, a folder that PostgreSQL's account may enter; else in the checkout."""
    chosen = os.environ.get("TERRITOIRE_HOME")
    if chosen:
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return SHARED_FOLDER / f"territoire-{_hashed(checkout)}"
    return checkout / ".territoire"


class Home:
    """One folder, held by one supervisor at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.logs = self.folder / "logs"
        self.run_file = self.folder / FILE_NAME

    @property
    def identity(self) -> str:
        """Short, stable and different for every folder: names the private servers."""
        return _hashed(self.folder)

    @property
    def postgres_data(self) -> Path:
        """Inside the home; elsewhere when the server's account may not walk there (a home under /root)."""
        account = server_account()
        if account is None or may_enter(self.folder, account):
            return self.folder / "postgres" / "data"
        return SHARED_FOLDER / f"territoire-pg-{self.identity}" / "data"

    @property
    def is_incomplete(self) -> bool:
        """Whether a restore has begun here and has not ended."""
        return (self.folder / INCOMPLETE).exists()

    @property
    def first_held_at(self) -> datetime | None:
        """When a supervisor held the folder for the first time; None: not yet."""
        try:  # Nothing is ever written to that file.
            return datetime.fromtimestamp((self.folder / LOCK).stat().st_mtime, UTC)
        except OSError:
            return None

    @contextmanager
    def held(self) -> Generator[None]:
        """Create the folder and keep every other supervisor out of it.

        Raises:
            UnusableHome: another supervisor holds it, a restore has not ended there, it belongs to another user,
                or nothing can be written to it.
        """
        with self._locked():
            if self.is_incomplete:
                raise UnusableHome(
                    f"{self.folder} est d'une restauration interrompue, et rien ne démarre dessus : "
                    "recommencez-la par la même commande, qui efface d'abord ce qu'elle y a laissé"
                )
            yield

    def require_new(self) -> None:
        """Require a folder where nothing is but what a restore that has not ended has left.

        Raises:
            UnusableHome: there is something.
        """
        if self.is_incomplete or not self.folder.exists():
            return
        if any(self.folder.iterdir()) or self.postgres_data.exists():
            raise UnusableHome(
                f"{self.folder} n'est pas vide : une restauration ne se fait que dans un dossier neuf"
            )

    @contextmanager
    def restored(self) -> Generator[None]:
        """Held, empty, and startable by nobody before the block has ended well, whatever kills it.

        Raises:
            UnusableHome: as `held`, or the folder holds something that no restore has left.
        """
        mark = self.folder / INCOMPLETE
        try:
            _owned(self.folder, 0o711)
            self.require_new()
            mark.touch(mode=0o600)
            sync_folder(self.folder)
        except OSError as refused:
            raise UnusableHome(f"{refused.filename or self.folder} : {system_reason(refused)}") from refused
        with self._locked():
            shutil.rmtree(self.postgres_data.parent)
            self._empty({LOCK, INCOMPLETE})
            self.logs.mkdir(mode=0o700)
            _owned(self.postgres_data.parent, 0o711)
            yield
            mark.unlink()
            sync_folder(self.folder)

    @contextmanager
    def _locked(self) -> Generator[None]:
        try:
            _owned(self.folder, 0o711)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            _owned(self.postgres_data.parent, 0o711)
            opened = (self.folder / LOCK).open("a+")
        except OSError as refused:
            raise UnusableHome(f"{refused.filename or self.folder} : {system_reason(refused)}") from refused
        with opened as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as taken:
                raise UnusableHome(
                    f"{self.folder} est déjà utilisé par une pile qui tourne : `./territoire status --home "
                    f"{self.folder}`, ou choisissez un autre dossier avec --home"
                ) from taken
            try:
                yield
            finally:
                self.run_file.unlink(missing_ok=True)

    def empty_for_demo(self) -> None:
        """Forget the former demo. Only a folder that a demo made is emptied; call it while the home is held.

        Raises:
            UnusableHome: the folder holds something else.
        """
        mark = self.folder / DEMO_MARK
        ours = {LOCK, "logs", "postgres"}
        if not mark.exists() and any(entry.name not in ours for entry in self.folder.iterdir()):
            raise UnusableHome(f"{self.folder} n'est pas celui d'une démonstration : rien n'y est effacé")
        mark.touch()
        if self.postgres_data.exists():
            shutil.rmtree(self.postgres_data)
        self._empty({LOCK, DEMO_MARK, "postgres"})
        self.logs.mkdir(mode=0o700)

    def forget_restored(self) -> None:
        """What a restore that has failed brought here; the folder was new, and is again."""
        shutil.rmtree(self.postgres_data.parent, ignore_errors=True)
        self._empty(set())

    def _empty(self, kept: set[str]) -> None:
        for entry in self.folder.iterdir():
            if entry.name in kept:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    @property
    def secrets_file(self) -> Path:
        """Every credential, for its owner alone."""
        return self.folder / "secrets.json"

    def secrets(self) -> Secrets:
        """The home's credentials, made at the first call."""
        return self.change_secrets(lambda kept: kept.completed(datetime.now(UTC)))

    def change_secrets(self, change: Callable[[Secrets], Secrets]) -> Secrets:
        """Replace the credentials by what becomes of them; nobody else changes them meanwhile."""
        with self._alone():
            is_there = self.secrets_file.exists()
            kept = self.read_secrets() if is_there else Secrets.fresh(datetime.now(UTC))
            changed = change(kept)
            if changed != kept or not is_there:
                self.keep_secrets(changed)
            return changed

    def read_secrets(self) -> Secrets:
        """The credentials as they are in the file."""
        return msgspec.json.decode(self.secrets_file.read_bytes(), type=Secrets)

    def keep_secrets(self, secrets: Secrets) -> None:
        """Replace all of them at once: for those of another home, whose database is restored here."""
        self._write_private(self.secrets_file, secrets)
        sync_folder(self.folder)  # What was said to be renewed is so after a power cut.

    @contextmanager
    def _alone(self) -> Generator[None]:
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def holds(self, child: str) -> bool:
        """Whether the operator keeps this child from being started again: a file `held/NAME` in the folder."""
        return (self.folder / HELD / child).exists()

    def write_run_info(self, run: RunInfo) -> None:
        """Replace run.json at once: a reader sees the former or the new one, whole."""
        self._write_private(self.run_file, run)

    def log(self, name: str) -> Path:
        """The log file of a child; a large one is set aside first, and the one before it forgotten."""
        file = self.logs / f"{name}.log"
        if file.exists() and file.stat().st_size > LOG_SIZE_KEPT:
            file.replace(file.with_suffix(".log.1"))
        return file

    def _write_private(self, file: Path, content: Any) -> None:
        draft = file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as output:
            owner = self.folder.stat()
            if owner.st_uid != os.geteuid():  # Root, by an operator's command: the stack's account must read it.
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            output.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
            output.flush()
            os.fsync(output.fileno())
        draft.replace(file)


def _owned(folder: Path, mode: int) -> None:
    """Make the folder ours. In /var/tmp anybody may have made one of this name before us: then no."""
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise UnusableHome(f"{folder} appartient à un autre utilisateur")
    if folder.stat().st_mode & 0o022:
        raise UnusableHome(f"{folder} est modifiable par d'autres : chmod go-w")
