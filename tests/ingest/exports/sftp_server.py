"""A real SSH server with SFTP, whose disk may fill up and whose line may be cut."""

import asyncio
import errno
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

USER, PASSWORD = "territoire", "mot de passe"


@dataclass
class Behaviour:
    """What happens from so many octets of a file on; and every name that a file had, in order."""

    full_after: int | None = None
    cut_after: int | None = None
    renames: list[tuple[str, str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)


class Server:
    """Where it is, its key, and what it has been told."""

    def __init__(self, root: Path, behaviour: Behaviour, key: asyncssh.SSHKey, own: asyncssh.SSHKey) -> None:
        self.root = root
        self.behaviour = behaviour
        self.host_key = " ".join(key.export_public_key("openssh").decode().split()[:2])
        self.client_key = own.export_private_key("openssh").decode()
        self.port = 0

    def files(self, folder: str = "entree") -> dict[str, bytes]:
        """What is in a folder now."""
        return {path.name: path.read_bytes() for path in (self.root / folder).iterdir()}


class Accounts(asyncssh.SSHServer):
    """One, by password or by its key."""

    def __init__(self, behaviour: Behaviour, own: asyncssh.SSHKey) -> None:
        self._behaviour = behaviour
        self._own = own

    def begin_auth(self, username: str) -> bool:
        self._behaviour.logins.append(username)
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key == self._own.convert_to_public()


class Files(asyncssh.SFTPServer):
    """A folder, which behaves."""

    def __init__(self, channel: Any, root: Path, behaviour: Behaviour) -> None:
        super().__init__(channel, chroot=str(root))
        self._line = channel.get_connection()
        self._behaviour = behaviour

    async def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        full, cut = self._behaviour.full_after, self._behaviour.cut_after
        if full is not None and offset + len(data) > full:
            raise OSError(errno.ENOSPC, "No space left on device")
        if cut is not None and offset + len(data) > cut:
            self._line.abort()
            await asyncio.sleep(0)
            raise ConnectionResetError
        written = super().write(file_obj, offset, data)
        assert isinstance(written, int)
        return written

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._behaviour.renames.append((oldpath.decode(), newpath.decode()))
        super().rename(oldpath, newpath)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._behaviour.renames.append((oldpath.decode(), newpath.decode()))
        super().posix_rename(oldpath, newpath)


@asynccontextmanager
async def sftp_server(root: Path) -> AsyncGenerator[Server]:
    """On any port of this machine; accounts by password or by one key."""
    behaviour = Behaviour()
    key, own = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    server = Server(root, behaviour, key, own)
    (root / "entree").mkdir(parents=True)
    listening = await asyncssh.create_server(
        lambda: Accounts(behaviour, own),
        "127.0.0.1",
        0,
        server_host_keys=[key],
        sftp_factory=lambda channel: Files(channel, root, behaviour),
        allow_scp=False,
    )
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
